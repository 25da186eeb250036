//! The queue stays the mail server's: mail waits there, and what is refused comes back from there.

use std::time::Duration;

use crate::lab::{Lab, Mail, Mta, body_of_lines, wait_for};

const SOON: Duration = Duration::from_secs(30);

fn mail_waits_untouched(mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(mta);
    let sent: Vec<Mail> = (0..15)
        .map(|number| {
            Mail::new(
                &["alice@example.org"],
                &format!("waits-{number}"),
                &body_of_lines(1),
            )
        })
        .collect();
    provider.submit(&sent);
    // The mail server's own queue run, as it comes every few minutes.
    match mta {
        Mta::Postfix | Mta::NewerPostfix => provider.run("postqueue", &["-f"]),
        _ => provider.run("exim4", &["-q"]),
    };
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(provider.queue().len(), sent.len());
    assert_eq!(provider.inbox_count("bob"), 0, "nothing bounces");
    let log = provider.mail_log();
    assert!(!log.contains("bounced") && !log.contains(" ** "), "{log}");
}

/// Rules: R3
#[test]
fn mail_waits_in_postfix_until_its_customer_asks() {
    mail_waits_untouched(Mta::Postfix);
}

/// Rules: R3
#[test]
fn mail_waits_in_exim_until_its_customer_asks() {
    mail_waits_untouched(Mta::Exim);
}

fn an_empty_queue_is_success(mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(mta);
    let customer = lab.customer(mta);
    let other = lab.second_customer(mta);
    // Mail, but for somebody else.
    provider.submit(&[Mail::new(&["bob@example.net"], "bobs", &body_of_lines(1))]);
    let _serve = provider.serve();
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("no mail"), "{log}");
    let before = customer.mail_log();
    assert!(
        !before.contains("connect from provider") && !before.contains("[10.99.0.1]"),
        "{before}"
    );
    drop(other);
}

/// Rules: R19
#[test]
fn a_fetch_of_nothing_from_postfix_is_success_and_does_not_touch_the_mail_server() {
    an_empty_queue_is_success(Mta::Postfix);
}

/// Rules: R19
#[test]
fn a_fetch_of_nothing_from_exim_is_success_and_does_not_touch_the_mail_server() {
    an_empty_queue_is_success(Mta::Exim);
}

fn a_refused_message_comes_back(provider_mta: Mta, customer_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let customer = lab.customer(customer_mta);
    let mut refused = Mail::new(&["nobody-there@example.org"], "refused", &body_of_lines(1));
    refused.from = "bob@provider.test".to_owned();
    let good = Mail::new(&["alice@example.org"], "good", &body_of_lines(1));
    provider.submit(&[refused.clone(), good.clone()]);
    let _serve = provider.serve();
    // Exim ends the session after a message without any accepted recipient; the next one goes on behind it.
    for _session in 0..2 {
        let (code, log) = customer.fetch();
        assert_eq!(code, 0, "{log}");
    }
    Mail::assert_delivered(&[good], &customer.wait_inbox("alice", 1, SOON));
    let notices = provider.wait_inbox("bob", 1, SOON);
    let notice = String::from_utf8_lossy(&notices[0]).into_owned();
    assert!(
        notice.contains("nobody-there@example.org") && notice.contains("550"),
        "{notice}"
    );
    wait_for("empty queue", SOON, || {
        provider.queue().is_empty().then_some(())
    });
}

/// Rules: R4
#[test]
fn a_recipient_that_the_customer_refuses_is_reported_to_the_sender_by_postfix() {
    a_refused_message_comes_back(Mta::Postfix, Mta::Postfix);
}

/// Rules: R4
#[test]
fn a_recipient_that_the_customer_refuses_is_reported_to_the_sender_by_exim() {
    a_refused_message_comes_back(Mta::Exim, Mta::Exim);
}

/// Rules: R18
#[test]
fn a_request_for_somebody_elses_domain_is_refused_and_moves_no_mail() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Postfix);
    provider.submit(&[
        Mail::new(&["alice@example.org"], "alices", &body_of_lines(1)),
        Mail::new(&["bob@example.net"], "bobs", &body_of_lines(1)),
    ]);
    let _serve = provider.serve();
    customer.edit(
        "/etc/turnabout/turnabout.toml",
        "user = \"alice\"\n",
        "user = \"alice\"\ndomains = [\"example.org\", \"example.net\"]\n",
    );
    let (code, log) = customer.fetch();
    assert_eq!(code, 75, "{log}");
    assert!(log.contains("450"), "{log}");
    assert_eq!(provider.queue().len(), 2);
}
