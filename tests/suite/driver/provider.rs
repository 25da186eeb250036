//! A provider that a test plays itself, and the real `turnabout fetch` that dials it.

use super::peer::Peer;
use super::process::{PATIENCE, Running};
use rustls::ServerConfig;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Plays a script with the first connection that comes.
pub fn scripted<T: Send + 'static>(
    script: impl FnOnce(Peer) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    scripted_at("127.0.0.1:0", script)
}

/// The same at another address.
pub fn scripted_at<T: Send + 'static>(
    listen: &str,
    script: impl FnOnce(Peer) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind(listen).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    let thread = std::thread::spawn(move || {
        let started = Instant::now();
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    return script(Peer::new(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    assert!(started.elapsed() < PATIENCE, "nobody called");
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    (address, thread)
}

/// Greeting, EHLO, and a CRAM-MD5 login that any password passes; the next command is ATRN.
pub fn opened(peer: &mut Peer) {
    peer.send("220 provider.example.com ESMTP\r\n");
    let ehlo = peer.line().unwrap();
    assert!(ehlo.starts_with("EHLO "), "{ehlo}");
    peer.send("250-provider.example.com\r\n250-AUTH CRAM-MD5\r\n250 ATRN\r\n");
    assert_eq!(peer.line().unwrap(), "AUTH CRAM-MD5");
    peer.send("334 PDEuMUBwLmV4YW1wbGUuY29tPg==\r\n");
    let response = peer.line().unwrap();
    peer.secrets.push(response);
    peer.send("235 2.7.0 in\r\n");
}

/// What a provider offers under TLS.
pub const IN_TLS: &str = "250-provider.example.com\r\n250-AUTH PLAIN\r\n250 ATRN\r\n";

/// Greeting, EHLO and STARTTLS in the clear, then the handshake.
pub fn start_tls(peer: &mut Peer, config: ServerConfig) -> io::Result<()> {
    until_tls(peer);
    peer.take_tls(config)
}

/// The part of it in the clear: the customer handshakes now.
pub fn until_tls(peer: &mut Peer) {
    peer.send("220 provider.example.com ESMTP\r\n");
    let ehlo = peer.line().unwrap();
    assert!(ehlo.starts_with("EHLO "), "{ehlo}");
    peer.send("250-provider.example.com\r\n250 STARTTLS\r\n");
    assert_eq!(peer.line().unwrap(), "STARTTLS");
    peer.send("220 go on\r\n");
}

/// Under TLS: EHLO, a login with PLAIN; the next command is ATRN.
pub fn opened_in_tls(peer: &mut Peer) {
    let ehlo = peer.line().unwrap();
    assert!(ehlo.starts_with("EHLO "), "{ehlo}");
    peer.send(IN_TLS);
    let login = peer.line().unwrap();
    assert!(login.starts_with("AUTH PLAIN "), "{login}");
    peer.secrets.push(login);
    peer.send("235 2.7.0 in\r\n");
}

/// A customer: one run of `turnabout fetch` without a configuration file.
pub struct Fetch {
    pub directory: tempfile::TempDir,
    /// Options before the command.
    pub options: Vec<&'static str>,
    /// The option `--tls`.
    pub tls: &'static str,
    /// Options behind `fetch`, beside those that are always there.
    pub more: Vec<String>,
    pub handoff: Vec<String>,
    pub password: &'static str,
}

impl Default for Fetch {
    fn default() -> Fetch {
        Fetch::exec(&["/bin/true"])
    }
}

impl Fetch {
    /// With a command that gets the connection; the provider is on loopback here, as behind a tunnel.
    pub fn exec(command: &[&str]) -> Fetch {
        let handoff = ["--handoff", "exec", "--i-know", "--"];
        let handoff = handoff.iter().chain(command);
        Fetch {
            directory: tempfile::tempdir().unwrap(),
            options: Vec::new(),
            tls: "none",
            more: Vec::new(),
            handoff: handoff.map(ToString::to_string).collect(),
            password: "correct horse battery",
        }
    }

    /// With a running `pass` service.
    pub fn pass(socket: &std::path::Path) -> Fetch {
        let socket = socket.to_str().unwrap();
        let handoff = ["--handoff", "postfix-pass", "--socket", socket];
        Fetch {
            handoff: handoff.map(str::to_owned).to_vec(),
            ..Fetch::default()
        }
    }

    /// With a receiver in another container; the provider is on loopback here, as behind a tunnel.
    pub fn catch(socket: &std::path::Path) -> Fetch {
        let socket = socket.to_str().unwrap();
        let handoff = ["--handoff", "catch", "--i-know", "--socket", socket];
        Fetch {
            handoff: handoff.map(str::to_owned).to_vec(),
            ..Fetch::default()
        }
    }

    pub fn with(mut self, options: &[&str]) -> Fetch {
        self.more.extend(options.iter().map(ToString::to_string));
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Fetches as alice from this address.
    pub fn run(&self, address: SocketAddr) -> Output {
        self.run_host(&address.ip().to_string(), address.port())
    }

    /// Starts to fetch as alice from this address.
    pub fn start(&self, address: SocketAddr) -> Running {
        let arguments = self.arguments(&address.ip().to_string(), address.port());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        Running::start(&arguments)
    }

    /// The arguments of such a run, for another starter.
    pub fn arguments_for(&self, address: SocketAddr) -> Vec<String> {
        self.arguments(&address.ip().to_string(), address.port())
    }

    pub fn run_host(&self, host: &str, port: u16) -> Output {
        Command::new(env!("CARGO_BIN_EXE_turnabout"))
            .args(self.arguments(host, port))
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn arguments(&self, host: &str, port: u16) -> Vec<String> {
        let password = self.path("password");
        fs::write(&password, format!("{}\n", self.password)).unwrap();
        fs::set_permissions(&password, Permissions::from_mode(0o600)).unwrap();
        let port = port.to_string();
        let fixed = [
            &["fetch", "--host", host, "--port", &port][..],
            &[
                "--tls",
                self.tls,
                "--user",
                "alice",
                "--hostname",
                "customer.example.org",
            ],
            &["--password-file", password.to_str().unwrap()],
        ];
        let options = self.options.iter().copied();
        let words = options.chain(fixed.into_iter().flatten().copied());
        let own = self.more.iter().chain(&self.handoff).cloned();
        words.map(str::to_owned).chain(own).collect()
    }

    /// Fetches with a configuration file.
    pub fn run_file(&self, config: &str, names: &[&str]) -> Output {
        let path = self.path("turnabout.toml");
        fs::write(&path, config).unwrap();
        Command::new(env!("CARGO_BIN_EXE_turnabout"))
            .args(&self.options)
            .args(["--config", path.to_str().unwrap(), "fetch"])
            .args(names)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}
