//! Two hundred messages and one of fifty megabytes, from real mail server to real mail server.

use std::time::Duration;

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::{Hosts, closing_line};
use crate::lab::{Host, Mail, Mode, Mta, body_of_lines};
use crate::loss::{Middle, Scissors};

const LONG: Duration = Duration::from_secs(120);

fn many_messages_and_a_large_one() -> Vec<Mail> {
    let mail = |name: &str, lines| Mail::new(&["alice@example.org"], name, &body_of_lines(lines));
    let mut sent: Vec<Mail> = (0..200)
        .map(|number| mail(&format!("small-{number}"), number % 50))
        .collect();
    sent.push(mail("large", 50_000_000 / 74));
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
    provider.set("serve", &[("handoff_tls", "\"relay\"")]);
    customer.fetch_with_tls(&hosts.authority, mode);
    customer.set("providers.isp", &[("handoff_tls", "\"relay\"")]);
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
    for line in [line.as_str(), log.as_str()] {
        assert!(line.contains(&format!("tls=\"{tls}")), "{line}");
        assert!(
            line.contains("carried=\"relay\"") || line.contains("carried=relay"),
            "{line}"
        );
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
    quiet_logs(provider, "10.99.0.2", version);
    quiet_logs(customer, "10.99.0.1", version);
}

/// The mail server has seen the peer where it is, all in one session, and nothing that went wrong.
fn quiet_logs(host: &Host, peer: &str, version: &SupportedProtocolVersion) {
    let log = host.mail_log();
    let complaints = [
        "lost connection",
        "timeout",
        "TLS",
        "SSL",
        "Input/output",
        "refused",
        "deferred",
        "warning",
    ];
    for line in log.lines() {
        // Exim names the cipher that it has been told of.
        let line = line.split(" X=TLS").collect::<String>();
        assert!(
            !complaints.iter().any(|word| line.contains(word)),
            "{line}\nin {log}"
        );
    }
    // A customer behind somebody else is seen at that one's address.
    let peer = if host.number == 1 && *version == TLS12 {
        "10.99.0.1"
    } else {
        peer
    };
    assert!(log.contains(&format!("[{peer}]")), "no {peer} in {log}");
    if host.number == 2 {
        assert!(
            !log.contains("127.0.0.1]") && !log.contains("unknown["),
            "{log}"
        );
        match host.mta {
            Mta::Exim => {}
            _ => {
                assert_eq!(
                    log.matches("odmr/smtpd").count() > 0,
                    log.contains(" quit=1 "),
                    "{log}"
                );
                assert_eq!(log.matches("]: connect from ").count(), 1, "{log}");
            }
        }
    }
}

#[test]
fn mail_arrives_over_starttls_with_tls_1_3_from_postfix_to_postfix() {
    arrive(Mta::Postfix, Mta::Postfix, Mode::Starttls, &TLS13);
}

#[test]
fn mail_arrives_over_implicit_tls_1_2_from_postfix_to_postfix() {
    arrive(Mta::Postfix, Mta::Postfix, Mode::Implicit, &TLS12);
}

#[test]
fn mail_arrives_over_implicit_tls_1_3_from_exim_to_exim() {
    arrive(Mta::Exim, Mta::Exim, Mode::Implicit, &TLS13);
}

#[test]
fn mail_arrives_over_starttls_with_tls_1_2_from_exim_to_exim() {
    arrive(Mta::Exim, Mta::Exim, Mode::Starttls, &TLS12);
}

#[test]
fn mail_arrives_over_implicit_tls_1_3_from_postfix_to_exim() {
    arrive(Mta::Postfix, Mta::Exim, Mode::Implicit, &TLS13);
}

#[test]
fn mail_arrives_over_starttls_with_tls_1_2_from_postfix_to_exim() {
    arrive(Mta::Postfix, Mta::Exim, Mode::Starttls, &TLS12);
}

#[test]
fn mail_arrives_over_starttls_with_tls_1_3_from_exim_to_postfix() {
    arrive(Mta::Exim, Mta::Postfix, Mode::Starttls, &TLS13);
}

#[test]
fn mail_arrives_over_implicit_tls_1_2_from_exim_to_postfix() {
    arrive(Mta::Exim, Mta::Postfix, Mode::Implicit, &TLS12);
}
