//! The customer's hand-off to a running Postfix, a `pass` service played by the test.

use crate::driver::{Fetch, Peer, Receiver, opened, scripted, scripted_at};
use crate::fetch_talk::outcome;
use std::net::TcpStream;

/// Rules: R25, R27, C9
#[test]
fn the_mail_server_gets_the_connection_and_the_peers_address_and_the_mail() {
    let run = Fetch::pass("/later".as_ref());
    let receiver = Receiver::start(run.directory.path());
    let run = Fetch {
        directory: run.directory,
        ..Fetch::pass(&receiver.socket)
    };
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        assert_eq!(peer.reply().0, 220);
        assert_eq!(peer.code("EHLO provider.example.com"), 250);
        peer.give_mail("someone@example.org", "Subject: hello");
        assert_eq!(peer.code("QUIT"), 221);
        peer.assert_ended();
        let stream = &peer.stream;
        (stream.local_addr().unwrap(), stream.peer_addr().unwrap())
    });
    let server = std::thread::spawn(move || {
        let passed = receiver.next();
        let mut server = Peer::new(TcpStream::from(passed.connection));
        let messages = server.take_mail();
        (passed.attributes, messages)
    });
    let (code, said) = outcome(&run.run(address));
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("turned, handed over by postfix-pass, session ended"),
        "{said}"
    );
    let (theirs, ours) = provider.join().unwrap();
    let (attributes, messages) = server.join().unwrap();
    let expected = [
        ("client_address", "127.0.0.1".to_owned()),
        ("client_port", theirs.port().to_string()),
        ("server_address", "127.0.0.1".to_owned()),
        ("server_port", ours.port().to_string()),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(attributes, expected);
    assert_eq!(messages, ["Subject: hello\n"]);
}

/// Rules: C9
#[test]
fn ipv6_addresses_are_told_without_brackets() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let (address, provider) = scripted_at("[::1]:0", |mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("250 turning\r\n");
        peer.rest();
    });
    let run = Fetch::pass(&receiver.socket);
    let fetch = std::thread::spawn(move || run.run(address));
    let passed = receiver.next();
    let port = address.port().to_string();
    let expected = [
        ("client_address", "::1"),
        ("client_port", port.as_str()),
        ("server_address", "::1"),
    ];
    for ((name, value), (found, has)) in expected.iter().zip(&passed.attributes) {
        assert_eq!((*name, *value), (found.as_str(), has.as_str()));
    }
    drop(passed.connection);
    assert_eq!(outcome(&fetch.join().unwrap()).0, 0);
    provider.join().unwrap();
}

#[test]
fn without_mail_the_mail_server_hears_nothing_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("453 no mail\r\n");
        peer.line().unwrap();
        peer.send("221 bye\r\n");
    });
    let (code, said) = outcome(&Fetch::pass(&receiver.socket).run(address));
    assert_eq!(code, 0, "{said}");
    provider.join().unwrap();
    assert_eq!(receiver.calls(), 0);
}

/// Rules: R26
#[test]
fn a_mail_server_that_stops_before_the_250_is_a_421_to_the_provider() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let socket = receiver.socket.clone();
    let (address, provider) = scripted(move |mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        std::fs::remove_file(&socket).unwrap();
        peer.send("250 turning\r\n");
        peer.rest()
    });
    let (code, said) = outcome(&Fetch::pass(&receiver.socket).run(address));
    assert_eq!(code, 75);
    assert!(said.contains("cannot connect to "), "{said}");
    let greeting = provider.join().unwrap();
    assert!(
        greeting.starts_with("421 customer.example.org "),
        "{greeting}"
    );
    assert_eq!(greeting.lines().count(), 1);
}

/// Rules: C5
#[test]
fn an_injected_command_never_reaches_the_mail_server() {
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("250 ok\r\nEHLO x\r\n");
        peer.rest()
    });
    assert_eq!(outcome(&Fetch::pass(&receiver.socket).run(address)).0, 76);
    assert_eq!(provider.join().unwrap(), "");
    assert_eq!(receiver.calls(), 0);
}

#[test]
fn what_is_no_stream_socket_is_refused_before_atrn() {
    let directory = tempfile::tempdir().unwrap();
    let datagram = directory.path().join("datagram");
    let _socket = std::os::unix::net::UnixDatagram::bind(&datagram).unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "").unwrap();
    for path in [&datagram, &file] {
        let (address, provider) = scripted(|mut peer| {
            opened(&mut peer);
            let last = peer.line().unwrap();
            peer.send("221 bye\r\n");
            last
        });
        let (code, said) = outcome(&Fetch::pass(path).run(address));
        assert_eq!(code, 75, "{said}");
        assert_eq!(provider.join().unwrap(), "QUIT");
    }
}
