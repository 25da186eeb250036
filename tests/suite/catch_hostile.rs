//! Callers of `turnabout catch` that break its rules: each is told why, its descriptors are closed, nothing is run.

use crate::driver::{Catcher, Hand, Running, pair};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

/// Never to be seen by anybody.
const NEVER: &[&str] = &["/bin/sh", "-c", "echo 220 somebody ran this"];

/// The peer of a connection that was not taken: it hears nothing, and sees the end as soon as we let go of ours.
fn closed(ours: TcpStream, mut theirs: TcpStream, what: &str) {
    drop(ours);
    let mut heard = String::new();
    match theirs.read_to_string(&mut heard) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("{what}: a copy of the descriptor is left: {error}"),
    }
    assert_eq!(heard, "", "{what}");
}

/// With one key of it changed.
fn with(mut record: Value, key: &str, value: Value) -> Value {
    record[key] = value;
    record
}

/// Rules: C9
#[test]
fn catch_refuses_records_that_are_none_or_not_what_was_agreed() {
    let mut catcher = Catcher::start(&[], NEVER);
    let huge = "x".repeat(9000);
    type Change<'a> = Box<dyn Fn(Value) -> String + 'a>;
    let changes: Vec<(&str, Change<'_>, &str)> = vec![
        (
            "another version",
            Box::new(|record| with(record, "version", json!(2)).to_string()),
            "not of the version",
        ),
        (
            "another direction",
            Box::new(|record| with(record, "direction", json!("outbound")).to_string()),
            "not of the version and direction",
        ),
        (
            "a relay that was not offered",
            Box::new(|record| with(record, "carried", json!("relay")).to_string()),
            "was not offered",
        ),
        (
            "another peer",
            Box::new(|record| with(record, "peer", json!("192.0.2.1:366")).to_string()),
            "peer address is 127.0.0.1",
        ),
        (
            "another local address",
            Box::new(|record| with(record, "local", json!("127.0.0.1:1")).to_string()),
            "own address is",
        ),
        (
            "a peer that is none",
            Box::new(|record| with(record, "peer", json!("localhost")).to_string()),
            "not understood",
        ),
        (
            "an unknown carrier",
            Box::new(|record| with(record, "carried", json!("pigeon")).to_string()),
            "not understood",
        ),
        (
            "another word",
            Box::new(|_| Hand::offer().to_string()),
            "no record",
        ),
        ("no JSON", Box::new(|_| "ATRN".to_owned()), "not understood"),
        (
            "two lines at once",
            Box::new(|record| format!("{record}\n{record}")),
            "more than one line",
        ),
        (
            "a record that is too long",
            Box::new(|record| with(record, "user", json!(huge)).to_string()),
            "longer than 8192",
        ),
    ];
    for (what, change, why) in changes {
        let (ours, theirs) = pair();
        let mut hand = catcher.ready();
        let line = format!("{}\n", change(Hand::record(&ours)));
        hand.send_with(line.as_bytes(), &[ours.as_raw_fd()]);
        let reason = hand.refused();
        assert!(reason.contains(why), "{what}: {reason}");
        closed(ours, theirs, what);
    }
    assert!(!catcher.process.log().contains("connection taken"));
    catcher.ready();
    catcher.process.logged("refused");
}

/// Rules: C9
#[test]
fn catch_refuses_more_descriptors_than_one_and_fewer() {
    let catcher = Catcher::start(&[], NEVER);
    let (ours, theirs) = pair();
    let (second, other) = pair();
    let record = || Hand::record(&ours);

    let mut none = catcher.ready();
    none.say(&record());
    assert!(none.refused().contains("no descriptor"));

    let mut two = catcher.ready();
    two.say_with(&record(), &[ours.as_raw_fd(), second.as_raw_fd()]);
    assert!(two.refused().contains("more than one descriptor"));

    let mut many = catcher.ready();
    many.say_with(&record(), &[second.as_raw_fd(); 200]);
    assert!(many.refused().contains("more than one descriptor"));

    // One, and another one further on.
    let mut later = catcher.ready();
    let line = format!("{}\n", record());
    let (first, rest) = line.split_at(20);
    later.send_with(first.as_bytes(), &[ours.as_raw_fd()]);
    later.send_with(rest.as_bytes(), &[second.as_raw_fd()]);
    assert!(later.refused().contains("more than one descriptor"));

    let mut early = catcher.called();
    early.say_with(&Hand::offer(), &[ours.as_raw_fd()]);
    assert!(early.refused().contains("before it was asked"));

    closed(ours, theirs, "the first");
    closed(second, other, "the second");
    catcher.ready();
}

/// A mail server takes a pipe for a user of this machine, and relays for it.
/// Rules: C9
#[test]
fn catch_refuses_descriptors_that_are_not_the_connection() {
    let catcher = Catcher::start(&[], NEVER);
    let (ours, _theirs) = pair();
    let (unix, _other) = UnixStream::pair().unwrap();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let datagram = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (strange, _stranger) = pair();
    let descriptors: [(&dyn AsFd, &str); 6] = [
        (&pipe, "no socket"),
        (&File::open("/dev/null").unwrap(), "no socket"),
        (&unix, "no connected TCP socket"),
        (&listener, "a listening socket"),
        (&datagram, "no stream socket"),
        (&strange, "own address is"),
    ];
    for (descriptor, why) in descriptors {
        let mut hand = catcher.ready();
        let raw = descriptor.as_fd().as_raw_fd();
        hand.say_with(&Hand::record(&ours), &[raw]);
        let reason = hand.refused();
        assert!(
            reason.contains(why) || (why == "own address is" && reason.contains("address is")),
            "{why}: {reason}"
        );
    }
}

