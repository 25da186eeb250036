//! Passwords from a file or a command.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use turnabout::config::SecretSource;

fn password_file(mode: u32, content: &[u8]) -> (tempfile::TempDir, SecretSource) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    fs::write(&path, content).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    (directory, SecretSource::File(path))
}

#[test]
fn a_password_is_the_first_line_of_its_file() {
    for content in ["s3cret", "s3cret\n", "s3cret\r\n", "s3cret\nanother line\n"] {
        let (_directory, source) = password_file(0o640, content.as_bytes());
        assert_eq!(source.read().unwrap().expose(), "s3cret");
    }
    for (content, cause) in [
        (&b""[..], "is empty"),
        (b"\nsecond\n", "is empty"),
        (b"a\0b\n", "NUL"),
        (b"\xff\n", "UTF-8"),
        (&[b'x'; 5000], "4096"),
    ] {
        let (_directory, source) = password_file(0o600, content);
        let sentence = source.read().unwrap_err().to_string();
        assert!(sentence.contains(cause), "{sentence}");
    }
}

/// Rules: C16
#[test]
fn a_password_file_that_others_can_read_is_refused() {
    for mode in [0o604, 0o644, 0o602, 0o601] {
        let (_directory, source) = password_file(mode, b"s3cret\n");
        let sentence = source.read().unwrap_err().to_string();
        assert!(sentence.contains("chmod o-rwx /"), "{sentence}");
        assert!(!sentence.contains("s3cret"));
    }
    let missing = SecretSource::File(PathBuf::from("/nonexistent"));
    let sentence = missing.read().unwrap_err().to_string();
    assert!(
        sentence.starts_with("cannot read the password file /nonexistent: "),
        "{sentence}"
    );
}

#[test]
fn a_password_command_runs_without_a_shell() {
    let command = |words: &[&str]| {
        SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect()).read()
    };
    assert_eq!(
        command(&["/bin/echo", "$HOME; id"]).unwrap().expose(),
        "$HOME; id"
    );
    for (words, cause) in [
        (&["/bin/false"][..], "exit status: 1"),
        (&["/nonexistent"], "No such file"),
        (&["/bin/true"], "is empty"),
        (&[], "empty"),
    ] {
        let sentence = command(words).unwrap_err().to_string();
        assert!(sentence.contains(cause), "{sentence}");
    }
    let endless = command(&["/usr/bin/yes"]).unwrap_err().to_string();
    assert!(endless.contains("4096"), "{endless}");
}
