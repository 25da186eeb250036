//! contrib/demo shows what it says it shows, and leaves nothing behind.

use std::fs;
use std::process::{Command, Stdio};

use crate::lab::turnabout;

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
    for shown in [
        "\nC: ATRN\nP: 250 ",
        "\nP: EHLO provider.test\n",
        "\nP: MAIL FROM:<bob@example.edu>",
        "\nP: QUIT\nC: 221 ",
        "\nAll three messages went from ",
    ] {
        assert!(text.contains(shown), "{shown:?} is not in\n{text}");
    }
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
fn the_demo_with_postfix_shows_the_turn_and_cleans_up() {
    demo(&[]);
}

#[test]
fn the_demo_with_exim_shows_the_turn_and_cleans_up() {
    demo(&["--exim"]);
}
