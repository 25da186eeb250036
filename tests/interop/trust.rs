//! Through every hand-off the customer's mail server sees the provider at its own address and grants it nothing.
//!
//! The hosts have addresses of their own in networks of their own: nothing here is 127.0.0.1, which mail servers trust.

use std::time::Duration;

use crate::lab::{Host, Lab, Mta, Script};

const SOON: Duration = Duration::from_secs(30);

/// A provider that tries to relay, then delivers one message with a foreign sender and one with none.
fn tries_to_relay(customer: &Host, provider: &Host, address: &str) {
    let listener = provider.listen(&format!("{address}:366"));
    let mut fetch = customer.start_fetch();
    let mut script = Script::accept(&listener);
    script.turn();
    script.reply("220");
    script.command("EHLO provider.test", "250");
    script.command("MAIL FROM:<someone@elsewhere.example>", "250");
    let refusal = script.command("RCPT TO:<victim@elsewhere.example>", "5");
    assert!(refusal.to_lowercase().contains("relay"), "{refusal}");
    script.command("RCPT TO:<alice@example.org>", "250");
    script.command("DATA", "354");
    script.command("Subject: foreign\r\n\r\ntext\r\n.", "250");
    script.command("MAIL FROM:<>", "250");
    script.command("RCPT TO:<alice@example.org>", "250");
    script.command("DATA", "354");
    script.command("Subject: none\r\n\r\ntext\r\n.", "250");
    script.command("QUIT", "221");
    let status = fetch.wait(SOON);
    assert_eq!(status.code(), Some(0), "{}", fetch.log());

    let inbox = customer.wait_inbox("alice", 2, SOON);
    let with = |subject: &str| {
        let texts: Vec<_> = inbox
            .iter()
            .map(|message| String::from_utf8_lossy(message).into_owned())
            .collect();
        texts
            .into_iter()
            .find(|text| text.contains(&format!("Subject: {subject}\n")))
            .unwrap()
    };
    assert!(
        with("foreign")
            .to_lowercase()
            .contains("return-path: <someone@elsewhere.example>"),
        "{}",
        with("foreign")
    );
    assert!(
        with("none").to_lowercase().contains("return-path: <>"),
        "{}",
        with("none")
    );
    let log = customer.mail_log();
    let bare = address.trim_matches(['[', ']']);
    assert!(
        log.contains(&format!("[{bare}]")),
        "the provider's address is not in the log:\n{log}"
    );
    assert!(
        !log.contains("[127.0.0.1]") && !log.contains("[::1]"),
        "{log}"
    );
}

fn hosts(customer_mta: Mta) -> (Lab, Host, Host) {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Nothing);
    let customer = lab.customer(customer_mta);
    (lab, provider, customer)
}

/// Rules: C9
#[test]
fn postfix_pass_shows_the_providers_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Postfix);
    tries_to_relay(&customer, &provider, "10.99.0.1");
}

/// Rules: C9
#[test]
fn postfix_pass_shows_the_providers_ipv6_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Postfix);
    tries_to_relay(&customer, &provider, "[fd00:99::1]");
}

/// Rules: C9
#[test]
fn exec_of_exim_shows_the_providers_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Exim);
    tries_to_relay(&customer, &provider, "10.99.0.1");
}

/// Rules: C9
#[test]
fn exec_of_exim_shows_the_providers_ipv6_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Exim);
    tries_to_relay(&customer, &provider, "[fd00:99::1]");
}

/// Rules: C9
#[test]
fn exec_of_postfix_smtpd_shows_the_providers_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Postfix);
    customer.edit(
        "/etc/turnabout/turnabout.toml",
        "handoff = \"postfix-pass\"",
        "handoff = \"exec\"\ncommand = [\"/usr/lib/postfix/sbin/smtpd\", \"-S\"]\ncommand_user = \"postfix\"",
    );
    tries_to_relay(&customer, &provider, "10.99.0.1");
}
