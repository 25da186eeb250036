//! contrib/demo shows what it says it shows, and leaves nothing behind.

use std::fs;
use std::process::{Command, Stdio};

use crate::lab::turnabout;

/// What is on the wire with `--plain`; with TLS the capture ends where TLS begins.
const READABLE: [&str; 4] = [
    "\nC: ATRN\nP: 250 ",
    "\nP: EHLO provider.test\n",
    "\nP: MAIL FROM:<bob@example.edu>",
    "\nP: QUIT\nC: 221 ",
];

fn demo(options: &[&str]) {
    let temp = tempfile::tempdir().unwrap();
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/demo"))
        .args(options)
        .env("TURNABOUT", turnabout())
        .env("TMPDIR", temp.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let plain = options.contains(&"--plain");
    for readable in READABLE {
        assert_eq!(text.contains(readable), plain, "{readable:?} in\n{text}");
    }
    assert_eq!(
        text.contains("\nNot a word of the mail is in the capture."),
        !plain,
        "{text}"
    );
    assert!(
        text.contains("\nAll three messages went from "),
        "not to the end:\n{text}"
    );
    assert_eq!(
        text.matches("Byte for byte what was queued").count(),
        3,
        "{text}"
    );
    for line in text.lines() {
        assert!(
            line.chars().count() <= 80,
            "wider than a terminal: {line:?}"
        );
    }
    assert_eq!(
        fs::read_dir(temp.path()).unwrap().count(),
        0,
        "left behind in {temp:?}"
    );
}

#[test]
fn the_demo_with_postfix_turns_a_connection_under_tls_and_cleans_up() {
    demo(&[]);
}

#[test]
fn the_demo_with_exim_turns_a_connection_under_tls_and_cleans_up() {
    demo(&["--exim"]);
}

#[test]
fn the_demo_without_tls_shows_the_whole_conversation_and_cleans_up() {
    demo(&["--plain"]);
}
