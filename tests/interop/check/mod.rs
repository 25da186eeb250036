//! `turnabout check` against set-ups that are right and set-ups that are broken, with the real `postconf`, `postmap` and
//! `exim`: each in a scratch /etc of its own, seen only by the process that checks.

mod customer_exim;
mod customer_postfix;
mod loaded;
mod machine;
mod provider_exim;
mod provider_postfix;

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::lab::turnabout;

/// What runs before the check, in namespaces that are its own: `$1` is the site.
const ENTER: &str = "set -e
ip link set lo up
mount --bind \"$1/postfix\" /etc/postfix
mount --bind \"$1/passwd\" /etc/passwd
mount --bind \"$1/group\" /etc/group
mount -t tmpfs tmpfs /var/spool
mount -t tmpfs tmpfs /run
mkdir -p /var/spool/exim4
if [ -e \"$1/before\" ]; then . \"$1/before\"; fi
shift
exec \"$@\"";

/// The files of one machine, ready to be broken.
struct Site {
    dir: tempfile::TempDir,
}

/// What a check has found.
struct Found {
    code: i32,
    all: Value,
}

impl Site {
    /// A machine with the users of Debian and nothing set up.
    fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("turnabout-check-")
            .tempdir()
            .unwrap();
        let site = Self { dir };
        // The mail server's user must be able to come in.
        fs::set_permissions(site.dir.path(), Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(site.path("postfix")).unwrap();
        let exim = "Debian-exim:x:61003:61003::/var/spool/exim4:/usr/sbin/nologin\n";
        site.write(
            "passwd",
            &(fs::read_to_string("/etc/passwd").unwrap() + exim),
        );
        let group = fs::read_to_string("/etc/group").unwrap() + "Debian-exim:x:61003:\n";
        site.write("group", &group);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Replaces the last `from`, which must be there: ours stands behind Debian's.
    fn edit(&self, name: &str, from: &str, to: &str) -> &Self {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has no {from:?}:\n{text}");
        let (before, after) = text.rsplit_once(from).unwrap();
        self.write(name, &format!("{before}{to}{after}"));
        self
    }

    /// Adds lines at the end.
    fn append(&self, name: &str, text: &str) -> &Self {
        let all = self.read(name) + text;
        self.write(name, &all);
        self
    }

    /// The path as a text, for a configuration.
    fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    /// Debian's Postfix with these lines behind its own.
    fn postfix(&self, main: &str, master: &str) {
        let debian = fs::read_to_string("/usr/share/postfix/main.cf.debian").unwrap();
        let own = "\nmyhostname = host.test\nsmtp_dns_support_level = disabled\n";
        self.write("postfix/main.cf", &(debian + own + main));
        let debian = fs::read_to_string("/usr/share/postfix/master.cf.dist").unwrap();
        self.write("postfix/master.cf", &(debian + master));
    }

    /// Exim with this configuration, under the name that `exim` gives.
    fn exim(&self, configuration: &str) -> String {
        self.write("exim.conf", configuration);
        let real = exim_place().join("usr/sbin/exim4");
        let script = format!(
            "#!/bin/sh\nexec {} -C {} \"$@\"\n",
            real.display(),
            self.text("exim.conf")
        );
        self.write("exim4", &script);
        fs::set_permissions(self.path("exim4"), Permissions::from_mode(0o755)).unwrap();
        self.text("exim4")
    }

    /// A certificate for this name, with its key in the same file.
    fn certificate(&self, file: &str, name: &str) {
        let own = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        self.write(file, &(own.signing_key.serialize_pem() + &own.cert.pem()));
        self.mode(file, 0o600);
    }

    fn mode(&self, file: &str, mode: u32) {
        fs::set_permissions(self.path(file), Permissions::from_mode(mode)).unwrap();
    }

    /// Gives a file to a group of the site, and lets it read.
    fn give(&self, file: &str, group: u32) {
        std::os::unix::fs::chown(self.path(file), None, Some(group)).unwrap();
        self.mode(file, 0o640);
    }

    /// Runs turnabout in the site.
    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("unshare")
            .args([
                "--mount",
                "--net",
                "--propagation",
                "private",
                "sh",
                "-c",
                ENTER,
                "sh",
            ])
            .arg(self.dir.path())
            .arg(turnabout())
            .arg("--config")
            .arg(self.path("turnabout.toml"))
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Checks the site.
    fn check(&self) -> Found {
        let output = self.run(&["check", "--json"]);
        let text = String::from_utf8_lossy(&output.stdout);
        let all = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!(
                "{error}: {text}\n{}",
                String::from_utf8_lossy(&output.stderr)
            )
        });
        Found {
            code: output.status.code().unwrap(),
            all,
        }
    }

    /// The site as it is has nothing but what no scratch directory can have: a mail server that runs.
    fn is_right(&self) {
        let found = self.check();
        let wrong: Vec<&Value> = found
            .findings()
            .filter(|finding| finding["severity"] != "note")
            .filter(|finding| {
                let sentence = finding["sentence"].as_str().unwrap();
                !sentence.starts_with("Postfix does not run at this moment")
                    && !sentence.starts_with("nobody answers there at this moment")
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert_eq!(found.code, 0);
    }

    /// The one error that was made, with the line that mends it.
    fn has_error(&self, sentence: &str, fix: &str) {
        let found = self.check();
        found.has("error", sentence, fix);
        assert_eq!(found.code, 78);
        let errors = found
            .findings()
            .filter(|finding| finding["severity"] == "error");
        let errors: Vec<&Value> = errors.collect();
        assert_eq!(errors.len(), 1, "{errors:#?}");
    }

    /// A failure that says so, wherever; an operator's own paths stand in it.
    fn fails_with(&self, words: &str) {
        let found = self.check();
        assert_eq!(found.code, 78);
        let all = found.all.to_string();
        assert!(all.contains(words), "{all}");
    }

    /// The one warning that was made; it is no failure.
    fn has_warning(&self, sentence: &str, fix: &str) {
        let found = self.check();
        found.has("warning", sentence, fix);
        assert_eq!(found.code, 0, "{}", found.all);
    }
}

impl Found {
    fn findings(&self) -> impl Iterator<Item = &Value> {
        self.all["findings"].as_array().unwrap().iter()
    }

    /// A finding of this severity with this sentence and this fix.
    fn has(&self, severity: &str, sentence: &str, fix: &str) {
        let fix = if fix.is_empty() {
            Value::Null
        } else {
            Value::from(fix)
        };
        let there = self.findings().any(|finding| {
            finding["severity"] == severity
                && finding["sentence"] == sentence
                && finding["fix"] == fix
        });
        assert!(
            there,
            "no {severity} {sentence:?} with {fix}:\n{:#}",
            self.all
        );
    }
}

/// Where Exim lies, which Debian does not let be installed beside Postfix.
fn exim_place() -> PathBuf {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/lab"))
        .arg("exim")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A file of contrib.
fn shipped(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib")
        .join(name);
    fs::read_to_string(path).unwrap()
}

/// The number of a group of this machine.
fn group(name: &str) -> u32 {
    nix::unistd::Group::from_name(name)
        .unwrap()
        .unwrap()
        .gid
        .as_raw()
}

/// The accounts of the shipped examples.
const ACCOUNTS: &str = "[[account]]
user = \"alice\"
credential = \"{PLAIN}wonderland\"
domains = [\"example.org\"]
next_hop = \"[127.77.0.1]:24\"

[[account]]
user = \"bob\"
credential = \"{PLAIN}builder\"
domains = [\"example.com\"]
next_hop = \"[127.77.0.2]:24\"
";
