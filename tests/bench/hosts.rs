//! Throw-away mail hosts from `contrib/lab`, and processes that end with the value that holds them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A host with its own processes, network and mail server; gone when dropped.
#[derive(Debug)]
pub struct Host {
    // Its standard input is the host's life line.
    child: Child,
    directory: PathBuf,
    /// The host's first process, as numbered outside.
    pub first: u32,
}

impl Host {
    /// `kind` as `contrib/lab` names it; `number` 1 is provider.test, 2 is customer.test; the
    /// first host carries the network that the others join.
    pub fn start(kind: &str, directory: &Path, number: u8, network_of: Option<&Self>) -> Self {
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/lab"));
        command
            .arg("host")
            .arg(kind)
            .arg(directory)
            .arg(number.to_string());
        if let Some(first) = network_of {
            command.arg(&first.directory);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("contrib/lab");
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert_eq!(
            said.trim(),
            "ready",
            "contrib/lab made no {kind} in {}",
            directory.display()
        );
        let first = fs::read_to_string(directory.join("pid"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        Self {
            child,
            directory: directory.to_owned(),
            first,
        }
    }

    /// A file of the host, seen from outside.
    pub fn var(&self, path: &str) -> PathBuf {
        self.directory.join("var").join(path)
    }

    /// A command to run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--target={}", self.first))
            .args(["--mount", "--pid", "--net", "--uts", "--ipc", "--", program]);
        command
    }

    /// Runs a shell script inside and gives what it printed.
    pub fn shell(&self, script: &str) -> String {
        let output = self
            .command("/bin/sh")
            .args(["-ec", script])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "in the host: {script}\n{said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        end(&mut self.child, Duration::from_secs(10));
    }
}

/// A server process; ended when dropped.
#[derive(Debug)]
pub struct Running {
    name: &'static str,
    child: Child,
}

impl Running {
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name, child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops everything, with what it wrote, if it has ended.
    pub fn must_run(&mut self, log: &Path) {
        if let Some(status) = self.child.try_wait().unwrap() {
            let said = fs::read_to_string(log).unwrap_or_default();
            panic!("{} ended with {status}\n{said}", self.name);
        }
    }

    /// Waits until somebody answers there, or shows what stands in its log, if it has one.
    pub fn answers(&self, address: SocketAddr, log: Option<&Path>) {
        let begin = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(
                begin.elapsed() < Duration::from_secs(20),
                "{} does not listen on {address}\n{}",
                self.name,
                log.map_or_else(String::new, |log| fs::read_to_string(log)
                    .unwrap_or_default())
            );
            sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // SIGTERM first: nginx's master takes its workers with it.
            let target = nix::unistd::Pid::from_raw(pid);
            nix::sys::signal::kill(target, nix::sys::signal::SIGTERM).ok();
        }
        end(&mut self.child, Duration::from_secs(5));
    }
}

/// Waits for the end, and makes it after `patience`.
fn end(child: &mut Child, patience: Duration) {
    let begin = Instant::now();
    while matches!(child.try_wait(), Ok(None)) {
        if begin.elapsed() > patience {
            drop(child.kill());
            drop(child.wait());
            return;
        }
        sleep(Duration::from_millis(10));
    }
}

/// Waits until `done`, at most so long; says what it waited for if that was in vain.
pub fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(
            begin.elapsed() < limit,
            "waited {} s in vain: {what}",
            limit.as_secs()
        );
        sleep(Duration::from_millis(5));
    }
}
