//! Two hundred messages and one of fifty megabytes: the mail servers hold the connection, the kernel encrypts.

use std::time::Duration;

use super::{Capture, Statistics};
use crate::lab::{Mail, Mode, Mta};
use crate::tls::delivery::{assert_one_session, assert_quiet, messages_and_a_large_one};
use crate::tls::{Hosts, closing_line};

const LONG: Duration = Duration::from_secs(120);

/// Exim starts a process for every message, which an emulated machine takes a second for: a tenth is enough there,
/// unless `TURNABOUT_GUEST_FULL` asks for all.
fn batch(provider_mta: Mta, customer_mta: Mta) -> Vec<Mail> {
    let all = std::env::var_os("TURNABOUT_GUEST_FULL").is_some();
    if all || (provider_mta, customer_mta) == (Mta::Postfix, Mta::Postfix) {
        messages_and_a_large_one(200, 50_000_000)
    } else {
        messages_and_a_large_one(20, 5_000_000)
    }
}

fn arrive(provider_mta: Mta, customer_mta: Mta, mode: Mode) {
    let hosts = Hosts::new(provider_mta, customer_mta);
    let (provider, customer) = (&hosts.provider, &hosts.customer);
    customer.fetch_with_tls(&hosts.authority, mode);
    let serve = provider.serve();
    // A fetch without mail: the kernel is probed, nothing is handed over.
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    let [before, probed] = [provider, customer].map(Statistics::of);
    let capture = Capture::start(provider);
    let sent = batch(provider_mta, customer_mta);
    provider.submit(&sent);

    let (code, log) = customer.fetch();
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", sent.len(), LONG));
    provider.wait_empty_queue(LONG);
    for line in [closing_line(&serve, 1), log.clone()] {
        assert!(line.contains("tls=\"TLS1.3 "), "{line}");
        assert!(line.contains("carried=kernel "), "{line}");
    }
    // Exim's QUIT does not survive the kernel's TLS, and its last words are not heard: handoff_tls = "auto" does not
    // give it such a connection for that reason.
    if provider_mta == Mta::Postfix {
        assert_eq!(code, 0, "{log}");
        for log in [serve.log(), log] {
            assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
        }
        assert_quiet(provider, 2);
        assert_quiet(customer, 1);
        assert_one_session(customer);
    }

    let octets = sent.iter().map(|mail| mail.bytes.len() as u64).sum();
    let in_the_clear = match mode {
        Mode::Starttls => "STARTTLS",
        // The name that the customer asks for.
        Mode::Implicit => "provider.test",
    };
    capture.assert_secret(octets, in_the_clear);
    let [serves, fetches] = [provider, customer].map(Statistics::of);
    let one_more = |sessions: [u64; 2]| sessions.map(|count| count + 1);
    assert_eq!(serves.sessions(), one_more(before.sessions()));
    // Each fetch has probed.
    let twice = probed.sessions().map(|count| count * 2);
    assert_eq!(fetches.sessions(), one_more(twice));
    for statistics in [serves, fetches] {
        statistics.assert_no_error();
    }
}

#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn mail_arrives_over_starttls_from_postfix_to_postfix() {
    arrive(Mta::Postfix, Mta::Postfix, Mode::Starttls);
}

#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn mail_arrives_over_implicit_tls_from_postfix_to_exim() {
    arrive(Mta::Postfix, Mta::Exim, Mode::Implicit);
}

#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn mail_arrives_over_starttls_from_exim_to_exim() {
    arrive(Mta::Exim, Mta::Exim, Mode::Starttls);
}

#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn mail_arrives_over_implicit_tls_from_exim_to_postfix() {
    arrive(Mta::Exim, Mta::Postfix, Mode::Implicit);
}
