//! The fully qualified name of this machine.

use std::process::{Command, Stdio};

use super::values;

/// This machine's name with its domain, or the cause why it is not known.
///
/// The kernel's name if it has a domain; else what /etc/hosts says first about it, which needs no
/// name server; else the word of `hostname -f`, which asks whatever the system asks.
pub(super) fn qualified() -> Result<String, String> {
    let short = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_err(|error| format!("this machine does not tell its name: {error}"))?;
    let short = short.trim();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    [Some(short.to_owned()), from_hosts(short, &hosts), asked()]
        .into_iter()
        .flatten()
        .find_map(|name| values::qualified(&name).ok())
        .ok_or_else(|| format!("this machine calls itself {short:?}, which has no domain"))
}

/// The first name of the line of /etc/hosts that lists `short`.
fn from_hosts(short: &str, hosts: &str) -> Option<String> {
    hosts.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut names = line.split_whitespace().skip(1);
        let first = names.next()?;
        (first.contains('.') && (first == short || names.any(|name| name == short)))
            .then(|| first.to_owned())
    })
}

fn asked() -> Option<String> {
    let output = Command::new("hostname")
        .arg("-f")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let name = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| name.trim().to_owned())
}
