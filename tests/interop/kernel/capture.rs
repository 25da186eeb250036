//! What passes between provider and customer, as anybody on the way sees it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::{Host, IMPLICIT_PORT, Running, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// Words of every message, and of every conversation behind the turn.
const WORDS: [&str; 7] = [
    "MAIL FROM:",
    "RCPT TO:",
    "alice@example.org",
    "Message-ID:",
    "abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "250 2.",
    "AUTH ",
];

/// tcpdump at the network's switch, which is in the provider's host.
#[derive(Debug)]
pub struct Capture {
    tcpdump: Running,
    file: PathBuf,
}

impl Capture {
    /// From now on, whatever is said to and from turnabout's ports.
    pub fn start(provider: &Host) -> Self {
        let file = "/var/log/capture";
        let ports = format!("tcp port 366 or tcp port {IMPLICIT_PORT}");
        let arguments = [
            "-i", "br0", "-n", "-U", "-B", "65536", "-Z", "root", "-w", file, &ports,
        ];
        let tcpdump = provider.spawn("tcpdump", "tcpdump", &arguments);
        wait_for("capture", SOON, || {
            tcpdump.log().contains("listening on").then_some(())
        });
        Self {
            tcpdump,
            file: provider.path(file),
        }
    }

    /// Ends it. At least so many octets must have passed, with `seen` among them in the clear and nothing of the mail.
    pub fn assert_secret(mut self, octets: u64, seen: &str) {
        self.tcpdump.signal(Signal::SIGINT);
        self.tcpdump.wait(SOON);
        let log = self.tcpdump.log();
        let size = self.file.metadata().unwrap().len();
        assert!(size >= octets, "{size} octets captured\n{log}");
        assert!(self.contains(seen), "no {seen:?} in the capture\n{log}");
        for words in WORDS {
            assert!(!self.contains(words), "{words:?} in the clear\n{log}");
        }
    }

    fn contains(&self, words: &str) -> bool {
        let mut grep = Command::new("grep");
        grep.env("LC_ALL", "C");
        let found = grep.args(["-a", "-q", "-F", "-e", words]).arg(&self.file);
        match found.status().unwrap().code() {
            Some(0) => true,
            Some(1) => false,
            end => panic!("grep ended with {end:?}"),
        }
    }
}
