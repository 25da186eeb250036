//! ATRN at the real provider: who gets the connection turned, who does not, and what passes then.

use crate::driver::{ALICE, ALICE_HOP, BOB, BOB_HOP, Message, Peer, Serve, Setup, install, until};
use std::time::{Duration, Instant};
use turnabout::sasl::Mechanism;

const HELLO: Message = Message {
    recipient: "someone@example.org",
    next_hop: ALICE_HOP,
    text: "Subject: hello",
};

const FOR_BOB: Message = Message {
    recipient: "bob@example.net",
    next_hop: BOB_HOP,
    text: "Subject: for bob",
};

/// Rules: R5, R17, R21, R24, R25, R27, B22
#[test]
fn a_whole_session_ends_with_the_mail_at_the_customer() {
    let mut serve = Serve::with_mail();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    let (code, text) = peer.ask("ATRN");
    assert_eq!((code, text.lines().count()), (250, 1));
    // The provider is silent until it has been greeted.
    peer.stream.set_nonblocking(true).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert!(peer.stream.peek(&mut [0]).is_err());
    peer.stream.set_nonblocking(false).unwrap();
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    peer.assert_ended();
    let line = serve.process.logged("session closed");
    for field in [
        "user=alice",
        "domains=example.org,example.com",
        "mechanism=CRAM-MD5",
        "handoff=postfix-cache",
        "seconds=",
        "end=\"delivered all\"",
    ] {
        assert!(line.contains(field), "{field} in {line}");
    }
}

/// Rules: R21
#[test]
fn exim_continues_on_the_turned_connection() {
    let setup = Setup {
        keys: "handoff = \"exim-continue\"".to_owned(),
        ..Setup::default()
    };
    let mut serve = Serve::spawn_with(setup, |directory| {
        install("exim", directory);
        let queue = " 1m  1.0K 1kEw3Y-0003Fj-2c <s@example.net>\n          r@example.org\n\n";
        for (name, text) in [("queue", queue), ("asked", "")] {
            crate::driver::write_open(&directory.join(name), text);
        }
    });
    serve.wait_until_ready();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN example.net"), 450);
    // Exim can serve one next hop in a session.
    assert_eq!(peer.code("ATRN"), 451);
    assert_eq!(peer.code("ATRN example.org"), 250);
    assert_eq!(peer.take_mail(), ["From Exim\n"]);
    drop(peer);
    let line = serve.process.logged("session closed");
    assert!(line.contains("end=\"delivered all\""), "{line}");
}

/// Rules: B59, C4
#[test]
fn octets_behind_atrn_are_answered_as_commands_and_never_taken_for_the_greeting() {
    let serve = Serve::with_mail();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    peer.send("ATRN\r\n220 me\r\n");
    assert_eq!((peer.reply().0, peer.reply().0), (503, 500));
    // Nothing was lost and nothing turned: the next one works.
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail().len(), 1);
}

/// Rules: B59, C4
#[test]
fn octets_that_come_while_the_queue_is_asked_are_503_as_well() {
    let serve = Serve::with_mail();
    serve.postfix.spoil("slow");
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    peer.send("ATRN\r\n");
    let asked = || serve.postfix.asked().contains("-j").then_some(());
    until("the queue to be asked", asked);
    peer.send("NOOP\r\n");

    serve.postfix.mend("slow");
    assert_eq!((peer.reply().0, peer.reply().0), (503, 250));
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail().len(), 1);
}

/// Rules: C4
#[test]
fn a_greeting_right_behind_the_250_is_heard_every_time() {
    let serve = Serve::start(Setup {
        limits: "connections_per_address = 1000",
        ..Setup::default()
    });
    serve.postfix.queue(HELLO);
    for round in 0..ROUNDS {
        let mut peer = Peer::logged_in(serve.address(), ALICE);
        // The session before may not be quite over.
        let code = until("a turn", || {
            Some(peer.code("ATRN")).filter(|code| *code != 450)
        });
        assert_eq!(code, 250, "round {round}");
        // Sometimes at once, sometimes a little later.
        if round % 2 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
        peer.send("220 me\r\n");
        assert!(peer.line().unwrap().starts_with("EHLO "), "round {round}");
        peer.send("421 that was all\r\n");
        peer.assert_ended();
    }
}

/// How often a race is run; the queue is asked anew each time.
const ROUNDS: usize = 100;

/// Rules: B59, C4
#[test]
fn a_thousand_greetings_that_come_too_early_never_turn_a_connection() {
    let serve = Serve::with_mail();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    let mut turned = 0;
    for round in 0..1000 {
        peer.send("ATRN\r\nNOOP\r\n");
        let (first, second) = (peer.reply().0, peer.reply().0);
        assert_eq!((first, second), (503, 250), "round {round}");
        turned += usize::from(first == 250);
        if round % 10 == 9 {
            // Each of these counts as a bad command, and ten are enough.
            peer = Peer::logged_in(serve.address(), ALICE);
        }
    }
    assert_eq!((turned, serve.postfix.asked().as_str()), (0, ""));
}

