//! SCRAM with a partner that does not keep to the rules.

use crate::sasl_by_hand::{auth_message, b64, field, proof, verifier};
use crate::sasl_exchange::server;
use proptest::prelude::*;
use turnabout::sasl::client::ClientExchange;
use turnabout::sasl::scram::ScramHash;
use turnabout::sasl::server::ServerStep;
use turnabout::sasl::{Mechanism, SaslError};

const PAIRS: [(Mechanism, ScramHash); 2] = [
    (Mechanism::ScramSha1, ScramHash::Sha1),
    (Mechanism::ScramSha256, ScramHash::Sha256),
];

fn text(step: ServerStep) -> String {
    let ServerStep::Challenge(challenge) = step else {
        panic!("{step:?}");
    };
    String::from_utf8(challenge).unwrap()
}

/// A client written out by hand logs in with `header` and whatever `change` makes of the last message.
fn by_hand(
    pair: (Mechanism, ScramHash),
    header: &str,
    change: impl Fn(String) -> String,
) -> ServerStep {
    let (mechanism, hash) = pair;
    let mut server = server(mechanism);
    let bare = "n=alice,r=clientnonce";
    let server_first = text(server.initial(Some(format!("{header}{bare}").as_bytes())));
    let nonce = field(&server_first, "r");
    assert!(nonce.len() > "clientnonce".len() + 16 && nonce.starts_with("clientnonce"));
    let without_proof = format!("c={},r={nonce}", b64(header.as_bytes()));
    let signed = auth_message(bare, &server_first, &without_proof);
    let proof = proof(hash, "pencil", &server_first, &signed);
    let step = server.response(change(format!("{without_proof},p={proof}")).as_bytes());
    if let ServerStep::Challenge(signature) = &step {
        let expected = verifier(hash, "pencil", &server_first, &signed);
        assert_eq!(signature, format!("v={expected}").as_bytes());
        return server.response(b"");
    }
    step
}

/// Rules: B68, B69, B70, B71
#[test]
fn our_server_agrees_with_a_client_written_by_hand() {
    for pair in PAIRS {
        for header in ["n,,", "y,,", "n,a=alice,", "y,a=alice,"] {
            let step = by_hand(pair, header, |last| last);
            assert_eq!(step, ServerStep::Verified("alice".into()), "{header}");
        }
    }
}

/// Rules: B70
#[test]
fn a_changed_last_message_is_no_login() {
    type Change = fn(String) -> String;
    let changes: [(&str, Change); 5] = [
        ("other nonce", |last| {
            last.replace("r=clientnonce", "r=clientnoncf")
        }),
        ("longer nonce", |last| last.replace(",p=", "x,p=")),
        ("only our own nonce", |last| {
            let (start, end) = last.split_once("r=").unwrap();
            format!("{start}r=clientnonce,p={}", field(end, "p"))
        }),
        ("other channel binding", |last| {
            last.replace("c=biws", "c=eSws")
        }),
        ("shorter proof", |last| {
            let proof = field(&last, "p");
            last.replace(&proof, "AAAA")
        }),
    ];
    for pair in PAIRS {
        for (what, change) in changes {
            let step = by_hand(pair, "n,,", change);
            assert_eq!(step, ServerStep::Rejected(SaslError::Denied), "{what}");
        }
    }
}

/// Rules: B65
#[test]
fn acting_for_somebody_else_is_refused() {
    for (mechanism, _) in PAIRS {
        let step = server(mechanism).initial(Some(b"n,a=bob,n=alice,r=clientnonce"));
        assert_eq!(step, ServerStep::Rejected(SaslError::Denied));
    }
}

