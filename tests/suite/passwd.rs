//! `turnabout passwd`: one account changes, everything else stays.

use crate::accounts_file::{TWO, key};
use clap::Parser;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use turnabout::accounts::{Accounts, Outcome};
use turnabout::cli::passwd::{Args, Done, PasswdError, one_line, run_with};
use turnabout::sasl::Secret;
use turnabout::sasl::server::Evidence;
use turnabout::tls::Fingerprint;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    args: Args,
}

struct Desk {
    directory: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// With the file of two accounts.
    fn with_two() -> Self {
        let desk = Self::new();
        desk.write(TWO, 0o600);
        desk
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("accounts.toml")
    }

    fn write(&self, text: &str, mode: u32) {
        fs::write(self.path(), text).unwrap();
        fs::set_permissions(self.path(), Permissions::from_mode(mode)).unwrap();
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    fn run(&self, password: &str, options: &[&str]) -> Result<Done, PasswdError> {
        let path = self.path();
        let begin = ["passwd", "--accounts", path.to_str().unwrap()];
        let args = Command::try_parse_from(begin.iter().chain(options))
            .unwrap()
            .args;
        run_with(&args, &path, || Ok(Secret::from(password)))
    }

    fn accepts(&self, user: &str, password: &str) -> bool {
        let accounts = Accounts::load(&self.path(), &key()).unwrap();
        let evidence = Evidence::Password {
            authzid: None,
            authcid: user.into(),
            password: password.into(),
        };
        let judgement = accounts.verify(&evidence, "192.0.2.7".parse().unwrap());
        matches!(judgement.outcome, Outcome::Accepted { .. })
    }

    /// Only the accounts file is there: no temporary file, no lock file.
    fn is_tidy(&self) -> bool {
        let names: Vec<_> = fs::read_dir(self.directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.iter().all(|name| name == "accounts.toml")
    }
}

const NEW: [&str; 5] = [
    "carol",
    "--domains",
    "carol.example,www.carol.example",
    "--next-hop",
    "[127.77.0.9]:2525",
];

#[test]
fn the_first_account_makes_a_file_that_only_its_owner_reads() {
    let desk = Desk::new();
    assert_eq!(
        desk.run("pencil", &NEW).unwrap(),
        Done::Added("carol".into())
    );
    assert_eq!(fs::metadata(desk.path()).unwrap().mode() & 0o777, 0o600);
    assert!(desk.accepts("carol", "pencil"));
    assert!(!desk.accepts("carol", "pencils"));
    assert!(
        desk.text().contains("credential = \"{SCRAM-SHA-256}"),
        "{}",
        desk.text()
    );
    assert!(desk.is_tidy());
}

#[test]
fn a_changed_password_leaves_comments_and_other_accounts_as_they_are() {
    let desk = Desk::new();
    let text = TWO.replace(
        "credential = \"{PLAIN}pencil\"",
        "  credential   =   \"{PLAIN}pencil\"   # temporary",
    );
    desk.write(&text, 0o600);
    assert_eq!(
        desk.run("eraser", &["alice"]).unwrap(),
        Done::Changed("alice".into())
    );
    assert_eq!(desk.text(), text.replace("{PLAIN}pencil", "{PLAIN}eraser"));
    assert!(desk.accepts("alice", "eraser") && desk.accepts("bob", "crayon"));
}

#[test]
fn an_account_keeps_its_scheme_unless_another_is_asked_for() {
    let desk = Desk::with_two();
    desk.run("eraser", &["alice"]).unwrap();
    assert!(
        desk.text().contains("{PLAIN}eraser"),
        "CRAM-MD5 still works"
    );
    desk.run("eraser", &["alice", "--scheme", "scram-sha-1"])
        .unwrap();
    assert!(desk.text().contains("{SCRAM-SHA-1}") && !desk.text().contains("eraser"));
    desk.run("ruler", &["alice"]).unwrap();
    assert!(desk.text().contains("{SCRAM-SHA-1}") && desk.accepts("alice", "ruler"));
}

#[test]
fn a_new_account_is_added_behind_the_others() {
    let desk = Desk::with_two();
    desk.run("pencil", &NEW).unwrap();
    let text = desk.text();
    assert!(text.starts_with(TWO), "{text}");
    assert!(
        text[TWO.len()..]
            .trim_start()
            .starts_with("[[account]]\nuser = \"carol\"\n"),
        "{text}"
    );
    assert!(desk.accepts("carol", "pencil") && desk.accepts("alice", "pencil"));
}

#[test]
fn comments_stay_at_the_head_of_a_file_without_accounts() {
    let desk = Desk::new();
    desk.write("# our customers\n# ask Jane\n", 0o600);
    desk.run("pencil", &NEW).unwrap();
    assert!(
        desk.text().starts_with("# our customers\n# ask Jane\n"),
        "{}",
        desk.text()
    );
    assert!(desk.accepts("carol", "pencil"));
}

#[test]
fn domains_and_next_hop_of_an_account_can_be_changed() {
    let desk = Desk::with_two();
    desk.run(
        "crayon",
        &["bob", "--domains", "Bob.example", "--next-hop", "[::1]:26"],
    )
    .unwrap();
    let text = desk.text();
    assert!(
        text.contains("domains = [\"bob.example\"]\nnext_hop = \"[::1]:26\""),
        "{text}"
    );
}

#[test]
fn a_removed_account_is_gone_and_no_password_is_asked_for() {
    let desk = Desk::with_two();
    let path = desk.path();
    let args = [
        "passwd",
        "--accounts",
        path.to_str().unwrap(),
        "bob",
        "--delete",
    ];
    let args = Command::try_parse_from(args).unwrap().args;
    let done = run_with(&args, &path, || panic!("asked")).unwrap();
    assert_eq!(done, Done::Removed("bob".into()));
    assert!(!desk.accepts("bob", "crayon") && desk.accepts("alice", "pencil"));
    assert!(!desk.text().contains("bob"));
    let error = run_with(&args, &path, || panic!("asked")).unwrap_err();
    assert!(matches!(error, PasswdError::NoSuchAccount(_)));
}

#[test]
fn a_new_account_needs_domains_and_next_hop_before_a_password_is_asked_for() {
    let desk = Desk::with_two();
    for (options, missing) in [
        (&NEW[..1], "--domains and --next-hop"),
        (&NEW[..3], "--next-hop"),
        (&["carol", "--next-hop", "[127.77.0.9]"][..], "--domains"),
    ] {
        let path = desk.path();
        let begin = ["passwd", "--accounts", path.to_str().unwrap()];
        let args = Command::try_parse_from(begin.iter().chain(options))
            .unwrap()
            .args;
        let error = run_with(&args, &path, || panic!("asked"))
            .unwrap_err()
            .to_string();
        assert!(error.contains(&format!("(give {missing} too")), "{error}");
    }
    assert_eq!(desk.text(), TWO);
}

#[test]
fn a_change_that_the_service_would_refuse_is_not_made() {
    let desk = Desk::with_two();
    for (options, said) in [
        (["--domains", "example.org"], "example.org belongs to"),
        (
            ["--next-hop", "[127.77.0.1]:2525"],
            "next hop [127.77.0.1]:2525 belongs to",
        ),
    ] {
        let error = desk
            .run("crayon", &["bob", options[0], options[1]])
            .unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert!(error.to_string().contains("/accounts.toml:"), "{error}");
    }
    assert_eq!(desk.text(), TWO);
    assert!(desk.is_tidy());
}

#[test]
fn a_file_with_a_mistake_or_open_to_others_is_left_alone() {
    let desk = Desk::new();
    for (text, mode) in [
        (TWO.replace("domains", "domain"), 0o600),
        (TWO.to_owned(), 0o644),
        ("account = [{ user = \"alice\", credential = \"{PLAIN}pencil\", domains = [\"example.org\"], next_hop = \"[::1]\" }]\n".to_owned(), 0o600),
    ] {
        desk.write(&text, mode);
        let error = desk.run("eraser", &["alice"]).unwrap_err().to_string();
        assert!(error.starts_with("cannot ") && error.ends_with(')'), "{error}");
        assert!(!error.contains("pencil"), "{error}");
        assert_eq!(desk.text(), text);
        assert!(desk.is_tidy());
    }
}

#[test]
fn the_new_file_has_the_old_ones_mode_owner_and_place() {
    let desk = Desk::with_two();
    fs::set_permissions(desk.path(), Permissions::from_mode(0o640)).unwrap();
    // Where the test may, with another owner too.
    let root = nix::unistd::geteuid().is_root();
    if root {
        std::os::unix::fs::chown(desk.path(), Some(12345), Some(23456)).unwrap();
    }
    let before = fs::metadata(desk.path()).unwrap();
    let link = desk.directory.path().join("link");
    symlink("accounts.toml", &link).unwrap();
    let args = ["passwd", "--accounts", link.to_str().unwrap(), "alice"];
    let args = Command::try_parse_from(args).unwrap().args;
    run_with(&args, &link, || Ok(Secret::from("eraser"))).unwrap();
    let after = fs::metadata(desk.path()).unwrap();
    assert_eq!(
        (after.mode(), after.uid(), after.gid()),
        (before.mode(), before.uid(), before.gid())
    );
    assert_ne!(after.ino(), before.ino(), "another file, renamed");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(desk.accepts("alice", "eraser"));
}

#[test]
fn what_a_killed_run_left_behind_is_in_nobodys_way() {
    let desk = Desk::with_two();
    fs::write(
        desk.directory.path().join(".accounts.toml.new"),
        "half a fi",
    )
    .unwrap();
    desk.run("eraser", &["alice"]).unwrap();
    assert!(desk.accepts("alice", "eraser"));
    assert!(desk.is_tidy());
}

#[test]
fn of_many_runs_at_once_none_loses_its_change() {
    let desk = Desk::new();
    desk.write("", 0o600);
    std::thread::scope(|scope| {
        for number in 0..12 {
            let desk = &desk;
            scope.spawn(move || {
                let user = format!("user{number}");
                let domain = format!("user{number}.example");
                let hop = format!("[127.77.1.{number}]");
                desk.run(
                    &user,
                    &[
                        &user,
                        "--scheme",
                        "PLAIN",
                        "--domains",
                        &domain,
                        "--next-hop",
                        &hop,
                    ],
                )
                .unwrap();
            });
        }
    });
    for number in 0..12 {
        let user = format!("user{number}");
        assert!(desk.accepts(&user, &user), "{user}");
    }
    assert!(desk.is_tidy());
}

#[test]
fn a_password_from_standard_input_is_one_line() {
    for input in ["pencil", "pencil\n", "pencil\r\n"] {
        assert_eq!(one_line(input.as_bytes()).unwrap().expose(), "pencil");
    }
    assert_eq!(
        one_line(&b" with blanks \n"[..]).unwrap().expose(),
        " with blanks "
    );
    for input in [
        &b""[..],
        b"\n",
        b"pencil\neraser\n",
        b"pencil\n\n",
        b"\xff\n",
    ] {
        let error = one_line(input).unwrap_err();
        assert!(matches!(error, PasswdError::NoPassword(_)), "{input:?}");
        assert!(!error.to_string().contains("pencil"));
    }
}

#[test]
fn a_password_that_could_never_be_sent_is_refused() {
    let desk = Desk::with_two();
    for password in ["", "\u{7}bell", &"x".repeat(256)] {
        let error = desk.run(password, &["alice"]).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot take this password: "),
            "{error}"
        );
    }
    assert_eq!(desk.text(), TWO);
}

#[test]
fn every_scheme_can_be_asked_for() {
    for scheme in turnabout::accounts::Scheme::ALL {
        let desk = Desk::new();
        let options: Vec<&str> = NEW.into_iter().chain(["--scheme", scheme.name()]).collect();
        desk.run("pencil", &options).unwrap();
        assert!(desk.text().contains(&format!("\"{{{scheme}}}")), "{scheme}");
    }
    let slip = Command::try_parse_from(["passwd", "carol", "--scheme", "SCRAM-SHA256"]);
    assert!(slip.err().unwrap().to_string().contains("SCRAM-SHA-256"));
}

#[test]
fn the_command_takes_the_password_from_standard_input_and_never_prints_it() {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let desk = Desk::new();
    for (input, options, code) in [
        ("pencil\n", &NEW[..], 0),
        ("eraser\n", &["carol"][..], 0),
        ("pencil\neraser\n", &["carol"][..], 78),
        ("pencil\n", &["nobody"][..], 78),
        ("pencil\n", &["carol", "--scheme", "MD5"][..], 64),
        ("", &["nobody", "--delete"][..], 78),
    ] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_turnabout"))
            .arg("passwd")
            .arg("--accounts")
            .arg(desk.path())
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may end before it reads.
        drop(child.stdin.take().unwrap().write_all(input.as_bytes()));
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(output.stdout.is_empty());
        assert!(
            !said.contains("pencil") && !said.contains("eraser"),
            "{said}"
        );
    }
    assert!(desk.accepts("carol", "eraser"));
}

