//! Through every hand-off the customer's mail server sees the provider at its own address and grants it nothing.
//!
//! The hosts have addresses of their own in networks of their own: nothing here is 127.0.0.1, which mail servers trust.

use std::net::TcpListener;
use std::time::Duration;

use crate::lab::{
    Authority, Host, IMPLICIT_PORT, Lab, Mode, Mta, Running, Script, accept, server_config,
    wait_for,
};

const SOON: Duration = Duration::from_secs(30);

/// A provider that tries to relay, then delivers one message with a foreign sender and one with none.
fn tries_to_relay(customer: &Host, provider: &Host, address: &str) {
    let listener = provider.listen(&format!("{address}:366"));
    let fetch = customer.start_fetch();
    let mut script = Script::accept(&listener);
    script.greet();
    refused(customer, address, script, fetch);
}

/// The same over TLS, whose octets turnabout carries itself: no mail server has the connection.
fn tries_to_relay_over_tls(customer: &Host, provider: &Host, address: &str, mode: Mode) {
    tries_to_relay_carried_by("relay", customer, provider, address, mode);
}

/// The same over TLS that is carried in this way.
pub fn tries_to_relay_carried_by(
    carrier: &str,
    customer: &Host,
    provider: &Host,
    address: &str,
    mode: Mode,
) {
    let authority = Authority::new();
    customer.fetch_with_tls(&authority, mode);
    let quoted = format!("\"{carrier}\"");
    customer.set("providers.isp", &[("handoff_tls", &quoted)]);
    let listener = provider.listen(&format!("{address}:{}", mode.port()));
    let fetch = customer.start_fetch();
    let config = server_config(&authority.issue(&["provider.test"]), rustls::ALL_VERSIONS);
    let script = Script::accept_with_tls(&listener, mode, config);
    refused(customer, address, script, fetch);
    let log = customer.read("fetch.log");
    assert!(log.contains(&format!("carried={carrier} ")), "{log}");
}

fn refused(customer: &Host, address: &str, mut script: Script, mut fetch: Running) {
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

pub fn hosts(customer_mta: Mta) -> (Lab, Host, Host) {
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

/// Rules: C9
#[test]
fn postfix_pass_under_a_relay_shows_the_providers_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Postfix);
    tries_to_relay_over_tls(&customer, &provider, "10.99.0.1", Mode::Starttls);
}

/// Rules: C9
#[test]
fn postfix_pass_under_a_relay_shows_the_providers_ipv6_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Postfix);
    tries_to_relay_over_tls(&customer, &provider, "[fd00:99::1]", Mode::Implicit);
}

/// Rules: C9
#[test]
fn exec_of_exim_under_a_relay_shows_the_providers_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Exim);
    tries_to_relay_over_tls(&customer, &provider, "10.99.0.1", Mode::Starttls);
}

/// Rules: C9
#[test]
fn exec_of_exim_under_a_relay_shows_the_providers_ipv6_address_and_refuses_to_relay() {
    let (_lab, provider, customer) = hosts(Mta::Exim);
    tries_to_relay_over_tls(&customer, &provider, "[fd00:99::1]", Mode::Implicit);
}

/// On a socketpair it would take everybody for a local user, who may relay: it is not started, nor is ATRN said.
///
/// Rules: C9
#[test]
fn exec_of_postfix_smtpd_is_refused_where_only_a_relay_is_possible() {
    let (_lab, provider, customer) = hosts(Mta::Postfix);
    customer.edit(
        "/etc/turnabout/turnabout.toml",
        "handoff = \"postfix-pass\"",
        "handoff = \"exec\"\ncommand = [\"/usr/lib/postfix/sbin/smtpd\", \"-S\"]\ncommand_user = \"postfix\"",
    );
    let authority = Authority::new();
    customer.fetch_with_tls(&authority, Mode::Implicit);
    customer.set("providers.isp", &[("handoff_tls", "\"relay\"")]);
    let listener = provider.listen(&format!("10.99.0.1:{IMPLICIT_PORT}"));
    let mut fetch = customer.start_fetch();
    // It may notice before it dials, or when it readies the mail server; not later.
    let said = provider.inside(|| until_gone(&listener, &authority, &mut fetch));
    assert!(!said.contains("ATRN"), "{said}");
    let status = fetch.wait(SOON);
    assert!(
        matches!(status.code(), Some(75 | 78)),
        "{status}: {}",
        fetch.log()
    );
    assert!(!customer.mail_log().contains("connect from"));
}

/// What a customer says that logs in, until it goes away; nothing if it does not even come.
fn until_gone(listener: &TcpListener, authority: &Authority, fetch: &mut Running) -> String {
    listener.set_nonblocking(true).unwrap();
    let come = wait_for("a customer, or its end", SOON, || {
        let ended = fetch.ended().is_some();
        listener.accept().ok().map(Some).or(ended.then_some(None))
    });
    let Some((stream, _peer)) = come else {
        return String::new();
    };
    stream.set_nonblocking(false).unwrap();
    let config = server_config(&authority.issue(&["provider.test"]), rustls::ALL_VERSIONS);
    let mut script = Script::over(accept(stream, config).unwrap());
    script.greet();
    let mut said = String::new();
    while let Some(line) = script.octets() {
        let line = String::from_utf8_lossy(&line).into_owned();
        match line.get(..4) {
            Some("EHLO") => script.say("250-provider.test\r\n250-AUTH PLAIN\r\n250 ATRN"),
            Some("AUTH") => script.say("235 welcome"),
            _ => script.say("221 bye"),
        }
        said += &line;
    }
    said
}
