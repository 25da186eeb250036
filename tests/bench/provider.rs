//! `turnabout serve` inside a provider's host.

use crate::certificate::Certificate;
use crate::way::Carriage;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program that is measured: the one that was built with this one.
pub const TURNABOUT: &str = env!("CARGO_BIN_EXE_turnabout");

/// What differs between the measurements.
#[derive(Debug)]
pub struct Serve<'a> {
    pub listen: &'a str,
    /// The text of the accounts file.
    pub accounts: &'a str,
    /// Further lines of `[serve.limits]`.
    pub limits: &'a str,
    /// With TLS it is required, as by default.
    pub tls: Option<(&'a Certificate, Carriage)>,
}

impl Serve<'_> {
    /// Writes both files into `directory` (made for it) and gives the command that serves.
    ///
    /// Accounts belong to Postfix's user, whom turnabout becomes before it reads them; the
    /// certificate's key stays root's.
    pub fn command(&self, directory: &Path) -> Command {
        let (config, accounts) = self.write(directory);
        let owned = Command::new("chown")
            .arg("postfix")
            .arg(&accounts)
            .arg(&config)
            .status()
            .unwrap();
        assert!(owned.success(), "cannot give the accounts to postfix");
        let mut command = Command::new(TURNABOUT);
        command.arg("--config").arg(config).arg("serve");
        command
    }

    /// The two files, readable by nobody else.
    fn write(&self, directory: &Path) -> (PathBuf, PathBuf) {
        fs::create_dir_all(directory).unwrap();
        let (config, accounts) = (
            directory.join("turnabout.toml"),
            directory.join("accounts.toml"),
        );
        fs::write(&accounts, self.accounts).unwrap();
        fs::write(&config, self.configuration(&accounts)).unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&accounts, private).unwrap();
        (config, accounts)
    }

    fn configuration(&self, accounts: &Path) -> String {
        let mut text = format!(
            "[serve]
listen = [\"{}\"]
hostname = \"provider.test\"
accounts = \"{}\"
handoff = \"postfix-cache\"
mechanisms = [\"CRAM-MD5\", \"PLAIN\"]
",
            self.listen,
            accounts.display()
        );
        match self.tls {
            None => text.push_str("tls = \"none\"\nplaintext_without_tls = true\n"),
            Some((files, carriage)) => write!(
                text,
                "certificate = [\"{}\"]\nkey = [\"{}\"]\nhandoff_tls = \"{}\"\n",
                files.certificate.display(),
                files.key.display(),
                carriage.name()
            )
            .unwrap(),
        }
        text + "
[serve.limits]
connections = 20000
connections_per_address = 20000
" + self.limits
    }
}