/// Rules: C9
#[test]
fn catch_refuses_ends_of_relays_that_are_none() {
    let catcher = Catcher::start(&["--command-peer", "environment"], &["/usr/bin/env"]);
    let (ours, _theirs) = pair();
    let (pipe, _writer) = std::io::pipe().unwrap();
    let (datagram, _other) = UnixDatagram::pair().unwrap();
    let relayed = |descriptor: &dyn AsFd| {
        let mut hand = catcher.called();
        hand.say(&Hand::offer_of_a_relay());
        assert_eq!(hand.hears()["message"], "ready");
        hand.say_with(
            &Hand::relayed("192.0.2.1:366"),
            &[descriptor.as_fd().as_raw_fd()],
        );
        hand
    };
    assert!(
        relayed(&ours)
            .refused()
            .contains("no connected Unix socket")
    );
    assert!(relayed(&pipe).refused().contains("no socket"));
    assert!(relayed(&datagram).refused().contains("no stream socket"));
    let (end, mut other) = UnixStream::pair().unwrap();
    assert_eq!(relayed(&end).hears()["message"], "taken");
    drop(OwnedFd::from(end));
    let mut environment = String::new();
    other.read_to_string(&mut environment).unwrap();
    assert!(
        environment.contains("TCPREMOTEIP=192.0.2.1\n"),
        "{environment}"
    );
}

/// A mail server relays anything for its own machine, so nobody may be called that.
/// Rules: C9
#[test]
fn catch_refuses_a_peer_on_loopback_unless_it_is_there_and_the_operator_says_so() {
    let told = Catcher::start(&["--command-peer", "environment"], &["/usr/bin/env"]);
    for peer in [
        "127.0.0.1:366",
        "127.9.9.9:366",
        "[::1]:366",
        "[::ffff:127.0.0.1]:366",
        "0.0.0.0:1",
    ] {
        let mut hand = told.called();
        hand.say(&Hand::offer_of_a_relay());
        assert_eq!(hand.hears()["message"], "ready");
        let (end, mut other) = UnixStream::pair().unwrap();
        hand.say_with(&Hand::relayed(peer), &[end.as_raw_fd()]);
        let reason = hand.refused();
        assert!(reason.contains("a relay carries it"), "{peer}: {reason}");
        drop(end);
        let mut heard = String::new();
        other.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "", "{peer}");
    }
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("catch.sock");
    let mut arguments = Catcher::arguments(&socket, &[], NEVER);
    arguments.retain(|word| *word != "--allow-loopback");
    let mut untold = Running::start(&arguments);
    untold.logged(" ready ");
    let (ours, theirs) = pair();
    let mut hand = Hand::new(UnixStream::connect(&socket).unwrap());
    hand.say(&Hand::offer());
    assert_eq!(hand.hears()["message"], "ready");
    hand.say_with(&Hand::record(&ours), &[ours.as_raw_fd()]);
    let reason = hand.refused();
    assert!(
        reason.contains("127.0.0.1") && reason.contains("--allow-loopback"),
        "{reason}"
    );
    closed(ours, theirs, "a peer on loopback");
}

#[test]
fn catch_refuses_offers_that_it_does_not_understand_or_expect() {
    let catcher = Catcher::start(&[], NEVER);
    for (offer, why) in [
        (with(Hand::offer(), "versions", json!([2, 3])), "version 1"),
        (with(Hand::offer(), "versions", json!([])), "version 1"),
        (
            with(Hand::offer(), "direction", json!("outbound")),
            "\"inbound\" is expected",
        ),
        (json!({"message": "taken"}), "not begin with an offer"),
        (json!({"message": "sing"}), "not understood"),
        (json!(["offer"]), "not understood"),
    ] {
        let mut hand = catcher.called();
        hand.say(&offer);
        let reason = hand.refused();
        assert!(reason.contains(why), "{why}: {reason}");
    }
    // A later version's sender, which speaks this one as well and says more.
    let mut hand = catcher.called();
    let offer = with(Hand::offer(), "versions", json!([1, 2]));
    hand.say(&with(offer, "colour", json!("green")));
    assert_eq!(hand.hears(), json!({"message": "ready", "version": 1}));
}

#[test]
fn catch_forgets_callers_that_hang_up_and_closes_what_they_sent() {
    let mut catcher = Catcher::start(&[], NEVER);
    drop(catcher.called());
    catcher.process.logged("no connection came");
    drop(catcher.ready());
    let (ours, theirs) = pair();
    let mut half = catcher.ready();
    let line = Hand::record(&ours).to_string();
    half.send_with(&line.as_bytes()[..40], &[ours.as_raw_fd()]);
    drop(half);
    catcher.process.logged("hung up in the midst of a line");
    closed(ours, theirs, "half a record");
    catcher.ready();
}

#[test]
fn catch_does_not_wait_long_for_an_offer_and_serves_others_meanwhile() {
    let catcher = Catcher::start(&[], NEVER);
    let started = Instant::now();
    let mut silent = catcher.called();
    let mut slow = catcher.called();
    slow.send(b"{\"message\":");
    catcher.ready();
    assert!(silent.refused().contains("in 10 s"));
    assert!(slow.refused().contains("in 10 s"));
    assert!(started.elapsed() > Duration::from_secs(9));
    catcher.ready();
}
