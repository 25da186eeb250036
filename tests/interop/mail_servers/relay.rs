//! `handoff = "relay"` with real mail servers that are told the provider's address by a PROXY header.

use std::fs;
use std::time::Duration;

use crate::lab::{Authority, Host, Lab, Mail, Mode, Mta, Script, body_of_lines, wait_for};

pub const SOON: Duration = Duration::from_secs(60);

/// Three messages: dots, every octet that mail may have, and many lines.
pub fn mail() -> Vec<Mail> {
    let every_octet: Vec<u8> = (1..=255).filter(|octet| !b"\r\n".contains(octet)).collect();
    let mut binary = Vec::new();
    for chunk in every_octet.chunks(16) {
        binary.extend_from_slice(chunk);
        binary.extend_from_slice(b" \r\n");
    }
    let mail = |name: &str, body: &[u8]| Mail::new(&["alice@example.org"], name, body);
    vec![
        mail("dots", b".\r\n..\r\n...\r\n.x\r\n. \r\n.\r\n"),
        mail("every-octet", &binary),
        mail("large", &body_of_lines(100_000)),
    ]
}

/// A Postfix with the port for PROXY that operators are told to add, and turnabout that relays to it.
fn postfix_behind_proxy(lab: &mut Lab, version: &str) -> Host {
    let host = lab.customer(Mta::Postfix);
    let lines = include_str!("../../../contrib/postfix/customer-proxy-master.cf");
    let master = host.read("/etc/postfix/master.cf");
    fs::write(host.path("/etc/postfix/master.cf"), master + lines).unwrap();
    host.postconf(&["maximal_idle=50s"]);
    host.wait_listening(24, SOON);
    let file = "/etc/turnabout/turnabout.toml";
    let relay = format!("\"relay\"\nrelay_to = \"127.0.0.1:24\"\nproxy = \"{version}\"");
    host.edit(file, "\"postfix-pass\"", &relay);
    host
}

fn opensmtpd(lab: &mut Lab) -> Host {
    lab.customer(Mta::OpenSmtpd)
}

fn arrives(provider_mta: Mta, customer: impl FnOnce(&mut Lab) -> Host, tls: bool) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let customer = customer(&mut lab);
    let authority = Authority::new();
    if tls {
        provider.serve_with_tls(&authority);
        customer.fetch_with_tls(&authority, Mode::Starttls);
    }
    let sent = mail();
    provider.submit(&sent);
    let _serve = provider.serve();
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("carried=relay"), "{log}");
    assert!(!log.contains("WARN") && !log.contains("ERROR"), "{log}");
    let inbox = customer.wait_inbox("alice", sent.len(), SOON);
    Mail::assert_delivered(&sent, &inbox);
    provider.wait_empty_queue(SOON);
    // The provider's own address, by whichever family it was reached.
    let seen = customer.mail_log();
    assert!(
        seen.contains("10.99.0.1") || seen.contains("fd00:99::1"),
        "{seen}"
    );
}

/// Rules: C7, C9
#[test]
fn mail_is_relayed_byte_for_byte_from_postfix_to_opensmtpd() {
    arrives(Mta::Postfix, opensmtpd, false);
}

/// Rules: C7, C9
#[test]
fn mail_is_relayed_byte_for_byte_from_exim_under_tls_to_opensmtpd() {
    arrives(Mta::Exim, opensmtpd, true);
}

/// Rules: C7, C9
#[test]
fn mail_is_relayed_byte_for_byte_from_exim_to_postfix_behind_proxy_v1() {
    arrives(Mta::Exim, |lab| postfix_behind_proxy(lab, "v1"), false);
}

/// Rules: C7, C9
#[test]
fn mail_is_relayed_byte_for_byte_from_postfix_under_tls_to_postfix_behind_proxy_v2() {
    arrives(Mta::Postfix, |lab| postfix_behind_proxy(lab, "v2"), true);
}

/// A provider that wants to send anywhere is refused, although it comes from this machine.
pub fn relays_nothing(customer: impl FnOnce(&mut Lab) -> Host) {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Nothing);
    let customer = customer(&mut lab);
    let listener = provider.listen("10.99.0.1:366");
    customer.set("providers.isp", &[("host", "\"10.99.0.1\"")]);
    let mut fetch = customer.start_fetch();
    let mut script = Script::accept(&listener);
    script.greet();
    script.turn();
    script.reply("220");
    script.command("EHLO provider.test", "250");
    script.command("MAIL FROM:<someone@example.edu>", "250");
    script.command("RCPT TO:<alice@example.org>", "250");
    script.command("RCPT TO:<someone@elsewhere.example>", "5");
    script.command("QUIT", "221");
    drop(script);
    // Sendmail ends with the code of what it refused.
    assert!(fetch.wait(SOON).success(), "{}", fetch.log());
    assert!(fetch.log().contains("session ended"), "{}", fetch.log());
}

/// Rules: C9
#[test]
fn opensmtpd_behind_a_header_relays_nothing_for_the_provider() {
    relays_nothing(opensmtpd);
}

/// Rules: C9
#[test]
fn postfix_behind_a_header_relays_nothing_for_the_provider() {
    relays_nothing(|lab| postfix_behind_proxy(lab, "v2"));
}

/// Rules: C9
#[test]
fn the_ordinary_port_of_a_mail_server_is_refused_before_atrn() {
    for start in [opensmtpd, |lab: &mut Lab| postfix_behind_proxy(lab, "v1")] {
        let mut lab = Lab::new();
        let provider = lab.provider(Mta::Postfix);
        let customer = start(&mut lab);
        customer.set("providers.isp", &[("relay_to", "\"127.0.0.1:25\"")]);
        let sent = [Mail::new(&["alice@example.org"], "kept", &body_of_lines(3))];
        provider.submit(&sent);
        let _serve = provider.serve();
        let (code, log) = customer.fetch();
        assert_eq!(code, 75, "{log}");
        assert!(log.contains("it greets without a PROXY header"), "{log}");
        assert_eq!(provider.queue().len(), 1);
        assert_eq!(customer.inbox_count("alice"), 0);
    }
}

/// Rules: C7
#[test]
fn nothing_is_lost_when_turnabout_is_killed_while_it_relays() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = opensmtpd(&mut lab);
    let small = |number| {
        Mail::new(
            &["alice@example.org"],
            &format!("small-{number}"),
            &body_of_lines(20),
        )
    };
    let mut sent: Vec<Mail> = (0..100).map(small).collect();
    sent.push(Mail::new(
        &["alice@example.org"],
        "large",
        &body_of_lines(300_000),
    ));
    provider.submit(&sent);
    let _serve = provider.serve();
    let mut fetch = customer.start_fetch();
    wait_for("first messages", SOON, || {
        (customer.inbox_count("alice") > 0).then_some(())
    });
    fetch.kill();
    let taken = customer.inbox_count("alice");
    assert!(!provider.queue().is_empty(), "{taken} had come already");
    // The provider finds out that the connection is gone, and then the customer may come again.
    wait_for("all messages", SOON * 2, || {
        customer.fetch();
        provider.queue().is_empty().then_some(())
    });
    let mut names = Vec::new();
    wait_for("all messages in the mailbox", SOON, || {
        let inbox = customer.inbox("alice");
        names = sent
            .iter()
            .filter(|mail| inbox.iter().any(|file| mail.is_delivered_as(file)))
            .map(Mail::name)
            .collect();
        (names.len() == sent.len()).then_some(())
    });
}
