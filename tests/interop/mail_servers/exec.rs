//! `handoff = "exec"` with Sendmail.

use super::relay::{SOON, mail, relays_nothing};
use crate::lab::{Authority, Lab, Mail, Mode, Mta, body_of_lines};

/// Rules: C9
#[test]
fn mail_arrives_byte_for_byte_at_sendmail_which_sees_the_provider() {
    for provider_mta in [Mta::Postfix, Mta::Exim] {
        let mut lab = Lab::new();
        let provider = lab.provider(provider_mta);
        let customer = lab.customer(Mta::Sendmail);
        let sent = mail();
        provider.submit(&sent);
        let _serve = provider.serve();
        let (code, log) = customer.fetch();
        assert_eq!(code, 0, "{log}");
        let inbox = customer.wait_inbox("alice", sent.len(), SOON);
        Mail::assert_delivered(&sent, &inbox);
        provider.wait_empty_queue(SOON);
        for file in inbox {
            // Sendmail's own line, the first: from whom it has it.
            let text = String::from_utf8_lossy(&file).into_owned();
            let received = text.split("Received: ").nth(1).unwrap_or(&text);
            let line = received.split(" by ").next().unwrap_or_default();
            let seen = line.contains("[10.99.0.1]") || line.contains("fd00:99:");
            assert!(seen, "{line:?}");
        }
    }
}

/// Rules: C9
#[test]
fn sendmail_relays_nothing_for_the_provider() {
    relays_nothing(|lab| lab.customer(Mta::Sendmail));
}

/// A pair of sockets has no address, and Sendmail asks for one.
/// Rules: C9
#[test]
fn sendmail_is_not_given_a_connection_that_a_relay_carries() {
    let mut lab = Lab::new();
    let authority = Authority::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Sendmail);
    provider.serve_with_tls(&authority);
    customer.fetch_with_tls(&authority, Mode::Starttls);
    customer.set("providers.isp", &[("handoff_tls", "\"relay\"")]);
    provider.submit(&[Mail::new(&["alice@example.org"], "kept", &body_of_lines(3))]);
    let _serve = provider.serve();
    let (code, log) = customer.fetch();
    assert_eq!(code, 75, "{log}");
    assert!(log.contains("through a relay"), "{log}");
    assert_eq!(provider.queue().len(), 1);
}
