//! A standing customer, and a provider that is always there.

use super::{Peer, Running, opened, until};
use nix::sys::signal::Signal;
use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a provider answers to ATRN, and what happened there.
#[derive(Default)]
struct Facts {
    reply: Mutex<&'static str>,
    /// Sessions that have come, are open, and were open at the same time.
    begun: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    /// Sessions wait in front of the answer.
    held: AtomicBool,
    over: AtomicBool,
}

/// Takes one customer after the other, or several at a time if they come.
pub struct Isp {
    address: SocketAddr,
    facts: Arc<Facts>,
    thread: Option<JoinHandle<()>>,
}

impl Isp {
    pub fn new(reply: &'static str) -> Isp {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let facts = Arc::new(Facts::default());
        *facts.reply.lock().unwrap() = reply;
        let shared = Arc::clone(&facts);
        let thread = std::thread::spawn(move || {
            let mut sessions = Vec::new();
            while !shared.over.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        let facts = Arc::clone(&shared);
                        let open = facts.open.fetch_add(1, Ordering::SeqCst) + 1;
                        facts.most.fetch_max(open, Ordering::SeqCst);
                        sessions.push(std::thread::spawn(move || serve(stream, &facts)));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            for session in sessions {
                session.join().unwrap();
            }
        });
        let thread = Some(thread);
        Isp {
            address,
            facts,
            thread,
        }
    }

    pub fn answers(&self, reply: &'static str) {
        *self.facts.reply.lock().unwrap() = reply;
    }

    pub fn holds(&self, held: bool) {
        self.facts.held.store(held, Ordering::SeqCst);
    }

    pub fn begun(&self) -> usize {
        self.facts.begun.load(Ordering::SeqCst)
    }

    pub fn most_at_a_time(&self) -> usize {
        self.facts.most.load(Ordering::SeqCst)
    }

    /// Waits for this many sessions in all, and sees no more.
    pub fn sees(&self, count: usize) {
        until(&format!("session {count}"), || {
            (self.begun() >= count).then_some(())
        });
        assert_eq!(self.begun(), count);
    }
}

impl Drop for Isp {
    fn drop(&mut self) {
        self.holds(false);
        self.facts.over.store(true, Ordering::SeqCst);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
    }
}

fn serve(stream: std::net::TcpStream, facts: &Facts) {
    let mut peer = Peer::new(stream);
    opened(&mut peer);
    let atrn = peer.line().unwrap();
    assert!(atrn.starts_with("ATRN"), "{atrn}");
    facts.begun.fetch_add(1, Ordering::SeqCst);
    while facts.held.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let reply = *facts.reply.lock().unwrap();
    // A customer that was stopped meanwhile has gone, and says nothing.
    peer.send(format!("{reply}\r\n"));
    if !reply.starts_with("250") && peer.line().is_some() {
        peer.send("221 bye\r\n");
    }
    peer.rest();
    facts.open.fetch_sub(1, Ordering::SeqCst);
}

/// A configuration, and the daemon that runs by it.
pub struct Daemon {
    directory: tempfile::TempDir,
    daemon: Option<Running>,
}

impl Daemon {
    pub fn new(providers: &[(&str, &Isp, &str)]) -> Daemon {
        let site = Daemon {
            directory: tempfile::tempdir().unwrap(),
            daemon: None,
        };
        site.configure(providers);
        site
    }

    pub fn start(providers: &[(&str, &Isp, &str)]) -> Daemon {
        let mut site = Daemon::new(providers);
        site.run(&[], &[]);
        site
    }

    pub fn run(&mut self, names: &[&str], environment: &[(&str, &str)]) {
        let config = self.path("turnabout.toml");
        let config = config.to_str().unwrap();
        let words = [&["--config", config, "fetch", "--daemon"], names].concat();
        let mut daemon = Running::start_in(&words, environment);
        daemon.logged(" ready ");
        self.daemon = Some(daemon);
    }

    pub fn configure(&self, providers: &[(&str, &Isp, &str)]) {
        let control = self.path("control");
        let mut text = format!(
            "[fetch]\nhostname = \"customer.example.org\"\ncontrol = {:?}\nstate_directory = {:?}\n",
            control,
            self.path("state")
        );
        for (name, isp, more) in providers {
            text += &format!(
                "[providers.{name}]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"alice\"\n\
                 password_command = [\"/bin/echo\", \"secret\"]\nhandoff = \"exec\"\ni_know = true\n\
                 command = [\"/bin/true\"]\njitter = \"0s\"\n{more}\n",
                isp.address.port()
            );
        }
        fs::write(self.path("turnabout.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn log(&self) -> String {
        self.daemon.as_ref().unwrap().log()
    }

    pub fn signal(&self, signal: Signal) {
        self.daemon.as_ref().unwrap().signal(signal);
    }

    pub fn daemon(&mut self) -> &mut Running {
        self.daemon.as_mut().unwrap()
    }

    pub fn now(&self, words: &[&str]) -> Output {
        self.now_command(words).output().unwrap()
    }

    pub fn now_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnabout"));
        command
            .arg("--config")
            .arg(self.path("turnabout.toml"))
            .args(["fetch", "--now"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Waits until this many fetches have ended.
    pub fn has_ended(&mut self, count: usize) -> Vec<String> {
        let daemon = self.daemon();
        until(&format!("end {count}"), || {
            let log = daemon.log();
            let ends = log.lines().filter(|line| line.contains(" next fetch "));
            let ends: Vec<String> = ends.map(str::to_owned).collect();
            (ends.len() >= count).then_some(ends)
        })
    }
}
