//! What peers may try with the provider's TLS, and what a handshake may cost.

use crate::driver::{ALICE, Peer, Setup, Site, secured_at_once, until};
use crate::tls_world::{Authority, BOTH, HOST, raw_client};
use std::io::Write;
use std::time::{Duration, Instant};
use turnabout::sasl::Mechanism;

fn site(limits: &'static str, keys: &str) -> Site {
    Site::start(Setup {
        keys: format!("listen_tls = [\"127.0.0.1:0\"]\n{keys}"),
        limits,
        ..Setup::default()
    })
}

/// Rules: C1, B58
#[test]
fn commands_behind_starttls_are_never_executed() {
    let injected = "EHLO x\r\nAUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==\r\n";
    let mut site = site("", "");
    let mut peer = Peer::greeted(site.address());
    // In one segment.
    peer.send(format!("STARTTLS\r\n{injected}"));
    let (code, text) = peer.reply();
    assert_eq!(code, 421);
    assert!(text.starts_with("4.7.0 "), "{text}");
    peer.assert_ended();
    // A single octet behind it.
    let mut peer = Peer::greeted(site.address());
    peer.send("START");
    std::thread::sleep(Duration::from_millis(50));
    peer.send("TLS\r\nE");
    assert_eq!(peer.reply().0, 421);
    peer.assert_ended();
    // Behind our 220: they are part of a handshake that fails, and nobody answers them.
    let mut peer = Peer::greeted(site.address());
    assert_eq!(peer.code("STARTTLS"), 220);
    peer.send(injected);
    let said = peer.rest();
    assert!(!said.contains("250") && !said.contains("235"), "{said:?}");
    let line = site.serve.process.logged("cannot begin TLS");
    assert!(line.contains("what the peer sent is not TLS"), "{line}");
    let line = site
        .serve
        .process
        .logged("end=\"the TLS handshake failed\"");
    assert!(line.contains("session closed"), "{line}");
}

/// Rules: C14
#[test]
fn a_client_without_tls_on_the_port_for_tls_hears_nothing_and_the_log_says_so() {
    let mut site = site("", "");
    let mut peer = Peer::connect(site.serve.listening[1]);
    peer.send("EHLO customer.example.org\r\n");
    let said = peer.rest();
    assert!(!said.contains("220") && !said.contains("250"), "{said:?}");
    let line = site.serve.process.logged("cannot begin TLS");
    assert!(line.contains("not TLS") && line.contains("peer="), "{line}");
}

/// Rules: C12
#[test]
fn a_handshake_that_stalls_is_over_in_its_time_however_it_stalls() {
    let site = site("handshake_time = \"1500ms\"", "");
    let started = Instant::now();
    let mut silent = Peer::connect(site.serve.listening[1]);
    let mut stalled = Peer::greeted(site.address());
    assert_eq!(stalled.code("STARTTLS"), 220);
    // The head of a record, and an octet now and then.
    let mut dripper = Peer::connect(site.serve.listening[1]);
    dripper.send([22, 3, 1, 0, 200]);
    let dripped = std::thread::spawn(move || {
        while dripper.stream.write_all(&[1]).is_ok() && started.elapsed() < Duration::from_secs(9) {
            std::thread::sleep(Duration::from_millis(30));
        }
        started.elapsed()
    });
    silent.assert_ended();
    stalled.assert_ended();
    let after = started.elapsed();
    assert!(
        after >= Duration::from_millis(1500) && after < Duration::from_secs(9),
        "{after:?}"
    );
    assert!(dripped.join().unwrap() < Duration::from_secs(9));
    until("three lines", || {
        let log = site.serve.process.log();
        (log.matches("the handshake did not end in").count() == 3).then_some(())
    });
}

/// Rules: C12
#[test]
fn a_handshake_takes_its_time_from_that_of_the_login() {
    let site = site("login_time = \"1500ms\"\nhandshake_time = \"1h\"", "");
    let mut peer = Peer::greeted(site.address());
    assert_eq!(peer.code("STARTTLS"), 220);
    let started = Instant::now();
    peer.assert_ended();
    assert!(started.elapsed() < Duration::from_secs(10));
    let mut peer = site.secured();
    while peer.code("NOOP") == 250 {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// Rules: C12, R31
#[test]
fn who_is_turned_away_from_the_port_for_tls_is_not_answered_in_the_clear() {
    for (limits, keys, reason) in [
        ("connections_per_address = 1", "", "too many connections"),
        ("", "sources = [\"192.0.2.0/24\"]\n", "not in serve.sources"),
    ] {
        let mut site = site(limits, keys);
        let implicit = site.serve.listening[1];
        let first = reason
            .starts_with("too")
            .then(|| secured_at_once(implicit, site.client()));
        let mut second = Peer::connect(implicit);
        second.assert_ended();
        let line = site.serve.process.logged(reason);
        assert!(line.contains("closed: "), "{line}");
        drop(first);
    }
}

#[test]
fn a_customer_that_does_not_believe_the_certificate_is_named_with_its_reason() {
    let mut site = site("", "");
    let stranger = Authority::new();
    let mut peer = Peer::greeted(site.address());
    assert_eq!(peer.code("STARTTLS"), 220);
    assert!(
        peer.begin_tls(raw_client(&stranger.der, BOTH), HOST)
            .is_err()
    );
    let line = site.serve.process.logged("cannot begin TLS");
    assert!(
        line.contains("WARN") && line.contains("UnknownCA") && line.contains("peer=127.0.0.1:"),
        "{line}"
    );
}

/// Rules: C14
#[test]
fn a_client_that_wants_another_protocol_is_refused_in_the_handshake() {
    let mut site = site("", "");
    for (name, welcome) in [
        ("h2", false),
        ("http/1.1", false),
        ("smtp", true),
        ("esmtp", true),
    ] {
        let mut config = site.client();
        config.alpn_protocols = vec![name.as_bytes().to_vec()];
        let mut peer = Peer::connect(site.serve.listening[1]);
        assert_eq!(peer.begin_tls(config, HOST).is_ok(), welcome, "{name}");
    }
    let line = site.serve.process.logged("cannot begin TLS");
    assert!(line.contains("ALPN"), "{line}");
}

/// Rules: C14
#[test]
fn a_web_browser_inside_tls_is_sent_away_at_its_first_line() {
    let site = site("", "");
    let mut peer = Peer::connect(site.serve.listening[1]);
    peer.begin_tls(site.client(), HOST).unwrap();
    assert_eq!(peer.reply().0, 220);
    peer.send("GET / HTTP/1.1\r\nHost: provider.example.com\r\n\r\n");
    assert_eq!(peer.reply().0, 421);
    peer.assert_ended();
}

/// Rules: C15
#[test]
fn no_secret_of_a_login_under_tls_is_in_the_log() {
    let mut site = Site::start(Setup {
        options: &["--log-level", "trace"],
        ..Setup::default()
    });
    let mut secrets = vec![ALICE.1.to_owned()];
    for mechanism in [Mechanism::ScramSha256Plus, Mechanism::Plain] {
        let mut peer = site.secured();
        assert_eq!(peer.login(mechanism, ALICE), 235);
        assert_eq!(peer.code("QUIT"), 221);
        secrets.append(&mut peer.secrets);
    }
    site.serve.process.logged("session closed");
    let log = site.serve.process.log();
    for secret in secrets.iter().filter(|secret| secret.len() > 8) {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}
