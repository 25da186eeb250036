//! Courier's `courieresmtpd`, started as its own start script does.
//!
//! It has no configuration file: it reads the environment, into which a shell has put `/etc/courier/esmtpd`. Some of
//! what may stand there must not reach it, on this connection:
//!
//! * `RELAYCLIENT`, even empty, lets the peer send anywhere (rule C9); so does whoever logs in.
//! * `COURIERTLS` makes it offer STARTTLS, which the turned connection has behind it or was not to have (rule B46).
//! * `AUTH_REQUIRED` refuses a provider, which has no password here.

use super::HandoffError;
use nix::unistd::{AccessFlags, access};
use std::io;
use std::path::Path;
use tokio::process::Command;

const SETTINGS: &str = "/etc/courier/esmtpd";

/// For a shell, if there are settings: one that cannot read them ends, and nothing is taken without them.
const READ: &str = "set -a; . /etc/courier/esmtpd; set +a; ";

/// For a shell that gets the program and its arguments behind it. A name that is read-only ends the shell.
const START: &str = "unset RELAYCLIENT FAXRELAYCLIENT COURIERTLS ESMTP_TLS ESMTPAUTH ESMTPAUTH_TLS AUTH_REQUIRED; \
    cd /usr && exec \"$0\" \"$@\"";

/// Is this it, links followed?
pub(super) fn is_courier(real: &Path) -> bool {
    real.file_name().is_some_and(|name| name == "courieresmtpd")
}

/// The settings may be missing; Courier has defaults then.
///
/// # Errors
/// They are there and cannot be read.
pub(super) fn can_read_settings() -> Result<(), HandoffError> {
    match access(SETTINGS, AccessFlags::F_OK).and_then(|()| access(SETTINGS, AccessFlags::R_OK)) {
        Ok(()) | Err(nix::errno::Errno::ENOENT) => Ok(()),
        Err(errno) => Err(HandoffError::new(format!(
            "cannot read {SETTINGS}: {} (Courier's settings: let the user of turnabout fetch read them)",
            io::Error::from(errno)
        ))),
    }
}

/// A shell that will become the program.
pub(super) fn command(program: &Path) -> Command {
    // The user of the command may not be able to see whether there are any; so it is we who look.
    let read = match access(SETTINGS, AccessFlags::F_OK) {
        Err(nix::errno::Errno::ENOENT) => "",
        _ => READ,
    };
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{read}{START}")).arg(program);
    command
}

#[cfg(test)]
mod tests {
    use super::{READ, SETTINGS};

    #[test]
    fn the_shell_reads_the_settings_that_are_looked_for() {
        assert_eq!(READ.matches(SETTINGS).count(), 1);
    }
}
