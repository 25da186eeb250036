//! A provider: the real `turnabout serve` with a fake mail server behind it.

use super::postfix::{Message, Postfix, open_directory};
use super::process::Running;
use nix::unistd::{User, geteuid};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Users and their passwords; alice has example.org and example.com, bob has example.net.
pub const ALICE: (&str, &str) = ("alice", "correct horse battery");
pub const BOB: (&str, &str) = ("bob", "staple of the provider");
pub const ALICE_HOP: &str = "[127.77.0.1]:2525";
pub const BOB_HOP: &str = "[127.77.0.2]:2525";

/// Whom the provider becomes: nobody if the tests run as root, otherwise who they run as.
pub fn service_user() -> &'static str {
    static USER: OnceLock<String> = OnceLock::new();
    USER.get_or_init(|| match geteuid() {
        root if root.is_root() => "nobody".to_owned(),
        own => User::from_uid(own).unwrap().unwrap().name,
    })
}

/// What a test wants different from the usual.
#[derive(Clone)]
pub struct Setup {
    pub listen: &'static str,
    /// `tls` of `[serve]`.
    pub tls: &'static str,
    /// More lines of `[serve]`; `DIR` stands for the test's own directory.
    pub keys: String,
    /// Lines of `[serve.limits]`.
    pub limits: &'static str,
    /// Lines of `[serve.postfix]`.
    pub postfix: &'static str,
    pub version: &'static str,
    pub queue: Vec<Message>,
    /// Options before the command.
    pub options: &'static [&'static str],
    pub accounts: String,
    pub accounts_mode: u32,
    pub user: &'static str,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            listen: "\"127.0.0.1:0\"",
            tls: "none",
            keys: String::new(),
            limits: "",
            postfix: "",
            version: "3.7.11",
            queue: Vec::new(),
            options: &[],
            accounts: accounts(ALICE.1),
            accounts_mode: 0o600,
            user: service_user(),
        }
    }
}

/// The accounts file, with this password for alice.
pub fn accounts(alice: &str) -> String {
    format!(
        "[[account]]\nuser = \"alice\"\ncredential = \"{{PLAIN}}{alice}\"\n\
         domains = [\"example.org\", \"example.com\"]\nnext_hop = \"{ALICE_HOP}\"\n\
         [account.next_hops]\n\"example.com\" = \"[127.77.0.3]:2525\"\n\
         [[account]]\nuser = \"bob\"\ncredential = \"{{PLAIN}}{}\"\n\
         domains = [\"example.net\"]\nnext_hop = \"{BOB_HOP}\"\n",
        BOB.1
    )
}

pub struct Serve {
    pub process: Running,
    /// Where it listens, in the order of the log.
    pub listening: Vec<SocketAddr>,
    pub postfix: Postfix,
    setup: Setup,
    directory: tempfile::TempDir,
}

impl Serve {
    /// Starts it and waits until it is ready.
    pub fn start(setup: Setup) -> Serve {
        let mut serve = Serve::spawn(setup);
        serve.wait_until_ready();
        serve
    }

    pub fn wait_until_ready(&mut self) {
        let ready = self.process.logged("listen");
        self.listening = addresses(&ready);
        assert!(!self.listening.is_empty(), "{ready}");
    }

    /// One message for alice is queued.
    pub fn with_mail() -> Serve {
        Serve::start(Setup {
            queue: vec![Message {
                recipient: "someone@example.org",
                next_hop: ALICE_HOP,
                text: "Subject: hello",
            }],
            ..Setup::default()
        })
    }

    /// Starts it only: for starts that are refused.
    pub fn spawn(setup: Setup) -> Serve {
        Serve::spawn_with(setup, |_| {})
    }

    /// The same, with more files in its directory.
    pub fn spawn_with(setup: Setup, more: impl FnOnce(&Path)) -> Serve {
        let (directory, postfix) = lay_out(&setup, more);
        let config = directory.path().join("turnabout.toml");
        let mut arguments = vec!["--config", config.to_str().unwrap()];
        arguments.extend(setup.options);
        arguments.push("serve");
        let process = Running::start(&arguments);
        Serve {
            process,
            listening: Vec::new(),
            postfix,
            setup,
            directory,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.listening[0]
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts other accounts in place; SIGHUP is the caller's.
    pub fn write_accounts(&self, text: &str) {
        write_accounts(&self.path("accounts.toml"), text, 0o600);
    }

    /// Puts another configuration in place; SIGHUP is the caller's.
    pub fn write_config(&mut self, change: impl FnOnce(&mut Setup)) {
        change(&mut self.setup);
        write_config(&self.path("turnabout.toml"), &self.setup, &self.directory);
    }
}

/// A directory with everything that a provider reads, and its mail server.
pub fn lay_out(setup: &Setup, more: impl FnOnce(&Path)) -> (tempfile::TempDir, Postfix) {
    let directory = tempfile::tempdir().unwrap();
    open_directory(directory.path());
    more(directory.path());
    let postfix = Postfix::start(directory.path(), setup.version, &setup.queue);
    let path = |name: &str| directory.path().join(name);
    write_config(&path("turnabout.toml"), setup, &directory);
    write_accounts(&path("accounts.toml"), &setup.accounts, setup.accounts_mode);
    (directory, postfix)
}

fn write_config(path: &Path, setup: &Setup, directory: &tempfile::TempDir) {
    let directory = directory.path().to_str().unwrap();
    let user = match setup.user {
        "" => String::new(),
        user => format!("user = \"{user}\"\n"),
    };
    let control = match setup.keys.contains("control =") {
        true => String::new(),
        false => format!("control = \"{directory}/control.sock\"\n"),
    };
    // The fakes of the mail server write into their own directory.
    let landlock = match setup.keys.contains("landlock") {
        true => "",
        false => "landlock = false\n",
    };
    let text = format!(
        "[serve]\n{control}listen = [{}]\ntls = \"{}\"\nhostname = \"provider.example.com\"\n\
         accounts = \"{directory}/accounts.toml\"\nruntime_directory = \"{directory}/run\"\n{user}{landlock}{}\n\
         [serve.limits]\n{}\n[serve.postfix]\ncommand_directory = \"{directory}/postfix\"\n{}\n\
         [serve.exim]\ncommand = \"{directory}/exim\"\n",
        setup.listen,
        setup.tls,
        setup.keys.replace("DIR", directory),
        setup.limits,
        setup.postfix
    );
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o644)).unwrap();
}

fn write_accounts(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    let user = User::from_name(service_user()).unwrap().unwrap();
    chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The addresses in a log line.
fn addresses(line: &str) -> Vec<SocketAddr> {
    line.split([' ', ',', '=', '"'])
        .filter_map(|word| word.parse().ok())
        .collect()
}
