//! `handoff = "exec"` with Sendmail and Courier.

use super::relay::{SOON, mail, relays_nothing};
use crate::lab::{Authority, Host, Lab, Mail, Mode, Mta, Script, body_of_lines};

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

/// A session in which everything is refused and nothing is wrong: the next run need not tell anybody.
#[test]
fn what_sendmail_refuses_is_a_warning_and_no_failed_fetch() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Nothing);
    let customer = lab.customer(Mta::Sendmail);
    let listener = provider.listen("10.99.0.1:366");
    customer.set("providers.isp", &[("host", "\"10.99.0.1\"")]);
    let mut fetch = customer.start_fetch();
    let mut script = Script::accept(&listener);
    script.greet();
    script.turn();
    script.reply("220");
    script.command("EHLO provider.test", "250");
    // An address of a wrong form, with whose code a wrong option ends as well.
    script.command("MAIL FROM:<a@>", "553");
    script.command("QUIT", "221");
    drop(script);
    let status = fetch.wait(SOON);
    let log = fetch.log();
    assert!(status.success(), "{log}");
    assert!(log.contains("ended with exit code 64"), "{log}");
    assert!(log.contains("the session was held"), "{log}");
    // The same code of a Sendmail that does not begin.
    let command = "[\"/usr/libexec/sendmail/sendmail\", \"-bs\", \"-bwrong\"]";
    customer.set("providers.isp", &[("command", command)]);
    let mut fetch = customer.start_fetch();
    let mut script = Script::accept(&listener);
    script.greet();
    script.turn();
    drop(script);
    assert_eq!(fetch.wait(SOON).code(), Some(75), "{}", fetch.log());
}

fn courier(lab: &mut Lab) -> Host {
    lab.customer(Mta::Courier)
}

fn arrives_at_courier(provider_mta: Mta, tls: bool) {
    let mut lab = Lab::new();
    let provider = lab.provider(provider_mta);
    let customer = courier(&mut lab);
    let authority = Authority::new();
    if tls {
        provider.serve_with_tls(&authority);
        customer.fetch_with_tls(&authority, Mode::Starttls);
        // A pair of sockets, which has no address: the environment is all there is.
        customer.set("providers.isp", &[("handoff_tls", "\"relay\"")]);
    }
    let sent = mail();
    provider.submit(&sent);
    let _serve = provider.serve();
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert!(!log.contains("STARTTLS"), "{log}");
    let inbox = customer.wait_inbox("alice", sent.len(), SOON);
    Mail::assert_delivered(&sent, &inbox);
    provider.wait_empty_queue(SOON);
    for file in inbox {
        let text = String::from_utf8_lossy(&file).into_owned();
        let received = text.split("Received: ").nth(1).unwrap_or(&text);
        let line = received.split(" by ").next().unwrap_or_default();
        let seen = line.contains("[10.99.0.1]") || line.contains("fd00:99:");
        assert!(seen, "{line:?}");
    }
}

/// Rules: C9
#[test]
fn mail_arrives_byte_for_byte_at_courier_which_sees_the_provider() {
    arrives_at_courier(Mta::Postfix, false);
}

/// Rules: C9, B46
#[test]
fn mail_arrives_byte_for_byte_under_tls_at_courier_behind_a_relay() {
    arrives_at_courier(Mta::Exim, true);
}

/// Rules: C9
#[test]
fn courier_relays_nothing_for_the_provider_although_its_settings_would() {
    relays_nothing(|lab| {
        let customer = courier(lab);
        // TARPIT delays the reply behind a refusal by many seconds.
        customer.edit(
            "/etc/courier/esmtpd",
            "\nTARPIT=1\n",
            "\nTARPIT=0\nRELAYCLIENT=\n",
        );
        customer
    });
}
