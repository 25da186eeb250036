//! The real provider under TLS: STARTTLS and implicit, its policies, the ways through the turn.

use crate::driver::{
    ALICE, ALICE_HOP, Message, Peer, Serve, Setup, Site, secured_at_once, until, write_pair,
};
use crate::tls_world::{Authority, BOTH, HOST, ONLY_12, params, raw_client};
use nix::sys::signal::Signal;
use turnabout::sasl::Mechanism;

pub const MAIL: Message = Message {
    recipient: "someone@example.org",
    next_hop: ALICE_HOP,
    text: "Subject: hello",
};

/// One message for alice is queued; the second address has implicit TLS.
fn both() -> Setup {
    Setup {
        keys: "listen_tls = [\"127.0.0.1:0\"]\n".to_owned(),
        queue: vec![MAIL],
        ..Setup::default()
    }
}

/// The lines of an EHLO reply.
fn offer(peer: &mut Peer) -> Vec<String> {
    let (code, text) = peer.ask("EHLO customer.example.org");
    assert_eq!(code, 250);
    text.lines().map(str::to_owned).collect()
}

fn auth(offer: &[String]) -> Option<&str> {
    offer.iter().find_map(|line| line.strip_prefix("AUTH "))
}

/// Rules: B51, B52, B71, B72, B56
#[test]
fn a_whole_session_over_starttls_and_one_over_implicit_tls() {
    let mut site = Site::start(both());
    for implicit in [false, true] {
        let mut peer = if implicit {
            site.serve.postfix.queue(MAIL);
            secured_at_once(site.serve.listening[1], site.client())
        } else {
            site.secured()
        };
        assert_eq!(peer.login(Mechanism::ScramSha256Plus, ALICE), 235);
        assert_eq!(peer.code("ATRN"), 250);
        assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
        peer.assert_ended();
        assert!(!peer.cut, "the end of TLS was not said");
    }
    let line = site.serve.process.logged("session closed");
    assert!(line.contains("mechanism=SCRAM-SHA-256-PLUS"), "{line}");
    assert!(line.contains("tls=\"TLS1.3 TLS_"), "{line}");
    let turned = site.serve.process.logged("INFO turned");
    let carried = |line: &str| line.split_once("carried=").unwrap().1.to_owned();
    assert!(
        ["relay", "kernel"]
            .iter()
            .any(|way| carried(&line).starts_with(way))
    );
    assert!(
        carried(&turned).starts_with("kernel") || turned.contains("why="),
        "{turned}"
    );
}

/// Rules: R8, B44, B46, B50, B52, C3, C16
#[test]
fn where_tls_is_required_nothing_of_value_comes_before_it() {
    let site = Site::start(both());
    let mut peer = Peer::connect(site.address());
    assert_eq!(peer.reply().0, 220);
    let clear = offer(&mut peer);
    assert!(clear.contains(&"STARTTLS".to_owned()) && clear.contains(&"ATRN".to_owned()));
    assert_eq!(auth(&clear), None);
    for (command, code) in [
        ("AUTH PLAIN AGFsaWNlAGNvcnJlY3QgaG9yc2UgYmF0dGVyeQ==", 530),
        ("AUTH CRAM-MD5", 530),
        ("ATRN", 530),
        ("VRFY alice", 530),
        ("NOOP", 250),
    ] {
        assert_eq!(peer.code(command), code, "{command}");
    }
    assert_eq!(peer.code("STARTTLS"), 220);
    peer.begin_tls(site.client(), HOST).unwrap();
    // What was said before is forgotten.
    assert_eq!(peer.code("AUTH CRAM-MD5"), 503);
    let inside = offer(&mut peer);
    assert!(!inside.contains(&"STARTTLS".to_owned()), "{inside:?}");
    assert_eq!(
        auth(&inside),
        Some("SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5 PLAIN")
    );
    assert_eq!(peer.code("STARTTLS"), 503);
    assert_eq!(peer.login(Mechanism::Plain, ALICE), 235);
    assert_eq!(peer.code("STARTTLS"), 503);
    assert_eq!(peer.code("QUIT"), 221);
    peer.assert_ended();
    assert!(!peer.cut);

    let mut implicit = secured_at_once(site.serve.listening[1], site.client());
    let inside = offer(&mut implicit);
    assert!(!inside.contains(&"STARTTLS".to_owned()), "{inside:?}");
    assert_eq!(implicit.code("STARTTLS"), 503);
    assert_eq!(implicit.login(Mechanism::Plain, ALICE), 235);
}

