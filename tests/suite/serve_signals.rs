//! Stopping and reloading the provider.

use crate::driver::{ALICE, ALICE_HOP, BOB, Message, Peer, Serve, Setup, accounts};
use nix::sys::signal::Signal;
use std::net::TcpStream;
use turnabout::sasl::Mechanism;

/// Rules: B12, B13
#[test]
fn sigterm_tells_421_to_every_session_that_is_not_turned() {
    let mut serve = Serve::start(Setup::default());
    let mut peers = [
        Peer::greeted(serve.address()),
        Peer::logged_in(serve.address(), ALICE),
        Peer::greeted(serve.address()),
    ];
    assert_eq!(peers[2].code("AUTH CRAM-MD5"), 334);
    serve.process.signal(Signal::SIGTERM);
    for peer in &mut peers {
        let (code, text) = peer.reply();
        assert_eq!(code, 421);
        assert!(text.starts_with("4.3.2 "), "{text}");
        peer.assert_ended();
    }
    let address = serve.address();
    let (status, log) = serve.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("stopped"), "{log}");
    assert!(TcpStream::connect(address).is_err());
}

/// Rules: B13
#[test]
fn sigterm_while_the_queue_is_asked_is_421_soon() {
    let mut serve = Serve::with_mail();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    serve.postfix.spoil("slow");
    peer.send("ATRN\r\n");
    crate::driver::until("the queue to be asked", || {
        serve.postfix.asked().contains("-j").then_some(())
    });
    serve.process.signal(Signal::SIGTERM);
    assert_eq!(peer.reply().0, 421);
    peer.assert_ended();
    assert_eq!(serve.process.ended().0.code(), Some(0));
    serve.postfix.mend("slow");
}

#[test]
fn sigterm_leaves_a_connection_with_the_mail_server_that_uses_it() {
    let mut serve = Serve::with_mail();
    serve.postfix.keep();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    peer.send("220 customer.example.org\r\n");
    assert!(peer.line().unwrap().starts_with("EHLO "));
    peer.send("250 customer.example.org\r\n");
    serve.process.logged("greeted");
    crate::driver::until("the flush", || {
        serve.postfix.asked().contains("-s ").then_some(())
    });
    serve.process.signal(Signal::SIGTERM);
    let (status, log) = serve.process.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("left with Postfix"), "{log}");
    // The mail server goes on with it as if nothing had happened.
    let mut server = serve.postfix.connection();
    server.send("QUIT\r\n");
    assert_eq!(peer.line().unwrap(), "QUIT");
    peer.send("221 bye\r\n");
    assert_eq!(server.reply().0, 221);
}

#[test]
fn sigterm_takes_an_idle_connection_back_and_says_quit() {
    let mut serve = Serve::start(Setup {
        postfix: "idle_time = \"1h\"",
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: "[127.77.0.99]:2525",
            text: "never sent",
        }],
        ..Setup::default()
    });
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    peer.send("220 customer.example.org\r\n");
    assert!(peer.line().unwrap().starts_with("EHLO "));
    peer.send("250 customer.example.org\r\n");
    crate::driver::until("the flush", || {
        serve.postfix.asked().contains("-s ").then_some(())
    });
    // Idle is what has been quiet for a moment.
    std::thread::sleep(std::time::Duration::from_millis(400));
    serve.process.signal(Signal::SIGTERM);
    assert_eq!(peer.line().unwrap(), "QUIT");
    peer.send("221 bye\r\n");
    peer.assert_ended();
    assert_eq!(serve.process.ended().0.code(), Some(0));
}

#[test]
fn a_new_password_is_valid_after_sighup_for_new_sessions_only() {
    let mut serve = Serve::start(Setup::default());
    let mut old = Peer::greeted(serve.address());
    serve.write_accounts(&accounts("another one"));
    serve.process.signal(Signal::SIGHUP);
    serve.process.logged("reloaded");
    let mut new = Peer::greeted(serve.address());
    assert_eq!(new.login(Mechanism::CramMd5, ("alice", "another one")), 235);
    assert_eq!(old.login(Mechanism::CramMd5, ALICE), 235);
    assert_eq!(old.code("ATRN"), 453);
}

#[test]
fn files_that_are_wrong_are_not_loaded_at_all() {
    let mut serve = Serve::start(Setup {
        limits: "bad_commands = 3",
        ..Setup::default()
    });
    let still_the_old = |serve: &Serve| {
        let mut peer = Peer::logged_in(serve.address(), ALICE);
        for _ in 0..3 {
            assert_eq!(peer.code("FOO"), 500);
        }
        assert_eq!(peer.code("FOO"), 421);
    };
    // A good configuration with bad accounts: neither is taken.
    serve.write_config(|setup| setup.limits = "bad_commands = 1");
    serve.write_accounts("[[account]]\nuser = 1\n");
    serve.process.signal(Signal::SIGHUP);
    let line = serve.process.logged("cannot reload");
    assert!(line.contains("accounts.toml:2:8"), "{line}");
    still_the_old(&serve);
    // Good accounts with another address to listen on: that needs a restart.
    serve.write_accounts(&accounts("another one"));
    serve.write_config(|setup| setup.listen = "\"127.0.0.1:0\", \"127.0.0.2:0\"");
    serve.process.signal(Signal::SIGHUP);
    let line = serve.process.logged("serve.listen changed");
    assert!(line.contains("restart"), "{line}");
    still_the_old(&serve);
    // A file that is no configuration.
    serve.write_config(|setup| {
        setup.listen = "\"127.0.0.1:0\"";
        setup.keys = "lisden = 1".to_owned();
    });
    serve.process.signal(Signal::SIGHUP);
    serve.process.logged("unknown key");
    still_the_old(&serve);
    // And all in order in the end.
    serve.write_config(|setup| setup.keys.clear());
    serve.process.signal(Signal::SIGHUP);
    serve.process.logged("reloaded");
    let mut peer = Peer::logged_in(serve.address(), BOB);
    assert_eq!((peer.code("FOO"), peer.code("FOO")), (500, 421));
}

#[test]
fn a_session_that_is_turned_goes_on_through_a_reload() {
    let mut serve = Serve::start(Setup {
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: ALICE_HOP,
            text: "Subject: hello",
        }],
        ..Setup::default()
    });
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    serve.write_accounts("");
    serve.process.signal(Signal::SIGHUP);
    serve.process.logged("reloaded");
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    peer.assert_ended();
}

/// Rules: B17
#[test]
fn sigterm_before_the_customer_has_greeted_is_quit_and_the_mail_stays() {
    let mut serve = Serve::with_mail();
    let mut peer = Peer::logged_in(serve.address(), ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    serve.process.logged("turned");
    serve.process.signal(Signal::SIGTERM);
    assert_eq!(peer.line().unwrap(), "QUIT");
    peer.send("221 bye\r\n");
    peer.assert_ended();
    let (status, log) = serve.process.ended();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("the mail stays queued"), "{log}");
    assert!(!serve.postfix.asked().contains("-s "));
}

/// Rules: B13, C11
#[test]
fn sigterm_does_not_wait_for_the_price_of_a_wrong_password() {
    let mut serve = Serve::start(Setup::default());
    let mut peer = Peer::greeted(serve.address());
    let login = std::thread::spawn(move || peer.login(Mechanism::CramMd5, ("alice", "wrong")));
    serve.process.logged("login refused");
    serve.process.signal(Signal::SIGTERM);
    assert_eq!(login.join().unwrap(), 421);
    assert_eq!(serve.process.ended().0.code(), Some(0));
}
