//! The program as a child process, and what it writes to standard error.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a test waits for what must come; only a failing or a very slow run ever needs it.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the question has an answer.
pub fn until<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running `turnabout`.
pub struct Running {
    child: Child,
    log: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    pub fn start(arguments: &[&str]) -> Running {
        Running::start_in(arguments, &[])
    }

    /// With these in its environment.
    pub fn start_in(arguments: &[&str], environment: &[(&str, &str)]) -> Running {
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnabout"))
            .args(arguments)
            .envs(environment.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(Vec::new()));
        let (mut pipe, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        let reader = std::thread::spawn(move || {
            let mut octets = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut octets) {
                kept.lock().unwrap().extend_from_slice(&octets[..count]);
            }
        });
        Running {
            child,
            log,
            reader: Some(reader),
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Everything it has logged so far.
    pub fn log(&self) -> String {
        String::from_utf8(self.log.lock().unwrap().clone()).unwrap()
    }

    /// Waits for the first whole line that has this text in it.
    pub fn logged(&mut self, text: &str) -> String {
        let started = Instant::now();
        loop {
            let log = self.log();
            let found = log
                .split_inclusive('\n')
                .find(|line| line.contains(text) && line.ends_with('\n'));
            if let Some(line) = found {
                return line.trim_end().to_owned();
            }
            let ended = self.child.try_wait().unwrap().is_some()
                && self.reader.as_ref().is_none_or(JoinHandle::is_finished)
                && self.log() == log;
            assert!(
                !ended && started.elapsed() < PATIENCE,
                "{text:?} was not logged:\n{log}"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.id()).unwrap()), signal).unwrap();
    }

    /// Waits for its end; gives the exit status and the whole log.
    pub fn ended(&mut self) -> (ExitStatus, String) {
        let status = until("the program's end", || self.child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        (status, self.log())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Ended already is as good as killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
