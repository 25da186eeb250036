//! `turnabout status --watch`: in place on a terminal, which is found again as it was; otherwise block by block.

use crate::driver::{Serve, Setup, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

/// A program and what it has written so far; ended with this value.
struct Watched {
    child: Child,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Watched {
    fn start(command: &mut Command) -> Watched {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let text = Arc::new(Mutex::new(Vec::new()));
        let (mut pipe, kept) = (child.stdout.take().unwrap(), Arc::clone(&text));
        std::thread::spawn(move || {
            let mut octets = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut octets) {
                kept.lock().unwrap().extend_from_slice(&octets[..count]);
            }
        });
        Watched { child, text }
    }

    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }

    fn shows(&self, words: &str, times: usize) {
        until(words, || {
            (self.text().matches(words).count() >= times).then_some(())
        });
    }

    fn ends_well(&mut self) {
        let status = until("the end", || self.child.try_wait().unwrap());
        assert!(status.success(), "{status}: {}", self.text());
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Ended already is as good as killed.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn served() -> (Serve, String) {
    let serve = Serve::start(Setup::default());
    let socket = serve.path("control.sock");
    until("the socket", || socket.exists().then_some(()));
    let socket = socket.to_str().unwrap().to_owned();
    (serve, socket)
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_turnabout");

#[test]
fn a_terminal_is_drawn_on_in_place_and_restored_by_ctrl_c() {
    let (_serve, socket) = served();
    // script(1) is a terminal for the program, and passes on what is typed. A shell that stayed in between would end by
    // the same Ctrl-C, and its end would be the one that is seen.
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c"]);
    command.arg(format!("exec {PROGRAM} status --watch --socket {socket}"));
    command.arg("/dev/null");
    let mut watched = Watched::start(&mut command);
    watched.shows("no session is open", 2);
    let typed = watched.child.stdin.as_mut().unwrap();
    typed.write_all(b"\x03").unwrap();
    watched.ends_well();
    let text = watched.text();
    let (before, rest) = text.split_once("\x1b[?1049h\x1b[?25l\x1b[?7l").unwrap();
    assert_eq!(before, "");
    let (shown, after) = rest.split_once("\x1b[?7h\x1b[?25h\x1b[?1049l").unwrap();
    assert!(shown.matches("\x1b[H\x1b[J").count() >= 2, "{shown:?}");
    assert!(!after.contains('\x1b'), "{after:?}");
}

#[test]
fn a_pipe_gets_block_after_block_and_no_control_character() {
    let (serve, socket) = served();
    let arguments = ["status", "--watch", "--socket", &socket];
    let mut watched = Watched::start(Command::new(PROGRAM).args(arguments));
    watched.shows("no session is open", 2);
    // A service that goes is said to have gone, and it is looked for again.
    drop(serve);
    watched.shows("is the service running?", 1);
    let id = Pid::from_raw(i32::try_from(watched.child.id()).unwrap());
    kill(id, Signal::SIGINT).unwrap();
    watched.ends_well();
    let text = watched.text();
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
}

#[test]
fn json_is_watched_line_by_line_and_nobody_at_the_start_is_69() {
    let (serve, socket) = served();
    let arguments = ["status", "--watch", "--json", "--socket", &socket];
    let mut watched = Watched::start(Command::new(PROGRAM).args(arguments));
    watched.shows("\"role\":\"serve\"", 2);
    let id = Pid::from_raw(i32::try_from(watched.child.id()).unwrap());
    kill(id, Signal::SIGTERM).unwrap();
    watched.ends_well();
    for line in watched.text().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    drop(serve);
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(69));
}
