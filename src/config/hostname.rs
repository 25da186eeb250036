//! The fully qualified name of this machine.

use super::values;

/// This machine's name with its domain, or the cause why it is not known.
///
/// The kernel's name if it has a domain, else what /etc/hosts says first about it. No name server is
/// asked: one that does not answer would hold up a start, or a reload, for many seconds.
pub(super) fn qualified() -> Result<String, String> {
    let short = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_err(|error| format!("this machine does not tell its name: {error}"))?;
    let short = short.trim();
    let hosts = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
    [Some(short.to_owned()), from_hosts(short, &hosts)]
        .into_iter()
        .flatten()
        .find_map(|name| values::qualified(&name).ok())
        .ok_or_else(|| {
            format!(
                "this machine calls itself {short:?}, which has no domain, and /etc/hosts adds none"
            )
        })
}

/// The first name of the line of /etc/hosts that lists `short`, if it has a domain.
#[must_use]
pub fn from_hosts(short: &str, hosts: &str) -> Option<String> {
    hosts.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or_default();
        let mut names = line.split_whitespace().skip(1);
        let first = names.next()?;
        (first.contains('.') && (first == short || names.any(|name| name == short)))
            .then(|| first.to_owned())
    })
}
