//! `turnabout catch` on a socket that a service manager has opened: systemd's own program for it stands in for systemd.

use crate::driver::{Fetch, opened, scripted, until};
use crate::fetch_talk::outcome;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

/// Greets, and ends after QUIT.
const SERVER: &[&str] = &[
    "/bin/sh",
    "-c",
    "printf '220 here\\r\\n'; while read line; do printf '250 %s\\r\\n' $line; case $line in QUIT*) exit;; esac; done",
];

/// systemd's program, and then the one that it starts in its place.
struct Activated {
    process: Child,
    log: PathBuf,
}

impl Activated {
    /// Listens on all of these; `turnabout catch` is told of one.
    fn start(directory: &Path, listen: &[&str], socket: &Path) -> Activated {
        let log = directory.join("log");
        let mut command = Command::new("systemd-socket-activate");
        for address in listen {
            command.args(["-l", address]);
        }
        let process = command
            .args([env!("CARGO_BIN_EXE_turnabout"), "catch", "--allow-loopback"])
            .arg(socket)
            .arg("--")
            .args(SERVER)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .expect("systemd-socket-activate (contrib/test installs it)");
        let activated = Activated { process, log };
        until("the sockets", || {
            let count = activated.log().matches("Listening on").count();
            (count == listen.len()).then_some(())
        });
        activated
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    fn ended(&mut self) -> ExitStatus {
        until("the end", || self.process.try_wait().unwrap())
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn catch_listens_on_the_socket_that_systemd_has_opened_and_leaves_its_file() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("catch.sock");
    let listen = [socket.to_str().unwrap()];
    let mut catch = Activated::start(directory.path(), &listen, &socket);
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        assert_eq!(peer.line().unwrap(), "220 here");
        peer.send("QUIT\n");
        peer.rest()
    });
    let (code, said) = outcome(&Fetch::catch(&socket).run(address));
    assert_eq!(code, 0, "{said}{}", catch.log());
    assert_eq!(provider.join().unwrap(), "250 QUIT\r\n");
    let pid = Pid::from_raw(catch.process.id().try_into().unwrap());
    kill(pid, Signal::SIGTERM).unwrap();
    assert_eq!(catch.ended().code(), Some(0), "{}", catch.log());
    // Who made it may start the next one.
    assert!(socket.exists());
}

#[test]
fn catch_does_not_start_on_sockets_of_systemd_that_are_not_the_one() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (own, other) = (path("catch.sock"), path("other.sock"));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let port = port.unwrap().to_string();
    for (listen, code, why) in [
        (vec![other.as_str()], 69, "the service manager's socket is"),
        (vec![port.as_str()], 78, "no listening Unix socket"),
        (
            vec![own.as_str(), other.as_str()],
            78,
            "one more than there may be",
        ),
    ] {
        let mut catch = Activated::start(directory.path(), &listen, Path::new(&own));
        match listen[0] {
            first if first == port => drop(TcpStream::connect(first).unwrap()),
            first => drop(UnixStream::connect(first).unwrap()),
        }
        assert_eq!(catch.ended().code(), Some(code), "{}", catch.log());
        assert!(catch.log().contains(why), "{why}: {}", catch.log());
    }
}