/// Rules: B35, B54
#[test]
fn where_tls_is_offered_passwords_travel_inside_only() {
    let site = Site::start(Setup {
        tls: "offered",
        ..both()
    });
    let mut peer = Peer::greeted(site.address());
    let clear = offer(&mut peer);
    assert!(clear.contains(&"STARTTLS".to_owned()));
    assert_eq!(auth(&clear), Some("SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5"));
    assert_eq!(peer.code("AUTH PLAIN AGFsaWNlAHBlbmNpbA=="), 504);
    assert_eq!(peer.login(Mechanism::CramMd5, ALICE), 235);
    assert_eq!(peer.code("STARTTLS"), 503);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    let mut secured = site.secured();
    assert_eq!(secured.login(Mechanism::Plain, ALICE), 235);
}

/// Rules: B53, B72
#[test]
fn tls_1_2_is_served_through_the_relay_and_without_channel_binding() {
    let mut site = Site::start(both());
    let config = raw_client(&site.authority.der, ONLY_12);
    let mut peer = site.secured_with(config);
    let inside = offer(&mut peer);
    let mechanisms = auth(&inside).unwrap();
    assert!(!mechanisms.contains("-PLUS"), "{mechanisms}");
    assert_eq!(peer.login(Mechanism::ScramSha256, ALICE), 235);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    peer.assert_ended();
    assert!(!peer.cut, "the end of TLS was not said");
    let line = site.serve.process.logged("INFO turned");
    assert!(
        line.contains("carried=relay")
            && line.contains("why=\"only TLS 1.3 can go to the kernel\""),
        "{line}"
    );
    let line = site.serve.process.logged("session closed");
    assert!(
        line.contains("tls=\"TLS1.2 ") && line.contains("carried=relay"),
        "{line}"
    );
}

#[test]
fn where_only_the_kernel_may_encrypt_a_session_that_it_cannot_carry_is_451() {
    let mut setup = both();
    setup.keys.push_str("handoff_tls = \"kernel\"\n");
    let mut site = Site::start(setup);
    let config = raw_client(&site.authority.der, ONLY_12);
    let mut peer = site.secured_with(config);
    assert_eq!(peer.login(Mechanism::ScramSha256, ALICE), 235);
    assert_eq!(peer.code("ATRN"), 451);
    let line = site.serve.process.logged("451: ");
    assert!(
        line.contains("cannot hand over in the kernel: only TLS 1.3 can go to the kernel (set serve.handoff_tls"),
        "{line}"
    );
    // Nothing was lost by the question.
    assert_eq!(peer.code("NOOP"), 250);
    assert_eq!(peer.code("QUIT"), 221);
}

/// Rules: C4, B59
#[test]
fn what_is_sent_behind_atrn_inside_tls_is_never_taken_for_the_greeting() {
    let site = Site::start(both());
    // In one record.
    let mut peer = site.secured();
    assert_eq!(peer.login(Mechanism::Plain, ALICE), 235);
    peer.send("ATRN\r\n220 me\r\n");
    assert_eq!((peer.reply().0, peer.reply().0), (503, 500));
    // In two records of one segment.
    let mut two = peer.record("ATRN\r\n");
    two.extend(peer.record("220 me\r\n"));
    std::io::Write::write_all(&mut peer.stream, &two).unwrap();
    assert_eq!((peer.reply().0, peer.reply().0), (503, 500));
    // Half a record: the rest of it is waited for, and not for ever.
    let early = peer.record("ATRN\r\n");
    let late = peer.record("220 me\r\n");
    let (half, rest) = late.split_at(late.len() / 2);
    std::io::Write::write_all(&mut peer.stream, &[&early, half].concat()).unwrap();
    assert_eq!(peer.reply().0, 503);
    std::io::Write::write_all(&mut peer.stream, rest).unwrap();
    assert_eq!(peer.reply().0, 500);
    // And in good order, the greeting in the moment the 250 is read.
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    peer.assert_ended();
}

/// Rules: B46
#[test]
fn a_customer_whose_mail_server_offers_starttls_inside_tls_is_a_warning() {
    let mut site = Site::start(both());
    let mut peer = site.secured();
    assert_eq!(peer.login(Mechanism::Plain, ALICE), 235);
    assert_eq!(peer.code("ATRN"), 250);
    peer.send("220 customer.example.org\r\n");
    assert!(peer.line().unwrap().starts_with("EHLO "));
    peer.send("250-customer.example.org\r\n250 STARTTLS\r\n");
    let line = site.serve.process.logged("offers STARTTLS inside TLS");
    assert!(line.contains("user=alice"), "{line}");
}

