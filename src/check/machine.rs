//! The machine that is looked at: its files, and the programs of its mail server.
//!
//! Programs are run without a shell, by their full path, with a clean environment and a time limit. Nothing is changed
//! by any of them.

use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{Uid, User};

use crate::queue::{Answer, Program, QueueError};

/// How long one question to a mail server may take.
const LIMIT: Duration = Duration::from_secs(30);

/// A machine, or a directory that looks like one.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where its files begin; `/` but in a test.
    pub root: PathBuf,
    /// The configuration directory of the customer's Postfix, where the operator names one.
    pub config_directory: Option<PathBuf>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            root: PathBuf::from("/"),
            config_directory: None,
        }
    }
}

impl Machine {
    /// A file of the system.
    pub(super) fn read(&self, path: &str) -> io::Result<String> {
        std::fs::read_to_string(self.path(path))
    }

    /// Where a file of the system is.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

impl Machine {
    /// Is a provider of this name reached through this machine itself, as at the end of a tunnel? Names are looked up in
    /// `/etc/hosts` alone: nobody else is asked.
    pub(super) fn is_here(&self, host: &str) -> bool {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if host.eq_ignore_ascii_case("localhost") || is_loopback(bare) {
            return true;
        }
        let hosts = self.read("/etc/hosts").unwrap_or_default();
        hosts.lines().any(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            words.next().is_some_and(is_loopback)
                && words.any(|name| name.eq_ignore_ascii_case(host))
        })
    }
}

impl Machine {
    /// Can every user listen on this port, while others need root's right to?
    pub(super) fn is_anybodys(&self, port: u16) -> bool {
        let first = self
            .read("/proc/sys/net/ipv4/ip_unprivileged_port_start")
            .ok();
        let first = first.and_then(|text| text.trim().parse().ok());
        // Where it is 0, as in a container, no other port would be better.
        (1..=port).contains(&first.unwrap_or(1024))
    }
}

fn is_loopback(text: &str) -> bool {
    text.parse::<IpAddr>()
        .is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Are we allowed to see everything?
pub(super) fn is_root() -> bool {
    Uid::effective().is_root()
}

/// Who is looking.
pub(super) fn who() -> String {
    let uid = Uid::effective();
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}

/// Asks a program, however it ends.
pub(super) async fn ask(
    program: &Path,
    arguments: Vec<OsString>,
    environment: Vec<(&'static str, OsString)>,
    input: Vec<u8>,
    what: &'static str,
) -> Result<Answer, QueueError> {
    let program = Program {
        path: program.to_owned(),
        arguments,
        environment,
        what,
        input,
    };
    program.answer(LIMIT).await
}
