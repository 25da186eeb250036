//! The real customer under TLS, against a provider that the test plays with the TLS library itself.

use crate::driver::{Fetch, Peer, Receiver, opened_in_tls, scripted, start_tls};
use crate::tls_world::{Authority, BOTH, Issued, params, raw_server};
use std::net::SocketAddr;
use std::process::Output;

/// An authority, and a certificate of 127.0.0.1.
struct World {
    authority: Authority,
    issued: Issued,
}

impl World {
    fn new() -> World {
        let authority = Authority::new();
        let issued = authority.issue(&params(&["127.0.0.1"]));
        World { authority, issued }
    }

    /// The options of a customer that believes the authority.
    fn trusted(&self, fetch: Fetch) -> Fetch {
        let file = fetch.path("ca.pem");
        std::fs::write(&file, &self.authority.pem).unwrap();
        let fetch = Fetch {
            tls: "starttls",
            ..fetch
        };
        let file = file.to_str().unwrap().to_owned();
        fetch.with(&["--ca-file", &file, "--handoff-tls", "relay"])
    }
}

/// Exit code and standard output.
fn outcome(output: &Output) -> (i32, String) {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code().unwrap(), said)
}

#[test]
fn a_whole_session_over_starttls_goes_to_the_mail_server_through_the_relay() {
    let world = World::new();
    let config = raw_server(&world.issued, BOTH);
    let (address, provider) = scripted(move |mut peer| {
        start_tls(&mut peer, config).unwrap();
        opened_in_tls(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        let (code, text) = peer.reply();
        peer.send("QUIT\r\n");
        assert_eq!(peer.reply().0, 221);
        peer.end_tls();
        peer.assert_ended();
        (code, text, peer.cut)
    });
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let server = std::thread::spawn(move || {
        let passed = receiver.next();
        let mut server = Peer::new(std::net::TcpStream::from(passed.connection));
        server.send("220 customer.example.org\r\n");
        assert_eq!(server.line().unwrap(), "QUIT");
        server.send("221 bye\r\n");
        passed.attributes
    });
    let socket = directory.path().join("odmr");
    let output = world.trusted(Fetch::pass(&socket)).run(address);
    let (code, said) = outcome(&output);
    assert_eq!(code, 0, "{said}{output:?}");
    assert!(
        said.contains("turned, relayed to postfix-pass, session ended"),
        "{said}"
    );
    let (greeted, text, cut) = provider.join().unwrap();
    assert_eq!((greeted, text.as_str()), (220, "customer.example.org"));
    assert!(!cut, "the end of TLS was not said");
    let attributes = server.join().unwrap();
    let peer = |address: SocketAddr| ("client_port".to_owned(), address.port().to_string());
    assert!(attributes.contains(&peer(address)), "{attributes:?}");
}
