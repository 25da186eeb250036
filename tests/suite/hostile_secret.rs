//! Password commands that do not behave.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use turnabout::config::SecretSource;

#[test]
fn a_password_command_that_closes_its_output_and_stays_is_not_waited_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("password");
    fs::write(&path, "echo secret\nexec >&-\nexec sleep 600\n").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let command = ["/bin/sh", path.to_str().unwrap()].map(str::to_owned);
    let error = SecretSource::Command(command.to_vec()).read().unwrap_err();
    let text = error.to_string();
    assert!(text.contains("did not end"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}
