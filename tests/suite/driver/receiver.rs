//! A `pass` service: takes connections as Postfix's smtpd(8) does.

use super::postfix::{read_list, receive};
use super::process::PATIENCE;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// A connection that was passed, and what was told about it.
pub struct Passed {
    pub connection: OwnedFd,
    pub attributes: Vec<(String, String)>,
}

pub struct Receiver {
    pub socket: PathBuf,
    passed: mpsc::Receiver<Option<Passed>>,
}

impl Receiver {
    pub fn start(directory: &Path) -> Receiver {
        let socket = directory.join("odmr");
        let listener = UnixListener::bind(&socket).unwrap();
        let (sender, passed) = mpsc::channel();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let taken = receive(&client).and_then(|connection| {
                    let attributes = read_list(&mut client)?;
                    Some(Passed {
                        connection,
                        attributes,
                    })
                });
                if sender.send(taken).is_err() {
                    return;
                }
            }
        });
        Receiver { socket, passed }
    }

    /// The next connection that was passed.
    pub fn next(&self) -> Passed {
        let taken = self.passed.recv_timeout(PATIENCE).unwrap();
        taken.expect("somebody called and passed nothing")
    }

    /// How many calls came that nobody has looked at yet, with or without a connection.
    pub fn calls(&self) -> usize {
        self.passed.try_iter().count()
    }
}
