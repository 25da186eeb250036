//! Processes for one connection, started as inetd does it: the connection is descriptor 0 and 1; descriptor 2 is a
//! file, so that a test can read the log, or whatever a test wants.

use super::peer::Peer;
use super::postfix::Postfix;
use super::process::until;
use super::serve::{Setup, lay_out};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// The files of a provider, and a port whose connections are given to processes of it.
pub struct Inetd {
    _postfix: Postfix,
    pub listener: TcpListener,
    directory: tempfile::TempDir,
}

impl Inetd {
    pub fn new(setup: &Setup) -> Inetd {
        Inetd::with(setup, |_| {})
    }

    /// The same, with more files in its directory.
    pub fn with(setup: &Setup, more: impl FnOnce(&Path)) -> Inetd {
        let (directory, postfix) = lay_out(setup, more);
        Inetd {
            _postfix: postfix,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            directory,
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Both ends of a new connection: the test's, and the one to be served.
    pub fn connection(&self) -> (Peer, TcpStream) {
        let peer = Peer::connect(self.listener.local_addr().unwrap());
        (peer, self.listener.accept().unwrap().0)
    }

    /// A peer, and the process that serves it.
    pub fn start(&self) -> (Peer, One) {
        let (peer, served) = self.connection();
        (peer, self.start_on(served))
    }

    /// A process for this socket.
    pub fn start_on(&self, socket: impl Into<OwnedFd>) -> One {
        let (stdin, mut command) = (socket.into(), self.command());
        command.stdout(Stdio::from(stdin.try_clone().unwrap()));
        command.stdin(Stdio::from(stdin));
        self.run(command)
    }

    /// The command by itself.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnabout"));
        command.arg("--config").arg(self.path("turnabout.toml"));
        command.arg("serve");
        command
    }

    /// Runs it, with a file for its log.
    pub fn run(&self, mut command: Command) -> One {
        let log = tempfile::Builder::new()
            .prefix("log-")
            .tempfile_in(self.directory.path());
        let (file, log) = log.unwrap().keep().unwrap();
        let child = command.stderr(file).spawn().unwrap();
        One { child, log }
    }
}

/// A process for one connection.
pub struct One {
    child: Child,
    log: PathBuf,
}

impl One {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits for a text in its log.
    pub fn logged(&self, text: &str) {
        until(text, || self.log().contains(text).then_some(()));
    }

    /// Waits for its end; the exit status and the whole log.
    pub fn ended(mut self) -> (ExitStatus, String) {
        let status = until("the end of the process", || self.child.try_wait().unwrap());
        (status, self.log())
    }
}

impl Drop for One {
    fn drop(&mut self) {
        // Ended already is as good as killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
