//! The accounts file: what is read, what is refused and in which words, and who else may read it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use turnabout::accounts::{Accounts, AccountsError, StandInKey};

pub const TWO: &str = r#"# customers
[[account]]
user = "alice"
credential = "{PLAIN}pencil"
domains = ["example.org", "Example.COM"]
next_hop = "[127.77.0.1]:2525"
sources = ["192.0.2.0/24", "2001:db8::/32"]

[account.next_hops]
"example.com" = "[127.77.0.2]:2525"

[[account]]
user = "bob"
credential = "{PLAIN}crayon"
domains = ["example.net", "www.example.net"]
next_hop = "[127.77.0.3]:2525"
"#;

pub fn key() -> StandInKey {
    StandInKey::new(*b"thirty-two octets drawn at start")
}

pub fn parse(text: &str) -> Result<Accounts, AccountsError> {
    Accounts::parse(text, Path::new("accounts.toml"), &key())
}

pub fn accounts(text: &str) -> Accounts {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn a_file_of_accounts_is_read() {
    assert_eq!(accounts(TWO).len(), 2);
    assert!(accounts("").is_empty());
    assert!(accounts("# nobody yet\n").is_empty());
}

/// What is wrong, where it is said to be, and what is said to do about it.
#[test]
fn each_mistake_is_named_with_line_column_and_advice() {
    let change = |from: &str, to: &str| {
        assert!(TWO.contains(from), "{from}");
        TWO.replacen(from, to, 1)
    };
    let user = "user = \"alice\"";
    for (text, said) in [
        (
            change("domains", "domain"),
            "5:1: unknown key \"domain\" (did you mean \"domains\"?)",
        ),
        (
            change("next_hop ", "nexthop "),
            "6:1: unknown key \"nexthop\" (did you mean \"next_hop\"?)",
        ),
        (
            change(user, "colour = \"red\""),
            "3:1: unknown key \"colour\" (known here: user, ",
        ),
        (
            "# customers\n[[acount]]\nuser = \"alice\"\n".to_owned(),
            "2:3: unknown key \"acount\" (did you mean \"account\"?)",
        ),
        (change("[[account]]", "[account]"), "account"),
        (
            change(user, ""),
            "2:1: this account has no user (every account has ",
        ),
        (
            change("next_hop = \"[127.77.0.1]:2525\"", ""),
            "has no next_hop (",
        ),
        (
            change("\"alice\"", "7"),
            "3:8: a number where a text belongs (write it between quotes)",
        ),
        (
            change("\"alice\"", "\"\""),
            "3:8: the user name cannot be used: ",
        ),
        (change("\"alice\"", "\"alice"), "3:"),
        (
            change("[\"example.org\", \"Example.COM\"]", "\"example.org\""),
            "5:11: a text where a list",
        ),
        (
            change("[\"example.org\", \"Example.COM\"]", "[]"),
            "5:11: the account has no domains (",
        ),
        (
            change("example.org\"", "localhost\""),
            "5:12: the domain has only one label",
        ),
        (
            change("[127.77.0.1]:2525", "127.77.0.1:2525"),
            "6:12: an address in brackets is needed",
        ),
        (
            change("192.0.2.0/24", "192.0.2.0/99"),
            "7:12: not a prefix length",
        ),
        (
            change("\"example.com\" =", "\"example.edu\" ="),
            "10:1: example.edu is not one of the account's domains (",
        ),
        (
            change("credential = \"{PLAIN}pencil\"", ""),
            "2:1: this account has no credential (make it with: turnabout passwd; or name ",
        ),
        (
            change("credential = \"{PLAIN}pencil\"", "certificates = []"),
            "2:1: this account has no credential (",
        ),
        (
            change("credential =", "certificates ="),
            "4:16: a text where a list belongs",
        ),
        (
            change(
                "\"{PLAIN}pencil\"",
                "\"{PLAIN}x\"\ncertificates = [\"{PLAIN}pencil\"]",
            ),
            "5:17: this names no certificate (write sha256: and 64 hexadecimal digits, or dns: and a name)",
        ),
        (
            change(
                "\"{PLAIN}pencil\"",
                "\"{PLAIN}pencil\"\ncertificates = [\"dns:home\"]",
            ),
            "5:17: this names no certificate (",
        ),
        (
            change("{PLAIN}pencil", "pencil"),
            "4:14: no scheme in braces at the start",
        ),
        (
            change("{PLAIN}pencil", "{CRYPT}pencil"),
            "4:14: no such scheme (write ",
        ),
        (
            change("\"bob\"", "\"alice\""),
            "12:1: the user \"alice\" has two accounts (",
        ),
        (
            change("\"bob\"", "\"ali\u{AD}ce\""),
            "12:1: the user \"alice\" has two accounts (",
        ),
        (
            change("www.example.net", "EXAMPLE.org"),
            "12:1: example.org belongs to \"alice\" already (",
        ),
        (
            change("127.77.0.3", "127.77.0.1"),
            "next hop [127.77.0.1]:2525 belongs to \"alice\" already (",
        ),
        (
            change("127.77.0.3", "127.77.0.2"),
            "next hop [127.77.0.2]:2525 belongs to \"alice\" already (",
        ),
        (
            change("[127.77.0.2]", "[::ffff:127.77.0.1]"),
            "are the same next hop (write it in one way",
        ),
    ] {
        let error = parse(&text).expect_err(&text).to_string();
        assert!(error.starts_with("cannot read accounts.toml:"), "{error}");
        assert!(error.contains(said), "{error}\nshould say {said}");
        assert!(!error.contains("pencil"), "{error}");
        assert!(!error.contains("crayon"), "{error}");
    }
}

/// Rules: C16
#[test]
fn no_password_shows_in_errors_or_debug_output() {
    let shown = format!("{:?}", accounts(TWO));
    assert!(
        !shown.contains("pencil") && !shown.contains("crayon"),
        "{shown}"
    );
    for text in [
        "[[account]]\ncredential = {PLAIN}pencil\n",
        "[[account]]\ncredential = \"{PLAIN}pencil\n",
        "[[account]]\ncredential = '{PLAIN}pencil' x\n",
        "credential = \"{PLAIN}pencil\"\n",
        "account = [[\"{PLAIN}pencil\"]]\n",
    ] {
        let error = parse(text).unwrap_err();
        assert!(!format!("{error}{error:?}").contains("pencil"), "{error}");
    }
}

#[test]
fn a_file_that_others_may_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts.toml");
    fs::write(&path, TWO).unwrap();
    for (mode, said) in [
        (0o600, None),
        (0o400, None),
        (0o640, None),
        (0o644, Some("others may read or write it")),
        (0o604, Some("others may read or write it")),
        (0o602, Some("others may read or write it")),
        (0o660, Some("its group may write it")),
    ] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        match (Accounts::load(&path, &key()), said) {
            (Ok(accounts), None) => assert_eq!(accounts.len(), 2),
            (Err(error), Some(said)) => assert!(error.to_string().contains(said), "{error}"),
            (result, _) => panic!("{mode:o}: {result:?}"),
        }
    }
}

