//! The next Debian's Postfix: its connection cache has another form than this one's, its `pass` service the same.

use std::time::Duration;

use crate::lab::{Lab, Mail, Mta, body_of_lines};

const SOON: Duration = Duration::from_secs(30);

/// A message whose sender needs SMTPUTF8 asks for the connection under another name than the rest, and gives it back
/// under that name; then the rest misses it, and Postfix puts it off until it is flushed again in the same session.
#[test]
fn a_newer_postfix_delivers_ordinary_and_internationalised_mail_over_one_connection() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::NewerPostfix);
    let customer = lab.customer(Mta::Postfix);
    let version = provider.run("postconf", &["-h", "mail_version"]);
    assert!(version.starts_with("3.10."), "{version}");
    let internationalised =
        "printf 'Subject: utf8\\n\\nx\\n' | sendmail -f 'b\u{fc}b@provider.test' alice@example.org";
    let mut count = 0;
    for part in ["one", "two", "three", "four"] {
        let names = ["a", "b", "c"].map(|name| format!("{part}-{name}"));
        let mails = names.map(|name| Mail::new(&["alice@example.org"], &name, &body_of_lines(20)));
        provider.submit(&mails);
        provider.run("sh", &["-c", internationalised]);
        count += mails.len() + 1;
    }
    let _serve = provider.serve();
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    customer.wait_inbox("alice", count, SOON);
    provider.wait_empty_queue(SOON);
    let log = customer.mail_log();
    assert_eq!(log.matches(": connect from ").count(), 1, "{log}");
}

#[test]
fn a_newer_postfix_takes_a_passed_connection() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::NewerPostfix);
    let sent = [Mail::new(
        &["alice@example.org"],
        "passed",
        &body_of_lines(20),
    )];
    provider.submit(&sent);
    let _serve = provider.serve();
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    let inbox = customer.wait_inbox("alice", 1, SOON);
    Mail::assert_delivered(&sent, &inbox);
}
