//! `turnabout serve` inside a provider's host.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that is measured: the one that was built with this one.
pub const TURNABOUT: &str = env!("CARGO_BIN_EXE_turnabout");

/// Writes both of its files into `directory` (made for it) and gives the command that serves.
///
/// Accounts belong to Postfix's user, whom turnabout becomes before it reads them.
pub fn command(directory: &Path, listen: &str, accounts: &str, more: &str) -> Command {
    let (config, accounts_file) = write(directory, listen, accounts, more);
    let owned = Command::new("chown")
        .arg("postfix")
        .arg(&accounts_file)
        .arg(&config)
        .status()
        .unwrap();
    assert!(owned.success(), "cannot give the accounts to postfix");
    let mut command = Command::new(TURNABOUT);
    command.arg("--config").arg(config).arg("serve");
    command
}

/// The two files, readable by nobody else.
pub fn write(directory: &Path, listen: &str, accounts: &str, more: &str) -> (PathBuf, PathBuf) {
    fs::create_dir_all(directory).unwrap();
    let (config, accounts_file) = (
        directory.join("turnabout.toml"),
        directory.join("accounts.toml"),
    );
    fs::write(&accounts_file, accounts).unwrap();
    let text = format!(
        "[serve]
listen = [\"{listen}\"]
hostname = \"provider.test\"
accounts = \"{}\"
handoff = \"postfix-cache\"
tls = \"none\"
mechanisms = [\"CRAM-MD5\", \"PLAIN\"]
plaintext_without_tls = true

[serve.limits]
connections = 20000
connections_per_address = 20000
{more}",
        accounts_file.display()
    );
    fs::write(&config, text).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&accounts_file, private).unwrap();
    (config, accounts_file)
}
