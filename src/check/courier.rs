//! The customer's mail server as Courier's `courieresmtpd`, by itself or at the end of somebody's script.
//!
//! turnabout starts the program with Courier's settings and takes out of them what lets a provider relay. A script is
//! the operator's, and so is what it sets.

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::finding::Findings;
use super::machine::{Machine, is_root};

/// What Courier is started with.
const SETTINGS: &str = "/etc/courier/esmtpd";

/// Scripts are shorter.
const LONGEST_SCRIPT: u64 = 64 * 1024;

/// How the program comes to run.
pub(super) enum By {
    /// The command is the program.
    Itself,
    /// The command, or a script that it names, has this text and starts the program.
    Script(String),
}

/// Does this command end in Courier's program?
pub(super) fn starts(real: &Path, command: &[String]) -> Option<By> {
    if real.file_name().is_some_and(|name| name == "courieresmtpd") {
        return Some(By::Itself);
    }
    let words = command.join(" ");
    let short = fs::metadata(real).is_ok_and(|file| file.len() <= LONGEST_SCRIPT);
    let script = short.then(|| fs::read_to_string(real).unwrap_or_default());
    let text = format!("{words}\n{}", script.unwrap_or_default());
    text.contains("courieresmtpd").then_some(By::Script(text))
}

pub(super) fn check(
    by: &By,
    user: Option<&str>,
    place: &str,
    machine: &Machine,
    findings: &mut Findings,
) {
    match by {
        By::Itself => itself(user, place, machine, findings),
        By::Script(text) => script(text, place, machine, findings),
    }
    let settings = machine.read(SETTINGS).unwrap_or_default();
    if lines(&settings).any(|line| line == "BOFHCHECKDNS=1") {
        findings
            .warning(SETTINGS, "BOFHCHECKDNS=1 refuses mail whose sender's domain does not exist for the name server, and the provider returns it; a name server that is slow keeps the provider waiting for minutes")
            .fix("BOFHCHECKDNS=0");
    }
    if lines(&settings).any(|line| line == "TARPIT=1") {
        findings
            .note(SETTINGS, "TARPIT=1 keeps the provider waiting for 8 s and more behind each recipient that is refused; all its mail comes in one session")
            .fix("TARPIT=0");
    }
    authdaemon(machine, findings);
}

fn itself(user: Option<&str>, place: &str, machine: &Machine, findings: &mut Findings) {
    if user.map_or_else(is_root, |user| user == "root" || user == "0") {
        findings
            .warning(
                place,
                "courieresmtpd talks to the provider as root, where Courier itself has it run as its own user",
            )
            .fix("command_user = \"courier\"");
    }
    if machine.read(SETTINGS).is_err() {
        findings
            .warning(
                SETTINGS,
                "Courier's settings cannot be read here, and courieresmtpd is started with none",
            )
            .end();
    }
}

/// What a script sets is not taken out again by anybody.
fn script(text: &str, place: &str, machine: &Machine, findings: &mut Findings) {
    let unsets = lines(text).any(|line| {
        line.split([';', '&'])
            .map(str::trim)
            .any(|part| part.starts_with("unset ") && part.contains(RELAYCLIENT))
    });
    if unsets {
        return;
    }
    if lines(text).any(|line| line.contains(RELAYCLIENT)) {
        findings
            .error(place, "RELAYCLIENT in the environment, even empty, lets the provider relay through this machine")
            .fix("no RELAYCLIENT in command");
    }
    let settings = machine.read(SETTINGS).unwrap_or_default();
    let sets = |line: &str| line.trim_start_matches("export ").starts_with(RELAYCLIENT);
    if lines(&settings).any(sets) {
        findings
            .error(SETTINGS, "it sets RELAYCLIENT, which, even empty, lets the provider relay through this machine")
            .fix("#RELAYCLIENT");
    }
}

const RELAYCLIENT: &str = "RELAYCLIENT";

/// The socket stays when the daemon is gone, so it is asked.
fn authdaemon(machine: &Machine, findings: &mut Findings) {
    let sockets = [
        "/run/courier/authdaemon/socket",
        "/var/run/courier/authdaemon/socket",
    ];
    let runs = sockets.iter().any(|socket| {
        match UnixStream::connect(machine.path(socket)) {
            Ok(_) => true,
            // Somebody else's to judge.
            Err(error) => error.kind() == std::io::ErrorKind::PermissionDenied,
        }
    });
    if !runs {
        findings
            .warning(
                "courier-authdaemon",
                "authdaemond does not run, and without it every recipient is put off with 450",
            )
            .fix("systemctl start courier-authdaemon");
    }
}

/// Without comments.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
}
