//! Two hundred messages and one of fifty megabytes, from real mail server to real mail server.

use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::{Hosts, carried, closing_line};
use crate::lab::{Host, Mail, Mode, Mta, body_of_lines, is_about_the_clock, wait_for};
use crate::loss::{Middle, Scissors};

const LONG: Duration = Duration::from_secs(120);

fn many_messages_and_a_large_one() -> Vec<Mail> {
    messages_and_a_large_one(200, 50_000_000)
}

/// So many small messages, and one of so many octets.
pub fn messages_and_a_large_one(small: usize, octets: usize) -> Vec<Mail> {
    let mail = |name: &str, lines| Mail::new(&["alice@example.org"], name, &body_of_lines(lines));
    let mut sent: Vec<Mail> = (0..small)
        .map(|number| mail(&format!("small-{number}"), number % 50))
        .collect();
    sent.push(mail("large", octets / 74));
    sent
}

fn arrive(
    provider_mta: Mta,
    customer_mta: Mta,
    mode: Mode,
    version: &'static SupportedProtocolVersion,
) {
    let hosts = Hosts::new(provider_mta, customer_mta);
    let (provider, customer) = (&hosts.provider, &hosts.customer);
    customer.fetch_with_tls(&hosts.authority, mode);
    // Two of our own always agree on TLS 1.3; who speaks only TLS 1.2 stands between them, in the provider's host.
    let between = (*version == TLS12).then(|| {
        let pair = hosts.authority.issue(&["10.99.0.1"]);
        let settings = [
            ("host", "\"10.99.0.1\""),
            ("port", "3660"),
            ("mechanisms", "[\"PLAIN\"]"),
        ];
        customer.set("providers.isp", &settings);
        let provider_at = match mode {
            Mode::Starttls => "10.99.0.1:366",
            Mode::Implicit => "10.99.0.1:3661",
        };
        let middle = Middle::new(mode, version, &pair);
        Scissors::new(provider, "10.99.0.1:3660", provider_at, Some(middle))
    });
    let sent = many_messages_and_a_large_one();
    provider.submit(&sent);
    let serve = provider.serve();
    let connection = between.as_ref().map(|between| between.next(None));

    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", sent.len(), LONG));
    provider.wait_empty_queue(LONG);
    let line = closing_line(&serve, 0);
    let tls = if *version == TLS13 {
        "TLS1.3 "
    } else {
        "TLS1.2 "
    };
    let carried = carried(tls);
    for line in [line.as_str(), log.as_str()] {
        assert!(line.contains(&format!("tls=\"{tls}")), "{line}");
        assert!(line.contains(&format!("carried={carried} ")), "{line}");
    }
    if let Some(connection) = connection {
        connection.over(LONG);
        assert_eq!(
            connection.names().last().map(String::as_str),
            Some("reply quit")
        );
    }
    for log in [serve.log(), log] {
        assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    }
    // Who stands in the provider's host is seen there by both.
    assert_quiet(provider, if between.is_some() { 1 } else { 2 });
    assert_quiet(customer, 1);
    assert_one_session(customer);
}

/// Words that no log has when all is well.
const COMPLAINTS: [&str; 9] = [
    "lost connection",
    "timeout",
    "TLS",
    "SSL",
    "Input/output",
    "refused",
    "deferred",
    "warning",
    "127.0.0.1]:",
];

/// The mail server has seen the peer where it is, and nothing that went wrong.
pub fn assert_quiet(host: &Host, peer: u8) {
    let log = host.mail_log();
    for line in log.lines().filter(|line| !is_expected(line)) {
        // Exim names the cipher that it has been told of.
        let words = line.split(' ').filter(|word| !word.starts_with("X=TLS"));
        let line = words.collect::<Vec<_>>().join(" ");
        let complaint = COMPLAINTS.iter().find(|word| line.contains(*word));
        assert_eq!(complaint, None, "{line}\nin {log}");
    }
    // Exim does not say where the connection leads that it was given.
    if host.mta == Mta::Exim && host.number == 1 {
        return;
    }
    let addresses = [format!("[10.99.0.{peer}]"), format!("[fd00:99::{peer}]")];
    let seen = addresses.iter().any(|address| log.contains(address));
    assert!(seen, "none of {addresses:?} in {log}");
}

/// Mail that the test itself has put into the queue, and what the provider does with it while there is no connection:
/// Postfix puts it off, Exim tries it once in vain.
fn is_expected(line: &str) -> bool {
    let before = [
        "client.example.edu",
        "localhost[127.0.0.1]",
        "(deferred transport)",
    ];
    is_about_the_clock(line)
        || line.ends_with("Connection refused")
        || before.iter().any(|words| line.contains(words))
}

/// Postfix counts what it was told in a session: QUIT came, once, in the only one.
pub fn assert_one_session(customer: &Host) {
    if customer.mta == Mta::Exim {
        return;
    }
    // Postfix has another process write its log: the words may come after the end that they are about.
    let log = wait_for("end of the session in Postfix's log", LONG, || {
        let log = customer.mail_log();
        let mut lines = log.lines().filter(|line| line.contains("/odmr/smtpd"));
        let ended = lines.any(|line| line.contains("]: disconnect from "));
        ended.then_some(log)
    });
    let count = |words: &str| {
        let lines = log.lines().filter(|line| line.contains("/odmr/smtpd"));
        lines.filter(|line| line.contains(words)).count()
    };
    assert_eq!(
        (count("]: connect from "), count(" quit=1 ")),
        (1, 1),
        "{log}"
    );
}

/// Rules: B19, B52, B53, C7, C9
#[test]
fn mail_arrives_over_starttls_with_tls_1_3_from_postfix_to_postfix() {
    arrive(Mta::Postfix, Mta::Postfix, Mode::Starttls, &TLS13);
}

/// Rules: B19, B52, B53, C7, C9
#[test]
fn mail_arrives_over_implicit_tls_1_2_from_postfix_to_postfix() {
    arrive(Mta::Postfix, Mta::Postfix, Mode::Implicit, &TLS12);
}

/// Rules: B19, B52, B53, C7, C9
#[test]
fn mail_arrives_over_implicit_tls_1_3_from_exim_to_exim() {
    arrive(Mta::Exim, Mta::Exim, Mode::Implicit, &TLS13);
}

/// Rules: B19, B52, B53, C7, C9
#[test]
fn mail_arrives_over_starttls_with_tls_1_2_from_exim_to_exim() {
    arrive(Mta::Exim, Mta::Exim, Mode::Starttls, &TLS12);
}

/// Rules: B19, B52, B53, C7, C9
#[test]
fn mail_arrives_over_implicit_tls_1_3_from_postfix_to_exim() {
    arrive(Mta::Postfix, Mta::Exim, Mode::Implicit, &TLS13);
}

/// Rules: B19, B52, B53, C7, C9
#[test]
fn mail_arrives_over_starttls_with_tls_1_2_from_postfix_to_exim() {
    arrive(Mta::Postfix, Mta::Exim, Mode::Starttls, &TLS12);
}

/// Rules: B19, B52, B53, C7, C9
#[test]
fn mail_arrives_over_starttls_with_tls_1_3_from_exim_to_postfix() {
    arrive(Mta::Exim, Mta::Postfix, Mode::Starttls, &TLS13);
}

/// Rules: B19, B52, B53, C7, C9
#[test]
fn mail_arrives_over_implicit_tls_1_2_from_exim_to_postfix() {
    arrive(Mta::Exim, Mta::Postfix, Mode::Implicit, &TLS12);
}