/// Rules: B70
#[test]
fn a_first_message_of_another_shape_is_refused() {
    // Several of these are so short that a careless parser would slice beyond their end.
    for message in [
        "",
        "n",
        "n,",
        "n,,",
        "n,,,",
        "n,,n",
        "n,,n=",
        "n,,n=alice",
        "n,,n=alice,",
        "n,,n=alice,r",
        "n,,n=alice,r=",
        "n,,n=,r=x",
        "n,a,n=alice,r=x",
        "n,a=,n=alice,r=x",
        "n,b=alice,n=alice,r=x",
        "x,,n=alice,r=x",
        "p,,n=alice,r=x",
        "p=,,n=alice,r=x",
        "p=tls unique,,n=alice,r=x",
        "p=tls_unique,,n=alice,r=x",
        "n,,m=ext,n=alice,r=x",
        "n,,n=alice,r=x,m=ext",
        "n,,n=alice,r=x,t=ext",
        "n,,r=x,n=alice",
        "n,,n=ali=ce,r=x",
        "n,,n=ali=2c,r=x",
        "n,,n=ali=,r=x",
        "n,,n=ali=4D,r=x",
        "n,,n=alice,r=a b",
        "n,,n=alice,r=\u{e9}",
    ] {
        let step = server(Mechanism::ScramSha256).initial(Some(message.as_bytes()));
        assert!(
            matches!(step, ServerStep::Rejected(SaslError::Malformed(_))),
            "{message:?} {step:?}"
        );
    }
    let step = server(Mechanism::ScramSha256).initial(Some(b"n,,n=\xff,r=x"));
    assert!(matches!(
        step,
        ServerStep::Rejected(SaslError::Malformed(_))
    ));
}

/// Rules: B70
#[test]
fn a_last_message_of_another_shape_is_refused() {
    for message in [
        "",
        "c",
        "c=",
        "c=biws",
        "c=biws,r",
        "c=biws,r=x,",
        "c=biws,r=x,p",
        "c=biws,r=x,p=",
        "c=biws,r=x,p=***",
        "c=biws,r=x,e=y,p=AAAA",
        "c=biws,r=x,m=y,p=AAAA",
        "c=b,r=x,p=AAAA",
        "r=x,c=biws,p=AAAA",
        "c=biws,r=x,p=AAAA,q=1",
        "c=====,r=x,p=AAAA",
    ] {
        let mut server = server(Mechanism::ScramSha1);
        text(server.initial(Some(b"n,,n=alice,r=clientnonce")));
        let step = server.response(message.as_bytes());
        assert!(
            matches!(step, ServerStep::Rejected(SaslError::Malformed(_))),
            "{message:?} {step:?}"
        );
        assert_eq!(server.response(b""), ServerStep::Rejected(SaslError::Over));
    }
}

fn scram_client() -> (ClientExchange, String) {
    let mut client =
        ClientExchange::start(Mechanism::ScramSha256, "alice", &"pencil".into()).unwrap();
    let first = client.initial().unwrap().unwrap();
    let first = String::from_utf8(first.to_vec()).unwrap();
    (client, first)
}

/// A server written out by hand: the client's last message, and the right signature for it.
fn server_by_hand(iterations: u32) -> (ClientExchange, Result<String, SaslError>, String) {
    let (mut client, first) = scram_client();
    let bare = first.strip_prefix("n,,").unwrap();
    let nonce = field(bare, "r");
    let server_first = format!("r={nonce}servernonce,s={},i={iterations}", b64(b"salt"));
    let last = client
        .challenge(server_first.as_bytes())
        .map(|last| String::from_utf8(last.to_vec()).unwrap());
    let signed = last.as_ref().map_or_else(
        |_| Vec::new(),
        |last| auth_message(bare, &server_first, last.rsplit_once(",p=").unwrap().0),
    );
    let signature = if last.is_ok() {
        verifier(ScramHash::Sha256, "pencil", &server_first, &signed)
    } else {
        String::new()
    };
    (client, last, signature)
}

/// Rules: B68, B69
#[test]
fn our_client_agrees_with_a_server_written_by_hand() {
    let (mut client, last, signature) = server_by_hand(5000);
    assert!(last.unwrap().starts_with("c=biws,r="));
    assert!(
        client
            .challenge(format!("v={signature}").as_bytes())
            .unwrap()
            .is_empty()
    );
    client.finish().unwrap();
}

