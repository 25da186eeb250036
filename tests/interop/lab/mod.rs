//! Throw-away mail hosts: a provider and its customers, each a machine of its own on one small network.
//!
//! The machines are made by contrib/lab, the same script as in contrib/demo. Everything in them ends with the test,
//! however it ends: the script kills a host when its standard input closes, and this process holds the other end.

mod by_hand;
mod certificates;
mod debian;
mod host;
mod mail;
mod script;
mod tls;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

pub use certificates::{Authority, CA, CERTIFICATE, KEY, Pair};
pub use debian::Debian;
pub use host::{Host, Running};
pub use mail::{Mail, body_of_lines, is_about_the_clock, lines_of};
pub use script::{Program, Script};
pub use tls::{IMPLICIT_PORT, Mode, accept, client_config, client_config_of, server_config};

/// Which mail server a host runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mta {
    Postfix,
    /// Postfix of the Debian after this one.
    NewerPostfix,
    Exim,
    /// The one of `OpenBSD`, as a customer's only.
    OpenSmtpd,
    /// Sendmail, likewise.
    Sendmail,
    /// Courier, likewise.
    Courier,
    /// None: a machine for another program.
    Nothing,
}

/// A network with its hosts' directories.
#[derive(Debug)]
pub struct Lab {
    dir: tempfile::TempDir,
    switch: Option<PathBuf>,
}

impl Lab {
    /// An empty lab. Mail servers write every message to disk several times and wait for it; in memory, if there is
    /// enough of it, they need not.
    pub fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let roomy = statvfs(memory)
            .is_ok_and(|room| room.blocks_available() * room.fragment_size() > 2 << 30);
        let mut builder = tempfile::Builder::new();
        builder.prefix("turnabout-lab-");
        let dir = if roomy {
            builder.tempdir_in(memory)
        } else {
            builder.tempdir()
        };
        Self {
            dir: dir.unwrap(),
            switch: None,
        }
    }

    /// provider.test, 10.99.0.1; to be started first.
    pub fn provider(&mut self, mta: Mta) -> Host {
        self.host(mta, "provider", 1)
    }

    /// customer.test, 10.99.0.2: the customer that is alice at the provider.
    pub fn customer(&mut self, mta: Mta) -> Host {
        self.host(mta, "customer", 2)
    }

    /// second.test, 10.99.0.3: the customer that is bob at the provider.
    pub fn second_customer(&mut self, mta: Mta) -> Host {
        self.host(mta, "customer", 3)
    }

    /// stranger.test, 10.99.0.4: a machine beside the customer's that runs no mail server.
    pub fn stranger(&mut self) -> Host {
        self.host(Mta::Nothing, "customer", 4)
    }

    /// A directory that all hosts see, and each its own of everything else.
    pub fn shared(&self) -> PathBuf {
        let shared = self.dir.path().join("shared");
        std::fs::create_dir_all(&shared).unwrap();
        shared
    }

    fn host(&mut self, mta: Mta, part: &str, number: u8) -> Host {
        let dir = self.dir.path().join(number.to_string());
        let host = Host::start(mta, part, &dir, number, self.switch.as_deref());
        self.switch.get_or_insert(dir);
        host
    }
}

/// The turnabout program under test.
pub fn turnabout() -> &'static str {
    env!("CARGO_BIN_EXE_turnabout")
}

/// How long something may take on this machine. One that contrib/guest emulates computes slowly.
pub fn patiently(limit: Duration) -> Duration {
    let emulated = std::env::var_os("GUEST").is_some();
    if emulated { limit * 10 } else { limit }
}

/// Looks again and again until there is something to see; `what` is said when the time is over.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let (start, limit) = (Instant::now(), patiently(limit));
    loop {
        let looks = Instant::now();
        if let Some(seen) = look() {
            return seen;
        }
        assert!(start.elapsed() < limit, "no {what} within {limit:?}");
        // To look may take long, and what is awaited needs the processor as well.
        std::thread::sleep(looks.elapsed().max(Duration::from_millis(20)));
    }
}
