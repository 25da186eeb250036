//! Programs of other TLS libraries as providers of our customer.

use std::thread::sleep;
use std::time::Duration;

use super::openssl::{s_server, stunnel};
use super::{
    Hosts, SOON, assert_carried, carried, carry_as_wanted, closing_line, handoff_tls,
    three_messages,
};
use crate::lab::{Authority, CERTIFICATE, KEY, Lab, Mail, Mode, Mta, Script};
use crate::others::{assert_inetsims_message, receive_for_bar, start_inetsim};

/// The certificate that comes with INetSim: for another name, signed by itself.
const INETSIMS: &str = "/usr/share/inetsim/data/certs/default_cert.pem";

fn our_customer_fetches_from_inetsim(customer_mta: Mta) {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Nothing);
    let customer = lab.customer(customer_mta);
    let _inetsim = start_inetsim(&provider, "smtp_service_extension STARTTLS\n");
    receive_for_bar(&customer);
    customer.set("providers.isp", &[("tls", "\"starttls\"")]);
    carry_as_wanted(&customer);
    let (code, log) = customer.fetch();
    assert_eq!(code, 77, "{log}");
    let openssl = provider.run(
        "openssl",
        &["x509", "-in", INETSIMS, "-noout", "-fingerprint", "-sha256"],
    );
    let digits = openssl.trim().split('=').nth(1).unwrap();
    let fingerprint = format!("['sha256:{digits}']");
    assert!(
        log.contains(&format!("fingerprint = {fingerprint}")),
        "{log}"
    );
    let service = provider.read("/var/log/inetsim/service.log");
    assert!(!service.contains("recv: AUTH"), "{service}");

    customer.set("providers.isp", &[("fingerprint", &fingerprint)]);
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert_inetsims_message(&customer);
    assert_carried(&log);
}

/// Rules: B49, C3, C16
#[test]
fn our_customer_fetches_from_inetsim_into_postfix_once_its_certificate_is_pinned() {
    our_customer_fetches_from_inetsim(Mta::Postfix);
}

/// Rules: B49, C3, C16
#[test]
fn our_customer_fetches_from_inetsim_into_exim_once_its_certificate_is_pinned() {
    our_customer_fetches_from_inetsim(Mta::Exim);
}

/// What the program is told, what our log must say, and whether it sends `KeyUpdate`.
const OF_OPENSSL: [(&str, &str, bool); 4] = [
    (
        "TLS_AES_256_GCM_SHA384",
        "TLS1.3 TLS_AES_256_GCM_SHA384",
        true,
    ),
    (
        "TLS_AES_128_GCM_SHA256",
        "TLS1.3 TLS_AES_128_GCM_SHA256",
        false,
    ),
    (
        "TLS_CHACHA20_POLY1305_SHA256",
        "TLS1.3 TLS_CHACHA20_POLY1305_SHA256",
        true,
    ),
    ("", "TLS1.2 ", false),
];