/// Rules: B69
#[test]
fn a_server_without_its_signature_is_not_believed() {
    let (mut client, _, _) = server_by_hand(4096);
    assert_eq!(client.finish(), Err(SaslError::ServerNotVerified));
    for wrong in ["v=", "v", "", "x=AAAA", "v=***"] {
        let (mut client, _, _) = server_by_hand(4096);
        assert!(client.challenge(wrong.as_bytes()).is_err(), "{wrong}");
        assert_eq!(
            client.finish(),
            Err(SaslError::ServerNotVerified),
            "{wrong}"
        );
    }
    for (wrong, error) in [
        (format!("v={}", b64(&[0; 32])), SaslError::ServerNotVerified),
        ("v=AAAA".to_owned(), SaslError::ServerNotVerified),
        ("e=invalid-proof".to_owned(), SaslError::Denied),
    ] {
        let (mut client, _, _) = server_by_hand(4096);
        assert_eq!(client.challenge(wrong.as_bytes()), Err(error), "{wrong}");
        assert_eq!(
            client.finish(),
            Err(SaslError::ServerNotVerified),
            "{wrong}"
        );
    }
}

/// Rules: B68
#[test]
fn too_few_and_too_many_iterations_are_refused_before_any_work() {
    for iterations in [0, 1, 4095, 1_000_001, u32::MAX] {
        let begin = std::time::Instant::now();
        let (mut client, last, _) = server_by_hand(iterations);
        assert_eq!(last, Err(SaslError::Iterations(iterations)));
        assert_eq!(client.finish(), Err(SaslError::ServerNotVerified));
        assert!(begin.elapsed().as_secs() < 5);
    }
}

/// Rules: B70
#[test]
fn a_servers_first_message_of_another_shape_is_refused() {
    for message in [
        "",
        "r",
        "r=",
        "r=NONCE",
        "r=NONCEx,s",
        "r=NONCEx,s=,i=4096",
        "r=NONCEx,s=QSXC,i",
        "r=NONCEx,s=QSXC,i=",
        "r=NONCEx,s=QSXC,i=+4096",
        "r=NONCEx,s=QSXC,i=4096,m=x",
        "r=NONCEx,s=QSXC,i=4096,x=y",
        "m=x,r=NONCEx,s=QSXC,i=4096",
        "r=other,s=QSXC,i=4096",
        "r=NONCE,s=QSXC,i=4096",
        "r=NONCEx,s=***,i=4096",
        "s=QSXC,r=NONCEx,i=4096",
    ] {
        let (mut client, first) = scram_client();
        let message = message.replace("NONCE", &field(&first, "r"));
        let answer = client.challenge(message.as_bytes());
        assert!(
            matches!(answer, Err(SaslError::Malformed(_))),
            "{message} {answer:?}"
        );
        assert_eq!(client.challenge(b"v=AAAA"), Err(SaslError::Over));
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64),
        "[nyp]?,?(a=?)?,?(n=)?[a-z=]{0,4},?(r=)?[ -~]{0,8}".prop_map(String::into_bytes),
        "(c=)?[A-Za-z0-9+/=]{0,8},?(r=)?[ -~]{0,8},?(p=)?[A-Za-z=]{0,8}"
            .prop_map(String::into_bytes),
        "(r=)?[ -~]{0,8},?(s=)?[A-Za-z=]{0,8},?(i=)?[0-9]{0,12}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn no_message_makes_the_server_panic(first in bytes(), second in bytes(), third in bytes()) {
        for mechanism in Mechanism::ALL {
            let mut server = server(mechanism);
            server.initial(Some(&first));
            server.response(&second);
            server.response(&third);
        }
    }

    #[test]
    fn no_last_message_makes_the_server_panic(last in bytes()) {
        let mut server = server(Mechanism::ScramSha1);
        server.initial(Some(b"n,,n=alice,r=clientnonce"));
        let step = server.response(&last);
        prop_assert!(matches!(step, ServerStep::Rejected(_)), "{:?}", step);
    }

    #[test]
    fn no_message_makes_the_client_panic(first in bytes(), second in bytes()) {
        for mechanism in Mechanism::WITHOUT_TLS {
            let mut client = ClientExchange::start(mechanism, "alice", &"pencil".into()).unwrap();
            client.initial().unwrap();
            drop(client.challenge(&first));
            drop(client.challenge(&second));
            if mechanism == Mechanism::ScramSha1 || mechanism == Mechanism::ScramSha256 {
                prop_assert_eq!(client.finish(), Err(SaslError::ServerNotVerified));
            }
        }
    }
}
