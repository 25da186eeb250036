//! Queued mail travels from the provider's mail server to the customer's over the turned connection, byte for byte.

use std::time::Duration;

use crate::lab::{Host, Lab, Mail, Mta, body_of_lines};

const SOON: Duration = Duration::from_secs(30);

/// Messages that go wrong first when anything touches the bytes.
fn difficult_mail() -> Vec<Mail> {
    let every_octet: Vec<u8> = (1..=255).filter(|octet| !b"\r\n".contains(octet)).collect();
    let mut binary = Vec::new();
    for chunk in every_octet.chunks(16) {
        binary.extend_from_slice(chunk);
        binary.extend_from_slice(b" \r\n");
    }
    let mut longest = vec![b'x'; 998];
    longest.extend_from_slice(b"\r\n");
    let body = |name: &str, body: &[u8]| Mail::new(&["alice@example.org"], name, body);
    vec![
        body("every-octet", &binary),
        body("utf-8", "Grüße, žluťoučký kůň, 日本語\r\n".as_bytes()),
        body("dots", b".\r\n..\r\n...\r\n.x\r\n. \r\n.\r\n"),
        body("only-a-dot", b".\r\n"),
        body(
            "looks-like-smtp",
            b"QUIT\r\n.\r\nMAIL FROM:<x@example.net>\r\n250 ok\r\nFrom here on\r\n",
        ),
        body("no-body", b""),
        body("empty-lines", b"\r\n\r\n\r\nlast\r\n\r\n\r\n"),
        body("longest-line", &longest),
        body("spaces-at-the-end", b"text  \t \r\n \r\n"),
    ]
}

fn difficult_mail_arrives(provider_mta: Mta, customer_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let customer = lab.customer(customer_mta);
    let sent = difficult_mail();
    provider.submit(&sent);
    let _serve = provider.serve();
    fetch_all(&customer);
    let inbox = customer.wait_inbox("alice", sent.len(), SOON);
    Mail::assert_delivered(&sent, &inbox);
    provider.wait_empty_queue(SOON);
}

fn fetch_all(customer: &Host) {
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("turned"), "{log}");
}

#[test]
fn difficult_mail_arrives_byte_for_byte_from_postfix_to_postfix() {
    difficult_mail_arrives(Mta::Postfix, Mta::Postfix);
}

#[test]
fn difficult_mail_arrives_byte_for_byte_from_postfix_to_exim() {
    difficult_mail_arrives(Mta::Postfix, Mta::Exim);
}

#[test]
fn difficult_mail_arrives_byte_for_byte_from_exim_to_postfix() {
    difficult_mail_arrives(Mta::Exim, Mta::Postfix);
}

#[test]
fn difficult_mail_arrives_byte_for_byte_from_exim_to_exim() {
    difficult_mail_arrives(Mta::Exim, Mta::Exim);
}

fn fifty_megabytes_arrive(provider_mta: Mta, customer_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let customer = lab.customer(customer_mta);
    let sent = [Mail::new(
        &["alice@example.org"],
        "large",
        &body_of_lines(50_000_000 / 74),
    )];
    provider.submit(&sent);
    let _serve = provider.serve();
    fetch_all(&customer);
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", 1, SOON));
}

#[test]
fn fifty_megabytes_arrive_byte_for_byte_from_postfix_to_postfix() {
    fifty_megabytes_arrive(Mta::Postfix, Mta::Postfix);
}

#[test]
fn fifty_megabytes_arrive_byte_for_byte_from_exim_to_exim() {
    fifty_megabytes_arrive(Mta::Exim, Mta::Exim);
}

fn a_thousand_messages_arrive(provider_mta: Mta, customer_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let customer = lab.customer(customer_mta);
    let sent: Vec<Mail> = (0..1000)
        .map(|number| {
            Mail::new(
                &["alice@example.org"],
                &format!("small-{number}"),
                &body_of_lines(number % 50),
            )
        })
        .collect();
    provider.submit(&sent);
    let _serve = provider.serve();
    fetch_all(&customer);
    let inbox = customer.wait_inbox("alice", sent.len(), Duration::from_secs(60));
    Mail::assert_delivered(&sent, &inbox);
    provider.wait_empty_queue(SOON);
}

#[test]
fn a_thousand_messages_arrive_in_one_session_from_postfix_to_postfix() {
    a_thousand_messages_arrive(Mta::Postfix, Mta::Postfix);
}

#[test]
fn a_thousand_messages_arrive_in_one_session_from_exim_to_exim() {
    a_thousand_messages_arrive(Mta::Exim, Mta::Exim);
}
