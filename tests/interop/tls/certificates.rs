//! Which certificates a customer believes, and what somebody in the middle can do with a good one.

use std::time::Duration;

use rustls::version::TLS13;

use super::{Hosts, SOON, three_messages};
use crate::lab::{Mail, Mode, Mta, Pair};
use crate::loss::{Middle, Scissors};

/// Rules: B49, B57, C16
#[test]
fn a_provider_with_a_wrong_certificate_gets_no_password_and_loses_no_mail() {
    let hosts = Hosts::new(Mta::Postfix, Mta::Postfix);
    let (provider, customer) = (&hosts.provider, &hosts.customer);
    let sent = three_messages("certificates");
    provider.submit(&sent);
    let names = ["provider.test"];
    let wrong = [
        ("wrong name", hosts.authority.issue(&["other.test"])),
        ("expired", hosts.authority.expired(&names)),
        ("self-signed", Pair::self_signed(&names)),
    ];
    let mut serve = provider.serve();
    for (number, (kind, pair)) in wrong.iter().enumerate() {
        provider.install(pair);
        serve.signal(nix::sys::signal::Signal::SIGHUP);
        crate::lab::wait_for("new certificate", SOON, || {
            (serve.log().matches("reloaded").count() > number).then_some(())
        });
        for mode in [Mode::Starttls, Mode::Implicit] {
            customer.fetch_with_tls(&hosts.authority, mode);
            let (code, log) = customer.fetch();
            assert_eq!(code, 77, "{kind}: {log}");
            assert!(log.contains(&pair.fingerprint()), "{kind}: {log}");
        }
    }
    assert!(!serve.log().contains("logged in"), "{}", serve.log());
    assert_eq!(provider.queue().len(), sent.len());

    // The last one is good enough for who knows it by its fingerprint.
    let fingerprint = format!("[\"{}\"]", wrong[2].1.fingerprint());
    customer.unset("ca_file");
    customer.set("providers.isp", &[("fingerprint", &fingerprint)]);
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", sent.len(), SOON));
}

/// Who stands in the middle with a certificate that the customer believes can read along, but cannot pass on a login
/// that is bound to the connection.
///
/// Rules: B71, B72
#[test]
fn a_login_bound_to_the_connection_finds_out_who_stands_in_the_middle() {
    let hosts = Hosts::new(Mta::Postfix, Mta::Postfix);
    let (provider, customer) = (&hosts.provider, &hosts.customer);
    let sent = three_messages("middle");
    provider.submit(&sent);
    customer.fetch_with_tls(&hosts.authority, Mode::Implicit);
    customer.set("providers.isp", &[("mechanisms", "[\"SCRAM-SHA-256\"]")]);
    let serve = provider.serve();

    let middle = Middle::new(
        Mode::Implicit,
        &TLS13,
        &hosts.authority.issue(&["10.99.0.2"]),
    );
    let scissors = Scissors::new(customer, "10.99.0.2:3660", "10.99.0.1:3661", Some(middle));
    let _looking = scissors.next(None);
    let direct = [("host", "\"provider.test\""), ("port", "3661")];
    customer.set(
        "providers.isp",
        &[("host", "\"10.99.0.2\""), ("port", "3660")],
    );
    let (code, log) = customer.fetch();
    assert_eq!(code, 77, "{log}");
    assert!(!serve.log().contains("logged in"), "{}", serve.log());
    assert_eq!(provider.queue().len(), sent.len());

    customer.set("providers.isp", &direct);
    // The provider makes whoever failed wait before it says so, not before the next try.
    std::thread::sleep(Duration::from_millis(100));
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("SCRAM-SHA-256-PLUS"), "{log}");
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", sent.len(), SOON));
}
