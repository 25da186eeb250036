//! The real `turnabout catch`, and the other end of its socket as a test plays it.

use super::postfix::receive;
use super::process::{PATIENCE, Running};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use serde_json::{Value, json};
use std::io::{ErrorKind, IoSlice, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

/// A receiver that runs a command for each connection.
pub struct Catcher {
    pub directory: tempfile::TempDir,
    pub socket: PathBuf,
    pub process: Running,
}

impl Catcher {
    pub fn start(options: &[&str], command: &[&str]) -> Catcher {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("catch.sock");
        let process = Running::start(&Catcher::arguments(&socket, options, command));
        let mut catcher = Catcher {
            directory,
            socket,
            process,
        };
        catcher.process.logged(" ready ");
        catcher
    }

    pub fn arguments<'a>(
        socket: &'a std::path::Path,
        options: &[&'a str],
        command: &[&'a str],
    ) -> Vec<&'a str> {
        let socket = socket.to_str().unwrap();
        let mut arguments = vec!["--log-level", "debug", "catch"];
        arguments.extend(options);
        // The provider is on loopback here, as behind a tunnel.
        arguments.extend(["--allow-loopback", socket, "--"]);
        arguments.extend(command);
        arguments
    }

    pub fn called(&self) -> Hand {
        Hand::new(UnixStream::connect(&self.socket).unwrap())
    }

    /// A caller that was told ready.
    pub fn ready(&self) -> Hand {
        let mut hand = self.called();
        hand.say(&Hand::offer());
        assert_eq!(hand.hears()["message"], "ready");
        hand
    }
}

/// One end of the socket between two containers.
pub struct Hand {
    pub stream: UnixStream,
}

impl Hand {
    pub fn new(stream: UnixStream) -> Hand {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Hand { stream }
    }

    pub fn offer() -> Value {
        json!({"message": "offer", "versions": [1], "direction": "inbound", "relay": false})
    }

    /// Whose connection may be carried by a relay.
    pub fn offer_of_a_relay() -> Value {
        let mut offer = Hand::offer();
        offer["relay"] = json!(true);
        offer
    }

    /// The record of a connection that a relay carries, whose peer is said to be this.
    pub fn relayed(peer: &str) -> Value {
        json!({
            "message": "connection", "version": 1, "direction": "inbound",
            "session": "test-1", "provider": "isp", "user": "alice", "domains": null,
            "peer": peer, "local": "198.51.100.7:40312", "carried": "relay",
            "tls": {"version": "TLS1.3", "cipher": "TLS_AES_128_GCM_SHA256", "fingerprint": null},
        })
    }

    /// The record of a connection without TLS.
    pub fn record(connection: &TcpStream) -> Value {
        json!({
            "message": "connection", "version": 1, "direction": "inbound",
            "session": "test-1", "provider": "isp", "user": "alice", "domains": ["example.org"],
            "peer": connection.peer_addr().unwrap().to_string(),
            "local": connection.local_addr().unwrap().to_string(),
            "carried": "plain", "tls": null,
        })
    }

    pub fn say(&mut self, word: &Value) {
        self.send(format!("{word}\n").as_bytes());
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.stream.write_all(octets).unwrap();
    }

    /// Sends octets, and descriptors with the first of them.
    pub fn send_with(&mut self, octets: &[u8], descriptors: &[RawFd]) {
        let slice = [IoSlice::new(octets)];
        let rights = [ControlMessage::ScmRights(descriptors)];
        let sent = sendmsg::<()>(
            self.stream.as_raw_fd(),
            &slice,
            &rights,
            MsgFlags::MSG_NOSIGNAL,
            None,
        );
        assert_eq!(sent.unwrap(), octets.len());
    }

    pub fn say_with(&mut self, word: &Value, descriptors: &[RawFd]) {
        self.send_with(format!("{word}\n").as_bytes(), descriptors);
    }

    /// The next word.
    pub fn hears(&mut self) -> Value {
        self.hears_behind(b"")
    }

    /// The record of a connection, and the descriptor that comes with its first octet.
    pub fn receives(&mut self) -> (OwnedFd, Value) {
        let connection = receive(&self.stream).expect("no descriptor came");
        (connection, self.hears_behind(b"{"))
    }

    fn hears_behind(&mut self, begin: &[u8]) -> Value {
        let mut line = begin.to_vec();
        let mut octet = [0];
        while self.stream.read(&mut octet).unwrap() == 1 && octet[0] != b'\n' {
            line.push(octet[0]);
        }
        serde_json::from_slice(&line)
            .unwrap_or_else(|error| panic!("{error}: {:?}", String::from_utf8_lossy(&line)))
    }

    /// A refusal, and why; nothing comes behind it.
    pub fn refused(&mut self) -> String {
        let word = self.hears();
        assert_eq!(word["message"], "refused", "{word}");
        self.ended();
        word["reason"].as_str().unwrap().to_owned()
    }

    /// The other end has closed.
    pub fn ended(&mut self) {
        let mut octet = [0];
        match self.stream.read(&mut octet) {
            Ok(0) => {}
            // What we had said was not read any more.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("it goes on: {other:?}"),
        }
    }
}

/// A TCP connection: the customer's end and the provider's.
pub fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (theirs, _) = listener.accept().unwrap();
    theirs.set_read_timeout(Some(PATIENCE)).unwrap();
    (ours, theirs)
}
