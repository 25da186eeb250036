//! Logging in at the real provider over TCP.

use crate::driver::{ALICE, Peer, Serve, Setup};
use std::time::{Duration, Instant};
use turnabout::sasl::Mechanism;

const PLAINTEXT: &str = "plaintext_without_tls = true\n\
    mechanisms = [\"SCRAM-SHA-256\", \"SCRAM-SHA-1\", \"CRAM-MD5\", \"PLAIN\", \"LOGIN\"]";

fn plaintext() -> Serve {
    Serve::start(Setup {
        keys: PLAINTEXT.to_owned(),
        ..Setup::default()
    })
}

/// Rules: R2, R8, R11, B68, B69
#[test]
fn each_mechanism_logs_in_and_atrn_is_answered() {
    let serve = plaintext();
    for mechanism in [
        Mechanism::ScramSha256,
        Mechanism::ScramSha1,
        Mechanism::CramMd5,
        Mechanism::Plain,
        Mechanism::Login,
    ] {
        let mut peer = Peer::connect(serve.address());
        let (code, text) = peer.reply();
        assert_eq!(code, 220);
        assert!(text.starts_with("provider.example.com "), "{text}");
        let (code, offer) = peer.ask("EHLO customer.example.org");
        assert_eq!(code, 250);
        let mut lines = offer.lines();
        assert!(lines.any(|line| line.starts_with("AUTH ") && line.contains(mechanism.name())));
        assert!(offer.lines().any(|line| line == "ATRN"));
        assert_eq!(peer.code("ATRN"), 530);
        assert_eq!(peer.login(mechanism, ALICE), 235, "{mechanism:?}");
        assert_eq!(peer.code("ATRN"), 453);
        assert_eq!(peer.code("QUIT"), 221);
        peer.assert_ended();
    }
}

/// Rules: B24, B35, B65
#[test]
fn passwords_in_the_clear_are_not_offered_unless_the_operator_says_so() {
    let serve = Serve::start(Setup::default());
    let mut peer = Peer::connect(serve.address());
    peer.reply();
    let (_, offer) = peer.ask("EHLO customer.example.org");
    let auth = offer
        .lines()
        .find(|line| line.starts_with("AUTH "))
        .unwrap();
    assert_eq!(auth, "AUTH SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5");
    assert_eq!(peer.code("AUTH PLAIN AGFsaWNlAHBlbmNpbA=="), 504);
    assert_eq!(peer.code("AUTH LOGIN"), 504);
    assert_eq!(peer.login(Mechanism::CramMd5, ALICE), 235);
}

/// Rules: R10, R15
#[test]
fn auth_and_atrn_in_one_segment_are_answered_in_their_order() {
    let serve = plaintext();
    let plain = "AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==\r\n";
    let mut peer = Peer::greeted(serve.address());
    peer.send(format!("{plain}ATRN\r\n"));
    assert_eq!((peer.reply().0, peer.reply().0), (235, 453));

    let mut peer = Peer::greeted(serve.address());
    peer.send(format!("ATRN\r\n{plain}"));
    assert_eq!((peer.reply().0, peer.reply().0), (530, 235));
}

/// Rules: B32, B74, C11
#[test]
fn a_wrong_password_and_an_unknown_user_are_told_the_same_after_the_same_wait() {
    let serve = Serve::start(Setup::default());
    let attempt = |mechanism, who| {
        let address = serve.address();
        std::thread::spawn(move || {
            let mut peer = Peer::greeted(address);
            let started = Instant::now();
            let code = peer.login(mechanism, who);
            (code, started.elapsed(), peer.code("ATRN"))
        })
    };
    let attempts: Vec<_> = [Mechanism::CramMd5, Mechanism::ScramSha256]
        .into_iter()
        .flat_map(|mechanism| {
            [
                attempt(mechanism, ("alice", "wrong")),
                attempt(mechanism, ("nobody-we-know", "wrong")),
            ]
        })
        .collect();
    for attempt in attempts {
        let (code, waited, atrn) = attempt.join().unwrap();
        assert_eq!((code, atrn), (535, 530));
        assert!(waited >= Duration::from_secs(1), "{waited:?}");
    }
}

/// Rules: B26, B40, C11
#[test]
fn after_three_failed_attempts_the_fourth_is_421_and_the_end() {
    let serve = Serve::start(Setup::default());
    let mut peer = Peer::greeted(serve.address());
    for _ in 0..3 {
        assert_eq!(peer.code("AUTH CRAM-MD5"), 334);
        assert_eq!(peer.code("*"), 501);
    }
    assert_eq!(peer.code("AUTH CRAM-MD5"), 421);
    peer.assert_ended();
}

/// Rules: B28, B66
#[test]
fn challenges_differ_from_one_attempt_and_one_connection_to_the_next() {
    let serve = Serve::start(Setup::default());
    let mut challenges = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let mut peer = Peer::greeted(serve.address());
        for _ in 0..3 {
            let (code, challenge) = peer.ask("AUTH CRAM-MD5");
            assert_eq!(code, 334);
            assert!(challenges.insert(challenge), "a challenge came twice");
            assert_eq!(peer.code("*"), 501);
        }
    }
}
