//! TLS by the kernel, for which this machine's own kernel may be the wrong one: the tests marked as ignored here run in
//! a guest with Debian's kernel (contrib/guest), and natively as well where the running kernel has TLS.
//!
//! A test of this file starts them and asks of each by its name whether it has passed, so none is left out unnoticed.

mod capture;
mod confined;
mod cuts;
mod delivery;
mod handshake;
mod killed;
mod memory;
mod statistics;
mod trust;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use capture::Capture;
pub use statistics::Statistics;

/// Of the tests that pass on every kernel those that show what other TLS libraries do to the kernel's.
const COUNTERPARTS: [&str; 8] = [
    "tls::customers::openssl_fetches_from_our_provider_with_postfix",
    "tls::customers::openssl_fetches_from_our_provider_with_exim",
    "tls::customers::gnutls_fetches_from_our_provider_with_postfix",
    "tls::providers::our_customer_fetches_from_openssl_into_postfix",
    "tls::providers::our_customer_fetches_from_openssl_into_exim",
    "tls::customers::fetchmail_fetches_over_tls_with_openssl_as_its_plugin_and_behind_stunnel",
    "tls::providers::our_customer_fetches_from_inetsim_into_postfix_once_its_certificate_is_pinned",
    "tls::providers::our_customer_fetches_through_stunnel_from_a_provider_without_tls",
];

/// The tests of the other program of tests that need the kernel's TLS.
const SUITE: &str = "kernel_tls::in_a_kernel::";

#[test]
fn what_needs_the_kernels_tls_holds_in_a_guest_with_debians_kernel() {
    for (script, verb) in [("lab", "exim"), ("guest", "fetch")] {
        let status = Command::new(contrib(script)).arg(verb).status().unwrap();
        assert!(status.success(), "contrib/{script} {verb}: {status}");
    }
    let mut command = Command::new("setpriv");
    // Should this process be killed, the guest ends as well; and it never stays for ever.
    command.args(["--pdeathsig", "TERM", "timeout", "40m"]);
    command.arg(contrib("guest")).arg("run");
    all_pass(command);
}

#[test]
fn what_needs_the_kernels_tls_holds_natively_where_the_running_kernel_has_it() {
    let _may_fail = Command::new("modprobe").args(["-q", "tls"]).status();
    if has_tls() {
        all_pass(Command::new("env"));
    } else {
        println!("The running kernel has no TLS: only the guest can show it.");
    }
}

/// Runs the tests by `runner`, shows what they say, and looks for each one's success.
fn all_pass(mut runner: Command) {
    let prepared = tempfile::tempdir().unwrap();
    let suite = the_suite();
    let mut names = listed(&this_program(), &["--ignored", "kernel::"]);
    assert!(!names.is_empty(), "no tests in {}", module_path!());
    names.extend(COUNTERPARTS.map(str::to_owned));
    let mut run = runner
        // The quick ones first.
        .args([
            "sh",
            "-c",
            "\"$0\" --test-threads 1 \"$1\"; shift; exec \"$@\"",
        ])
        .args([suite.as_os_str(), SUITE.as_ref()])
        .arg(this_program())
        .args(["--include-ignored", "--test-threads", "1", "--exact"])
        .args(&names)
        .env("LAB_HANDOFF_TLS", "kernel")
        .env("LAB_PREPARED", prepared.path())
        // To find the names for one takes longer there than the test.
        .env("RUST_BACKTRACE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let in_the_suite = listed(&suite, &[SUITE]);
    assert!(!in_the_suite.is_empty(), "no tests {SUITE}*");
    names.extend(in_the_suite);
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

/// The names of a program's tests.
fn listed(program: &Path, which: &[&str]) -> Vec<String> {
    let list = Command::new(program).arg("--list").args(which).output();
    let lines = String::from_utf8(list.unwrap().stdout).unwrap();
    lines
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

/// The program of the hermetic tests, built beside this one: the newest of that name.
fn the_suite() -> PathBuf {
    let beside = this_program();
    let is_suite = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("suite-") && !name.contains('.')
    };
    std::fs::read_dir(beside.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(is_suite)
        .max_by_key(|path| path.metadata().unwrap().modified().unwrap())
        .expect("the tests of tests/suite are not built: cargo test --no-run")
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
