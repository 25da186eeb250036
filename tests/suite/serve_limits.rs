//! What one peer, or many, may take from the provider; and who is not served at all.

use crate::driver::{ALICE, Peer, Serve, Setup, until};
use std::io::Write;
use std::time::{Duration, Instant};

fn limited(limits: &'static str) -> Serve {
    Serve::start(Setup {
        limits,
        ..Setup::default()
    })
}

/// Rules: B12, C12
#[test]
fn a_silent_peer_is_told_421_after_the_time_for_a_command() {
    let serve = limited("command_time = \"1s\"");
    for log_in in [false, true] {
        let mut peer = if log_in {
            Peer::logged_in(serve.address(), ALICE)
        } else {
            Peer::greeted(serve.address())
        };
        let (code, text) = peer.reply();
        assert_eq!(code, 421);
        assert!(text.starts_with("4.4.2 "), "{text}");
        peer.assert_ended();
    }
}

/// Rules: B15, C12
#[test]
fn an_octet_now_and_then_does_not_keep_a_session_that_does_not_log_in() {
    let serve = limited("login_time = \"2400ms\"\ncommand_time = \"1600ms\"");
    let started = Instant::now();
    let mut talker = Peer::greeted(serve.address());
    let mut dripper = Peer::greeted(serve.address());
    // Whole commands in good time, and single octets: both are over at the same moment.
    let talked = std::thread::spawn(move || {
        let mut said = 0;
        while talker.code("NOOP") == 250 {
            said += 1;
            std::thread::sleep(Duration::from_millis(50));
        }
        (said, started.elapsed())
    });
    while dripper.stream.write_all(b"N").is_ok() && started.elapsed() < Duration::from_millis(1400)
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    // One command of many octets has the time of one command.
    assert_eq!(dripper.reply().0, 421);
    let (said, after) = talked.join().unwrap();
    assert!(
        said > 2 && after >= Duration::from_millis(2400),
        "{said} {after:?}"
    );
    assert!(after < Duration::from_secs(5), "{after:?}");
}

/// Rules: B15, C12
#[test]
fn a_session_that_logged_in_has_as_long_again_to_turn_and_noop_gains_nothing() {
    let serve = limited("login_time = \"1600ms\"");
    let mut peer = Peer::greeted(serve.address());
    std::thread::sleep(Duration::from_millis(800));
    assert_eq!(peer.login(turnabout::sasl::Mechanism::CramMd5, ALICE), 235);
    let logged_in = Instant::now();
    while peer.code("NOOP") == 250 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let after = logged_in.elapsed();
    assert!(
        after >= Duration::from_millis(1590) && after < Duration::from_secs(5),
        "{after:?}"
    );
    peer.assert_ended();
}

/// Rules: C12
#[test]
fn a_peer_that_does_not_read_is_not_waited_for() {
    let mut serve = limited("command_time = \"1s\"");
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    peer.stream
        .set_write_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let many = "EHLO customer.example.org\r\n".repeat(4096);
    // Until the provider no longer takes anything, since its replies are not taken.
    while peer.stream.write_all(many.as_bytes()).is_ok() {}
    let line = serve.process.logged("session closed");
    assert!(line.contains("does not read"), "{line}");
}

/// Rules: B12, C12
#[test]
fn one_bad_command_too_many_is_421_and_the_end() {
    let serve = limited("bad_commands = 3");
    for log_in in [false, true] {
        let mut peer = if log_in {
            Peer::logged_in(serve.address(), ALICE)
        } else {
            Peer::greeted(serve.address())
        };
        assert_eq!(peer.code("MAIL FROM:<>"), 502);
        assert_eq!(peer.code("FOO"), 500);
        assert_eq!(peer.code(&"X".repeat(600)), 500);
        assert_eq!(peer.code("FOO"), 421);
        peer.assert_ended();
    }
}

/// Rules: C12
#[test]
fn one_failed_login_too_many_is_421_and_the_end() {
    let serve = limited("auth_failures = 4");
    let mut peer = Peer::greeted(serve.address());
    assert_eq!(peer.code("EHLO customer.example.org"), 250);
    let mut guess = || peer.login(turnabout::sasl::Mechanism::CramMd5, ("alice", "a guess"));
    assert_eq!([guess(), guess(), guess(), guess()], [535; 4]);
    assert_eq!(peer.code("AUTH CRAM-MD5"), 421);
    peer.assert_ended();
}

/// Rules: C13
#[test]
fn a_line_without_end_costs_one_reply() {
    let serve = Serve::start(Setup::default());
    let mut peer = Peer::greeted(serve.address());
    for _ in 0..1000 {
        peer.send([b'A'; 4096]);
    }
    peer.send("\r\nNOOP\r\n");
    assert_eq!((peer.reply().0, peer.reply().0), (500, 250));
}

/// Rules: C12
#[test]
fn one_connection_too_many_from_an_address_is_421() {
    let serve = limited("connections_per_address = 2");
    let first = Peer::greeted(serve.address());
    let _second = Peer::greeted(serve.address());
    let mut third = Peer::connect(serve.address());
    let (code, text) = third.reply();
    assert_eq!(code, 421);
    assert!(text.starts_with("provider.example.com "), "{text}");
    third.assert_ended();
    // One that ends makes room.
    drop(first);
    until("room", || {
        let mut peer = Peer::connect(serve.address());
        Some(()).filter(|()| peer.reply().0 == 220)
    });
}

/// Rules: R31, B22
#[test]
fn an_address_that_is_not_listed_is_554_and_one_that_is_listed_still_logs_in() {
    let refused = Serve::start(Setup {
        keys: "sources = [\"192.0.2.0/24\", \"2001:db8::/32\"]".to_owned(),
        ..Setup::default()
    });
    let mut peer = Peer::connect(refused.address());
    assert_eq!(peer.reply().0, 554);
    // RFC 5321 3.1: it waits for QUIT and answers anything else with 503.
    assert_eq!(peer.code("EHLO customer.example.org"), 503);
    assert_eq!(peer.code("QUIT"), 221);
    peer.assert_ended();

    let listed = Serve::start(Setup {
        keys: "sources = [\"127.0.0.0/8\"]".to_owned(),
        ..Setup::default()
    });
    let mut peer = Peer::greeted(listed.address());
    assert_eq!(peer.code("ATRN"), 530);
}

/// Rules: C14
#[test]
fn a_web_browser_is_sent_away_at_its_first_line() {
    let serve = Serve::start(Setup::default());
    let mut peer = Peer::connect(serve.address());
    assert_eq!(peer.reply().0, 220);
    peer.send("GET / HTTP/1.1\r\nHost: provider.example.com\r\n\r\nQUIT\r\n");
    assert_eq!(peer.reply().0, 421);
    peer.assert_ended();
}
