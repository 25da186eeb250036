//! The real provider under TLS: STARTTLS and implicit, its policies, and what a handshake may cost.

use crate::driver::{ALICE, ALICE_HOP, Message, Peer, Setup, Site, secured_at_once};
use crate::tls_world::{BOTH, HOST, raw_client};
use turnabout::sasl::Mechanism;

/// Both kinds of listeners; the second address is the implicit one.
fn both() -> Setup {
    Setup {
        keys: "listen_tls = [\"127.0.0.1:0\"]\n".to_owned(),
        queue: vec![Message {
            recipient: "someone@example.org",
            next_hop: ALICE_HOP,
            text: "Subject: hello",
        }],
        ..Setup::default()
    }
}

/// Rules: B51, B52
#[test]
fn a_whole_session_over_starttls_and_one_over_implicit_tls() {
    let mut site = Site::start(both());
    for implicit in [false, true] {
        let mut peer = if implicit {
            site.serve.postfix.queue(Message {
                recipient: "someone@example.org",
                next_hop: ALICE_HOP,
                text: "Subject: hello",
            });
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
    assert!(line.contains("tls=\"TLS1.3 "), "{line}");
    assert!(line.contains("carried="), "{line}");
    let _ = (BOTH, HOST, raw_client);
    let _ = Peer::connect;
}