#[test]
fn a_new_file_can_be_read_by_the_group_of_its_directory() {
    use std::os::unix::fs::{MetadataExt, chown};
    if !nix::unistd::geteuid().is_root() {
        // Only root can give a directory to another group.
        return;
    }
    let place = Desk::new();
    chown(place.directory.path(), None, Some(8)).unwrap();
    let new = [
        "alice",
        "--domains",
        "example.org",
        "--next-hop",
        "[127.77.0.1]",
    ];
    place.run("secret", &new).unwrap();
    let made = fs::metadata(place.path()).unwrap();
    assert_eq!((made.gid(), made.mode() & 0o777), (8, 0o640));
}

#[test]
fn certificates_are_left_alone_and_a_password_comes_beside_them() {
    let desk = Desk::new();
    let pinned = format!(
        "certificates = [\"{}\"] # laptop\n",
        Fingerprint::of(b"laptop")
    );
    desk.write(
        &TWO.replace("credential = \"{PLAIN}pencil\"\n", &pinned),
        0o600,
    );
    desk.run("crayon 2", &["bob"]).unwrap();
    assert!(desk.text().contains(&pinned), "{}", desk.text());
    assert!(!desk.accepts("alice", "pencil 2"));
    desk.run("pencil 2", &["alice"]).unwrap();
    assert!(desk.text().contains(&pinned), "{}", desk.text());
    assert!(desk.accepts("alice", "pencil 2"));
    assert!(desk.accepts("bob", "crayon 2"));
}