/// A turned connection that goes through the relay and stays with the mail server.
fn kept(site: &mut Site) -> (Peer, Peer) {
    site.serve.postfix.keep();
    let mut peer = site.secured();
    assert_eq!(peer.login(Mechanism::Plain, ALICE), 235);
    assert_eq!(peer.code("ATRN"), 250);
    peer.send("220 customer.example.org\r\n");
    assert!(peer.line().unwrap().starts_with("EHLO "));
    peer.send("250 customer.example.org\r\n");
    until("the flush", || {
        site.serve.postfix.asked().contains("-s ").then_some(())
    });
    (peer, site.serve.postfix.connection())
}

fn relayed(limits: &'static str) -> Site {
    let mut setup = both();
    setup.keys.push_str("handoff_tls = \"relay\"\n");
    Site::start(Setup { limits, ..setup })
}

/// Rules: B13, C7
#[test]
fn after_sigterm_the_relay_carries_its_sessions_to_their_end() {
    let mut site = relayed("");
    let (mut peer, mut server) = kept(&mut site);
    site.serve.process.signal(Signal::SIGTERM);
    site.serve
        .process
        .logged("waiting for connections that go through the relay");
    // The mail server goes on as if nothing had happened.
    server.send("NOOP\r\n");
    assert_eq!(peer.line().unwrap(), "NOOP");
    peer.send("250 ok\r\n");
    assert_eq!(server.reply().0, 250);
    server.send("QUIT\r\n");
    assert_eq!(peer.line().unwrap(), "QUIT");
    peer.send("221 bye\r\n");
    assert_eq!(server.reply().0, 221);
    drop(server);
    drop(peer);
    let (status, log) = site.serve.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("stopped while"), "{log}");
}

#[test]
fn after_sigterm_the_relay_is_not_waited_for_longer_than_the_operator_says() {
    let mut site = relayed("stop_time = \"300ms\"");
    let (_peer, _server) = kept(&mut site);
    site.serve.process.signal(Signal::SIGTERM);
    let (status, log) = site.serve.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("stopped while the relay was in use"), "{log}");
}

/// Rules: C12
#[test]
fn a_relay_that_goes_on_after_its_session_keeps_its_place_among_the_connections() {
    let mut setup = both();
    setup.keys.push_str("handoff_tls = \"relay\"\n");
    let mut site = Site::start(Setup {
        limits: "connections = 1",
        postfix: "total_time = \"1s\"",
        ..setup
    });
    let (mut peer, mut server) = kept(&mut site);
    let closing = site.serve.process.logged("left with Postfix");
    assert!(closing.contains("session closed"), "{closing}");
    assert_eq!(Peer::connect(site.address()).reply().0, 421);
    // The mail server has not finished.
    server.send("NOOP\r\n");
    assert_eq!(peer.line().unwrap(), "NOOP");
    drop(server);
    drop(peer);
    until("the place", || {
        (Peer::connect(site.address()).reply().0 == 220).then_some(())
    });
}

/// Rules: B57
#[test]
fn the_certificate_is_the_one_that_is_valid_for_the_name_that_was_asked_for() {
    let authority = Authority::new();
    let other = authority.issue(&params(&["other.example.com"]));
    let mut setup = both();
    setup.keys = "certificate = [\"DIR/cert.pem\", \"DIR/two/cert.pem\"]\n\
        key = [\"DIR/key.pem\", \"DIR/two/key.pem\"]\n"
        .to_owned();
    setup.tls = "required";
    let first = authority.issue(&params(&[HOST]));
    let mut serve = Serve::spawn_with(setup, |directory| {
        write_pair(directory, &first);
        let two = directory.join("two");
        std::fs::create_dir(&two).unwrap();
        write_pair(&two, &other);
    });
    serve.wait_until_ready();
    for (name, der) in [(HOST, &first.der), ("other.example.com", &other.der)] {
        let mut peer = Peer::greeted(serve.address());
        assert_eq!(peer.code("STARTTLS"), 220);
        peer.begin_tls(raw_client(&authority.der, BOTH), name)
            .unwrap();
        let shown = peer.tls.as_ref().unwrap().peer_certificates().unwrap();
        assert_eq!(&shown[0], der, "{name}");
    }
}
