//! Programs of the operator's that no signal of a fetch reaches.

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A fetch by nobody with a program that has become root, as sudo makes it: no signal of ours reaches it. `line` is the
/// configuration with its words in it; `None` if we are not root ourselves.
fn fetch_behind_roots_program(
    python: &str,
    line: impl Fn(&str) -> String,
) -> Option<(Output, Duration)> {
    if !geteuid().is_root() {
        return None;
    }
    let site = tempfile::tempdir().unwrap();
    fs::set_permissions(site.path(), Permissions::from_mode(0o777)).unwrap();
    let (interpreter, program) = (site.path().join("python"), site.path().join("turnabout"));
    fs::copy("/usr/bin/python3", &interpreter).unwrap();
    fs::set_permissions(&interpreter, Permissions::from_mode(0o4755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_turnabout"), &program).unwrap();
    let pid = site.path().join("pid");
    let code = format!(
        "import os, time; os.setuid(0); open('{}', 'w').write(str(os.getpid())); {python}; time.sleep(60)",
        pid.display()
    );
    let words = format!(
        "[{:?}, \"-c\", {code:?}]",
        interpreter.display().to_string()
    );
    // Nobody comes that far.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = site.path().join("turnabout.toml");
    let text = format!(
        "[fetch]\nhostname = \"customer.example.org\"\n\
         [providers.isp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"alice\"\n\
         handoff = \"exec\"\ni_know = true\ncommand = [\"/bin/true\"]\n{}\n",
        listener.local_addr().unwrap().port(),
        line(&words),
    );
    fs::write(&config, text).unwrap();
    let started = Instant::now();
    let output = Command::new("setpriv")
        .args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"])
        .arg(&program)
        .arg("--config")
        .arg(&config)
        .args(["fetch", "isp"])
        .output()
        .unwrap();
    let took = started.elapsed();
    let left = fs::read_to_string(&pid).unwrap().parse().unwrap();
    kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
    Some((output, took))
}

#[test]
fn a_program_that_cannot_be_ended_is_left_behind_and_does_not_hold_up_the_fetch() {
    let line = |words: &str| {
        format!(
            "password_command = [\"/bin/echo\", \"secret\"]\nhook_before = {words}\nhook_time = \"6s\""
        )
    };
    let Some((output, took)) = fetch_behind_roots_program("0", line) else {
        return;
    };
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(75), "{log}");
    assert!(log.contains("a hook cannot be ended"), "{log}");
    assert!(log.contains("permitted"), "{log}");
    assert!(took < Duration::from_secs(40), "{took:?}");
}

#[test]
fn a_password_command_that_cannot_be_ended_is_left_behind_and_said_so() {
    let line = |words: &str| format!("password_command = {words}");
    let Some((output, took)) = fetch_behind_roots_program("os.close(1); os.close(2)", line) else {
        return;
    };
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(78), "{log}");
    assert!(
        log.contains("it does not end, and cannot be ended"),
        "{log}"
    );
    assert!(took < Duration::from_secs(40), "{took:?}");
}