/// Rules: R18, R23
#[test]
fn foreign_and_unknown_domains_are_refused_alike_and_the_mail_server_hears_nothing() {
    let serve = Serve::start(Setup {
        queue: vec![HELLO, FOR_BOB],
        ..Setup::default()
    });
    let mut peer = Peer::greeted(serve.address());
    assert_eq!(peer.code("EHLO example.net"), 250);
    assert_eq!(peer.login(Mechanism::CramMd5, ALICE), 235);
    let foreign = peer.ask("ATRN example.net");
    let unknown = peer.ask("ATRN no-such-domain.example");
    assert_eq!(foreign.0, 450);
    assert_eq!(foreign, unknown);
    assert_eq!(foreign, peer.ask("ATRN example.org,example.net"));
    assert_eq!(foreign, peer.ask("ATRN www.example.org"));
    assert_eq!(serve.postfix.asked(), "");
    assert_eq!(serve.postfix.cache_connections(), 0);
    assert_eq!(peer.code("ATRN example.org"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    assert!(!serve.postfix.asked().contains("example.net"));
}

/// Rules: R5, R19
#[test]
fn an_empty_queue_is_453_and_the_session_stays_authenticated() {
    let serve = Serve::start(Setup::default());
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 453);
    assert_eq!(peer.code("ATRN example.com"), 453);
    serve.postfix.queue(HELLO);
    assert_eq!(peer.code("ATRN example.com"), 453);
    assert_eq!(peer.code("ATRN example.org"), 250);
    assert_eq!(peer.take_mail().len(), 1);
}

/// Rules: R19, R27
#[test]
fn mail_that_vanishes_after_the_250_leaves_ehlo_and_quit() {
    let serve = Serve::with_mail();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    serve.postfix.lose_all();
    assert!(peer.take_mail().is_empty());
    peer.assert_ended();
}

/// Rules: R20
#[test]
fn a_second_session_of_a_customer_is_450_while_the_first_is_served() {
    let serve = Serve::with_mail();
    let mut first = Peer::logged_in(serve.address(), ALICE);
    let mut second = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(first.code("ATRN"), 250);
    assert_eq!(second.code("ATRN"), 450);
    assert_eq!(second.code("ATRN example.com"), 450);
    assert_eq!(first.take_mail().len(), 1);
    first.assert_ended();
    assert_eq!(
        until("the end of the first", || {
            Some(second.code("ATRN")).filter(|code| *code != 450)
        }),
        453
    );
}

/// Rules: R20
#[test]
fn a_customer_that_comes_back_too_soon_is_450() {
    let serve = Serve::start(Setup {
        keys: "retry_interval = \"1h\"".to_owned(),
        queue: vec![HELLO],
        ..Setup::default()
    });
    let mut peer = Peer::logged_in(serve.address(), BOB);
    // Only a session that was served counts.
    assert_eq!((peer.code("ATRN"), peer.code("ATRN")), (453, 453));
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail().len(), 1);
    peer.assert_ended();
    serve.postfix.queue(HELLO);
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 450);
}

/// Rules: R22
#[test]
fn a_queue_that_cannot_be_asked_is_451_and_the_session_stays_authenticated() {
    let mut serve = Serve::start(Setup {
        limits: "queue_time = \"1s\"",
        queue: vec![HELLO],
        ..Setup::default()
    });
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    serve.postfix.spoil("broken");
    assert_eq!(peer.code("ATRN"), 451);
    serve.process.logged("postqueue: fatal: broken");
    // R22's order: what is known to be denied is 450 all the same.
    assert_eq!(peer.code("ATRN example.net"), 450);
    serve.postfix.mend("broken");
    serve.postfix.spoil("slow");
    let started = Instant::now();
    assert_eq!(peer.code("ATRN"), 451);
    assert!(started.elapsed() < Duration::from_secs(20));
    serve.postfix.mend("slow");
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail().len(), 1);
}

/// Rules: R22
#[test]
fn a_mail_server_that_cannot_take_the_connection_is_451() {
    let mut serve = Serve::with_mail();
    std::fs::remove_file(serve.postfix.directory().join("private/scache")).unwrap();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 451);
    assert_eq!(peer.code("NOOP"), 250);
    serve.process.logged("cannot connect to");
}

/// Rules: C10
#[test]
fn two_customers_at_once_get_their_own_mail() {
    let serve = Serve::start(Setup {
        queue: vec![HELLO, FOR_BOB],
        ..Setup::default()
    });
    let address = serve.address();
    let fetch = |who| {
        std::thread::spawn(move || {
            let mut peer = Peer::logged_in(address, who);
            assert_eq!(peer.code("ATRN"), 250);
            peer.take_mail()
        })
    };
    let (alice, bob) = (fetch(ALICE), fetch(BOB));
    assert_eq!(alice.join().unwrap(), ["Subject: hello\n"]);
    assert_eq!(bob.join().unwrap(), ["Subject: for bob\n"]);
}

/// Rules: R25, B14
#[test]
fn a_customer_that_does_not_greet_is_told_quit_in_the_end() {
    let mut serve = Serve::start(Setup {
        limits: "greeting_time = \"200ms\"",
        queue: vec![HELLO],
        ..Setup::default()
    });
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.line().unwrap(), "QUIT");
    peer.send("221 bye\r\n");
    peer.assert_ended();
    let line = serve.process.logged("session closed");
    assert!(line.contains("the mail stays queued"), "{line}");
}
