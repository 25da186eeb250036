//! TLS by the kernel, for which this machine's own kernel may be the wrong one: the tests marked as ignored here run in
//! a guest with Debian's kernel (contrib/guest), and natively as well where the running kernel has TLS.
//!
//! A test of this file starts them and asks of each by its name whether it has passed, so none is left out unnoticed.

mod capture;
mod delivery;
mod handshake;
mod killed;
mod statistics;
mod trust;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub use capture::Capture;
pub use statistics::Statistics;

/// Tests of other files that can do without a guest, and are to pass with the kernel's TLS as well.
const OTHERS: [&str; 0] = [];

#[test]
fn what_needs_the_kernels_tls_holds_in_a_guest_with_debians_kernel() {
    for (script, verb) in [("lab", "exim"), ("guest", "fetch")] {
        let status = Command::new(contrib(script)).arg(verb).status().unwrap();
        assert!(status.success(), "contrib/{script} {verb}: {status}");
    }
    let mut command = Command::new("setpriv");
    // Should this process be killed, the guest ends as well; and it never stays for ever.
    command.args(["--pdeathsig", "TERM", "timeout", "2h"]);
    command.arg(contrib("guest")).arg("run");
    all_pass(command.arg(this_program()));
}

#[test]
fn what_needs_the_kernels_tls_holds_natively_where_the_running_kernel_has_it() {
    let _may_fail = Command::new("modprobe").args(["-q", "tls"]).status();
    if has_tls() {
        all_pass(&mut Command::new(this_program()));
    } else {
        println!("The running kernel has no TLS: only the guest can show it.");
    }
}

/// Runs the tests, shows what they say, and looks for each one's success.
fn all_pass(command: &mut Command) {
    let mut names = ignored_tests();
    assert!(!names.is_empty(), "no tests in {}", module_path!());
    names.extend(OTHERS.map(str::to_owned));
    let mut run = command
        .args(["--include-ignored", "--test-threads", "1", "--exact"])
        .args(&names)
        .env("LAB_HANDOFF_TLS", "kernel")
        // To find the names for one takes longer there than the test.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut passed = Vec::new();
    for line in BufReader::new(run.stdout.take().unwrap()).split(b'\n') {
        let line = String::from_utf8_lossy(&line.unwrap()).into_owned();
        println!("{line}");
        let name = line.strip_prefix("test ").unwrap_or_default();
        passed.extend(name.strip_suffix(" ... ok").map(str::to_owned));
    }
    let status = run.wait().unwrap();
    names.retain(|name| !passed.contains(name));
    assert!(names.is_empty(), "{status}; not passed: {names:#?}");
    assert!(status.success(), "{status}");
}

/// The tests of this module that do not run by themselves.
fn ignored_tests() -> Vec<String> {
    let list = Command::new(this_program())
        .args(["--list", "--ignored", "kernel::"])
        .output()
        .unwrap();
    let lines = String::from_utf8(list.stdout).unwrap();
    lines
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

/// Has the running kernel's TLS been loaded?
fn has_tls() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp")
        .is_ok_and(|names| names.split_whitespace().any(|name| name == "tls"))
}

fn contrib(script: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib")).join(script)
}

fn this_program() -> PathBuf {
    std::env::current_exe().unwrap()
}
