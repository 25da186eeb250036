//! Every customer gets its own mail, all of it, and nobody else's.

use std::time::Duration;

use crate::lab::{Host, Lab, Mail, Mta, body_of_lines};

const SOON: Duration = Duration::from_secs(60);

fn one_message_for_both_customers(provider_mta: Mta, customer_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let alices = lab.customer(customer_mta);
    let bobs = lab.second_customer(customer_mta);
    let sent = [Mail::new(
        &["alice@example.org", "bob@example.net"],
        "for-both",
        &body_of_lines(3),
    )];
    provider.submit(&sent);
    let _serve = provider.serve();

    assert_turned(alices.fetch());
    Mail::assert_delivered(&sent, &alices.wait_inbox("alice", 1, SOON));
    let left: Vec<_> = provider.queue().into_values().collect();
    assert_eq!(
        left,
        [vec!["bob@example.net".to_owned()]],
        "what is left for the other customer"
    );
    assert_eq!(alices.inbox_count("bob"), 0);

    assert_turned(bobs.fetch());
    Mail::assert_delivered(&sent, &bobs.wait_inbox("bob", 1, SOON));
    provider.wait_empty_queue(SOON);
    assert_eq!(alices.inbox_count("alice"), 1);
}

fn assert_turned((code, log): (i32, String)) {
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("turned"), "{log}");
}

/// Rules: R18, C10
#[test]
fn postfix_sends_a_message_for_two_customers_to_each_with_its_own_recipient_only() {
    one_message_for_both_customers(Mta::Postfix, Mta::Postfix);
}

/// Rules: R18, C10
#[test]
fn exim_sends_a_message_for_two_customers_to_each_with_its_own_recipient_only() {
    one_message_for_both_customers(Mta::Exim, Mta::Exim);
}

fn two_customers_at_once(provider_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let alices = lab.customer(Mta::Postfix);
    let bobs = lab.second_customer(Mta::Postfix);
    let mails = |to: &str, name: &str| -> Vec<Mail> {
        (0..60)
            .map(|number| Mail::new(&[to], &format!("{name}-{number}"), &body_of_lines(20)))
            .collect()
    };
    let (for_alice, for_bob) = (
        mails("alice@example.org", "alices"),
        mails("bob@example.net", "bobs"),
    );
    // Mixed as they would come in.
    let both: Vec<Mail> = for_alice
        .iter()
        .zip(&for_bob)
        .flat_map(|(one, other)| [one.clone(), other.clone()])
        .collect();
    provider.submit(&both);
    let _serve = provider.serve();

    let fetch = |host: &Host| {
        let mut fetch = host.start_fetch();
        let status = fetch.wait(SOON);
        assert!(status.success(), "{}", fetch.log());
    };
    std::thread::scope(|scope| {
        scope.spawn(|| fetch(&alices));
        scope.spawn(|| fetch(&bobs));
    });
    Mail::assert_delivered(
        &for_alice,
        &alices.wait_inbox("alice", for_alice.len(), SOON),
    );
    Mail::assert_delivered(&for_bob, &bobs.wait_inbox("bob", for_bob.len(), SOON));
    provider.wait_empty_queue(SOON);
}

/// Rules: C10
#[test]
fn two_customers_of_postfix_at_once_each_get_their_own_mail() {
    two_customers_at_once(Mta::Postfix);
}

/// Rules: C10
#[test]
fn two_customers_of_exim_at_once_each_get_their_own_mail() {
    two_customers_at_once(Mta::Exim);
}