fn our_customer_fetches_from_openssl(customer_mta: Mta) {
    let hosts = Hosts::new(Mta::Nothing, customer_mta);
    let customer = &hosts.customer;
    customer.fetch_with_tls(&hosts.authority, Mode::Implicit);
    for (number, (cipher, tls, updates)) in OF_OPENSSL.into_iter().enumerate() {
        if carried(tls) != handoff_tls() {
            // The keys of TLS 1.2 are never given to the kernel.
            refuses_what_the_kernel_cannot_carry(&hosts);
            continue;
        }
        let more = match cipher {
            "" => vec!["-tls1_2"],
            _ => vec!["-tls1_3", "-ciphersuites", cipher],
        };
        let mut server = s_server(&hosts.provider, &more);
        let mut fetch = customer.start_fetch();
        let update = |server: &mut Script| {
            // The mail server could not read on behind one where the kernel has the keys.
            if updates && carried(tls) == "relay" {
                sleep(Duration::from_millis(100));
                server.program().send(b"K\n");
                sleep(Duration::from_millis(100));
            }
        };
        server.greet();
        server.skips_to("EHLO ");
        server.say("250-provider.test\r\n250-AUTH PLAIN\r\n250 ATRN");
        server.skips_to("AUTH PLAIN");
        server.say("235 welcome");
        server.skips_to("ATRN");
        server.say("250 now reversing");
        server.skips_to("220 ");
        update(&mut server);
        server.say("EHLO provider.test");
        server.skips_to("250 ");
        server.say("MAIL FROM:<sender@example.edu>\r\nRCPT TO:<alice@example.org>\r\nDATA");
        server.skips_to("354 ");
        server.say(&format!("Subject: session-{number}\r\n\r\nfirst half"));
        update(&mut server);
        server.say("second half\r\n.");
        server.skips_to("250 ");
        // Not NOOP: Exim would not have anything sent behind that before its reply (RFC 2920 3.1).
        server.say("RSET\r\nQUIT");
        server.skips_to("221 ");
        let status = fetch.wait(SOON);
        assert_eq!(status.code(), Some(0), "{}", fetch.log());
        let line = closing_line(&fetch, number);
        assert!(line.contains(&format!("tls=\"{tls}")), "{line}");
        server.program().close();
        server.program().wait();
        let inbox = customer.wait_inbox("alice", number + 1, SOON);
        let text = |file: &Vec<u8>| String::from_utf8_lossy(file).into_owned();
        let ending = format!("Subject: session-{number}\n\nfirst half\nsecond half\n");
        assert!(inbox.iter().map(text).any(|file| file.ends_with(&ending)));
        // Postfix has the only descriptor, and closes it; nobody is left who could say close_notify.
        let cut = (customer_mta, carried(tls)) == (Mta::Postfix, "kernel");
        let said = server.program().complaints();
        assert_eq!(said.contains("unexpected eof"), cut, "{tls}: {said}");
    }
}

fn refuses_what_the_kernel_cannot_carry(hosts: &Hosts) {
    let mut server = s_server(&hosts.provider, &["-tls1_2"]);
    let mut fetch = hosts.customer.start_fetch();
    server.greet();
    server.skips_to("EHLO ");
    server.say("250-provider.test\r\n250-AUTH PLAIN\r\n250 ATRN");
    server.skips_to("AUTH PLAIN");
    server.say("235 welcome");
    server.skips_to("QUIT");
    server.say("221 bye");
    let status = fetch.wait(SOON);
    assert_eq!(status.code(), Some(75), "{}", fetch.log());
}

/// Rules: B53, C7
#[test]
fn our_customer_fetches_from_openssl_into_postfix() {
    our_customer_fetches_from_openssl(Mta::Postfix);
}

/// Rules: B53, C7
#[test]
fn our_customer_fetches_from_openssl_into_exim() {
    our_customer_fetches_from_openssl(Mta::Exim);
}

/// stunnel speaks STARTTLS for a provider that has no TLS of its own.
#[test]
fn our_customer_fetches_through_stunnel_from_a_provider_without_tls() {
    let mut lab = Lab::new();
    let authority = Authority::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Postfix);
    provider.install(&authority.issue(&["provider.test"]));
    provider.set("serve", &[("listen", "[\"127.0.0.1:3660\"]")]);
    customer.fetch_with_tls(&authority, Mode::Starttls);
    carry_as_wanted(&customer);
    let _serve = provider.serve();
    let service =
        format!("connect = 127.0.0.1:3660\nprotocol = smtp\ncert = {CERTIFICATE}\nkey = {KEY}\n");
    let _stunnel = stunnel(&provider, 366, &service);
    let sent = three_messages("through-stunnel");
    provider.submit(&sent);
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    assert_carried(&log);
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", sent.len(), SOON));
    provider.wait_empty_queue(SOON);
    let log = customer.mail_log();
    assert!(log.contains("connect from provider.test["), "{log}");
}