#[test]
fn what_is_no_readable_file_is_refused_without_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
    for (path, said) in [
        (directory.path().join("missing"), "turnabout passwd"),
        (directory.path().to_owned(), "it is not a file"),
        (fifo, "it is not a file"),
    ] {
        let error = Accounts::load(&path, &key()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(error.place(), None);
    }
}

#[test]
fn a_file_that_is_not_utf_8_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts.toml");
    fs::write(&path, b"user = \"\xff\"").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    assert!(Accounts::load(&path, &key()).is_err());
}

#[test]
fn accounts_read_before_a_change_stay_as_they_were() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("accounts.toml");
    fs::write(&path, TWO).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let before = Accounts::load(&path, &key()).unwrap();
    fs::write(&path, "[[account]]\nuser = 7\n").unwrap();
    assert!(
        Accounts::load(&path, &key()).is_err(),
        "nothing of a file with one mistake is taken"
    );
    assert_eq!(before.len(), 2);
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_accounts_parser_panic(any: String, key in "[a-z_]{1,9}", value in "[\\[\\]{}\"a-z0-9:,.= /\n]{0,40}") {
        drop(parse(&any));
        drop(parse(&format!("[[account]]\n{key} = {value}")));
        drop(parse(&TWO.replacen("\"example.org\"", &value, 1)));
        drop(parse(&TWO.replacen("[127.77.0.1]:2525", &value, 1)));
        drop(parse(&TWO.replacen("192.0.2.0/24", &value, 1)));
    }
}
