//! Channel binding: SCRAM-*-PLUS on both sides, against a partner written out by hand, and against thieves in the middle.

use crate::sasl_by_hand::{Alice, auth_message, b64, field, proof, unb64, verifier};
use crate::sasl_exchange::seed;
use proptest::prelude::*;
use std::sync::Arc;
use turnabout::sasl::client::ClientExchange;
use turnabout::sasl::scram::ScramHash;
use turnabout::sasl::server::{ServerExchange, ServerStep};
use turnabout::sasl::{Channel, ChannelBinding, Mechanism, SaslError};

const PLUS: [(Mechanism, ScramHash); 2] = [
    (Mechanism::ScramSha1Plus, ScramHash::Sha1),
    (Mechanism::ScramSha256Plus, ScramHash::Sha256),
];

const OURS: [u8; 32] = *b"the exporter of this connection!";
const THEIRS: [u8; 32] = *b"the exporter of the thief's own!";

fn binding() -> ChannelBinding {
    OURS.into()
}

fn server(mechanism: Mechanism, binding: Option<&ChannelBinding>) -> ServerExchange {
    ServerExchange::start(mechanism, &seed(), Arc::new(Alice), binding).unwrap()
}

fn client(mechanism: Mechanism, channel: &Channel) -> ClientExchange {
    ClientExchange::start_on(channel, mechanism, "alice", &"pencil".into()).unwrap()
}

fn refused(step: &ServerStep) -> bool {
    matches!(step, ServerStep::Rejected(SaslError::ChannelBinding(_)))
}

/// A client written out by hand that knows the password, says `header`, and signs `header` and `bound` with it.
fn by_hand(
    (mechanism, hash): (Mechanism, ScramHash),
    header: &str,
    bound: &[u8],
    password: &str,
) -> ServerStep {
    let mut server = server(mechanism, Some(&binding()));
    let bare = "n=alice,r=clientnonce";
    let first = match server.initial(Some(format!("{header}{bare}").as_bytes())) {
        ServerStep::Challenge(first) => String::from_utf8(first).unwrap(),
        other => return other,
    };
    let channel = [header.as_bytes(), bound].concat();
    let without_proof = format!("c={},r={}", b64(&channel), field(&first, "r"));
    let signed = auth_message(bare, &first, &without_proof);
    let proof = proof(hash, password, &first, &signed);
    let step = server.response(format!("{without_proof},p={proof}").as_bytes());
    if let ServerStep::Challenge(signature) = &step {
        let expected = verifier(hash, "pencil", &first, &signed);
        assert_eq!(signature, format!("v={expected}").as_bytes());
        return server.response(b"");
    }
    step
}

/// Rules: B71, B72, B70
#[test]
fn our_server_agrees_with_a_bound_client_written_by_hand() {
    for pair in PLUS {
        for header in ["p=tls-exporter,,", "p=tls-exporter,a=alice,"] {
            let step = by_hand(pair, header, &OURS, "pencil");
            assert_eq!(step, ServerStep::Verified("alice".into()), "{header}");
        }
    }
}

/// The thief in the middle has a certificate that the client believes, and passes everything on.
///
/// Rules: B70, B71
#[test]
fn a_client_that_is_bound_to_another_connection_is_refused() {
    let mut longer = OURS.to_vec();
    longer.push(b'!');
    for pair in PLUS {
        for other in [&THEIRS[..], &OURS[..31], &longer, &[], &[0; 32]] {
            let step = by_hand(pair, "p=tls-exporter,,", other, "pencil");
            assert!(refused(&step), "{other:?} {step:?}");
        }
    }
}

/// Rules: B70
#[test]
fn a_header_other_than_the_one_that_was_sent_is_refused() {
    let mut server = server(Mechanism::ScramSha256Plus, Some(&binding()));
    let bare = "n=alice,r=clientnonce";
    let ServerStep::Challenge(first) =
        server.initial(Some(format!("p=tls-exporter,,{bare}").as_bytes()))
    else {
        panic!();
    };
    let first = String::from_utf8(first).unwrap();
    // The binding is right and the header is not.
    let channel = [b"p=tls-exporter,a=alice,".as_slice(), &OURS].concat();
    let without_proof = format!("c={},r={}", b64(&channel), field(&first, "r"));
    let signed = auth_message(bare, &first, &without_proof);
    let proof = proof(ScramHash::Sha256, "pencil", &first, &signed);
    assert!(refused(
        &server.response(format!("{without_proof},p={proof}").as_bytes())
    ));
}

/// Rules: B32, B74
#[test]
fn a_wrong_password_on_the_right_connection_is_only_denied() {
    for pair in PLUS {
        let step = by_hand(pair, "p=tls-exporter,,", &OURS, "wrong");
        assert_eq!(step, ServerStep::Rejected(SaslError::Denied));
    }
}

/// Rules: B71, B72
#[test]
fn no_other_type_of_binding_is_taken() {
    for pair in PLUS {
        for kind in [
            "tls-unique",
            "tls-server-end-point",
            "TLS-EXPORTER",
            "tls-exporter2",
            "x",
        ] {
            let step = by_hand(pair, &format!("p={kind},,"), &OURS, "pencil");
            assert!(refused(&step), "{kind} {step:?}");
        }
    }
}

/// Rules: B71
#[test]
fn the_flag_has_to_fit_the_mechanism_and_the_offer() {
    let first = |mechanism, offered: bool, flag: &str| {
        let binding = binding();
        let mut server = server(mechanism, offered.then_some(&binding));
        server.initial(Some(format!("{flag},,n=alice,r=clientnonce").as_bytes()))
    };
    for (plus, plain) in [
        (Mechanism::ScramSha1Plus, Mechanism::ScramSha1),
        (Mechanism::ScramSha256Plus, Mechanism::ScramSha256),
    ] {
        // -PLUS without binding; binding without -PLUS; and the client from which -PLUS was hidden.
        for (mechanism, offered, flag) in [
            (plus, true, "n"),
            (plus, true, "y"),
            (plus, false, "p=tls-exporter"),
            (plain, true, "p=tls-exporter"),
            (plain, false, "p=tls-exporter"),
            (plain, true, "y"),
        ] {
            let step = first(mechanism, offered, flag);
            assert!(refused(&step), "{mechanism} {offered} {flag}: {step:?}");
        }
        for (offered, flag) in [(true, "n"), (false, "n"), (false, "y")] {
            let step = first(plain, offered, flag);
            assert!(
                matches!(step, ServerStep::Challenge(_)),
                "{plain} {offered} {flag}: {step:?}"
            );
        }
    }
}

/// Nothing about the user may show from how a downgrade is refused.
///
/// Rules: B71, B74
#[test]
fn a_downgrade_is_refused_before_the_user_is_looked_up() {
    #[derive(Debug)]
    struct Never;
    impl turnabout::sasl::server::ScramKeys for Never {
        fn lookup(&self, _: &str, _: ScramHash) -> turnabout::sasl::scram::ScramStored {
            panic!("looked up");
        }
    }
    let binding = binding();
    for (mechanism, flag) in [
        (Mechanism::ScramSha256, "y"),
        (Mechanism::ScramSha256Plus, "n"),
        (Mechanism::ScramSha256Plus, "p=tls-unique"),
    ] {
        let mut server =
            ServerExchange::start(mechanism, &seed(), Arc::new(Never), Some(&binding)).unwrap();
        let step = server.initial(Some(format!("{flag},,n=alice,r=x").as_bytes()));
        assert!(refused(&step), "{step:?}");
    }
}

fn first(client: &mut ClientExchange) -> String {
    String::from_utf8(client.initial().unwrap().unwrap().to_vec()).unwrap()
}

/// Rules: B69, B71, B72
#[test]
fn our_client_agrees_with_a_bound_server_written_by_hand() {
    for (mechanism, hash) in PLUS {
        let mut client = client(mechanism, &Channel::Bound(binding()));
        let first = first(&mut client);
        let bare = first.strip_prefix("p=tls-exporter,,").unwrap();
        let server_first = format!(
            "r={}servernonce,s={},i=4096",
            field(bare, "r"),
            b64(b"salt")
        );
        let last = client.challenge(server_first.as_bytes()).unwrap();
        let last = String::from_utf8(last.to_vec()).unwrap();
        let channel = [b"p=tls-exporter,,".as_slice(), &OURS].concat();
        assert_eq!(unb64(&field(&last, "c")), channel);
        let (without_proof, sent) = last.rsplit_once(",p=").unwrap();
        let signed = auth_message(bare, &server_first, without_proof);
        assert_eq!(sent, proof(hash, "pencil", &server_first, &signed));
        let signature = verifier(hash, "pencil", &server_first, &signed);
        let answer = client.challenge(format!("v={signature}").as_bytes());
        assert!(answer.unwrap().is_empty());
        client.finish().unwrap();
    }
}

/// Rules: B71
#[test]
fn our_client_says_whether_it_could_bind() {
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
        for (channel, header) in [(Channel::Unbound, "n,,"), (Channel::NotOffered, "y,,")] {
            let mut client = client(mechanism, &channel);
            let first = first(&mut client);
            assert!(first.starts_with(&format!("{header}n=alice,r=")), "{first}");
            // The server sees in the last message that nobody has changed that.
            let server_first = format!("r={}x,s=c2FsdA==,i=4096", field(&first, "r"));
            let last = client.challenge(server_first.as_bytes()).unwrap();
            let last = String::from_utf8(last.to_vec()).unwrap();
            assert_eq!(unb64(&field(&last, "c")), header.as_bytes());
        }
    }
}

/// Runs both to the end on connections with these bindings.
fn run(mechanism: Mechanism, ours: [u8; 32], theirs: [u8; 32]) -> (ServerStep, ClientExchange) {
    let theirs = ChannelBinding::from(theirs);
    let mut server = server(mechanism, Some(&theirs));
    let mut client = client(mechanism, &Channel::Bound(ours.into()));
    let initial = client.initial().unwrap();
    let mut step = server.initial(initial.as_deref().map(Vec::as_slice));
    while let ServerStep::Challenge(challenge) = &step {
        step = server.response(&client.challenge(challenge).unwrap());
    }
    (step, client)
}

/// Rules: B70, B71
#[test]
fn our_client_and_our_server_agree_on_one_connection_and_not_on_two() {
    for (mechanism, _) in PLUS {
        let (step, mut client) = run(mechanism, OURS, OURS);
        assert_eq!(step, ServerStep::Verified("alice".into()));
        client.finish().unwrap();
        let (step, mut client) = run(mechanism, OURS, THEIRS);
        assert!(refused(&step), "{step:?}");
        assert_eq!(client.finish(), Err(SaslError::ServerNotVerified));
    }
}

/// Rules: B71
#[test]
fn our_client_begins_the_bound_form_with_a_binding_and_no_other() {
    let start = |channel: &Channel, mechanism| {
        ClientExchange::start_on(channel, mechanism, "alice", &"pencil".into()).map(|_| ())
    };
    for (plus, plain) in [
        (Mechanism::ScramSha1Plus, Mechanism::ScramSha1),
        (Mechanism::ScramSha256Plus, Mechanism::ScramSha256),
    ] {
        for channel in [Channel::Unbound, Channel::NotOffered] {
            assert_eq!(start(&channel, plus), Err(SaslError::Unavailable));
            assert_eq!(start(&channel, plain), Ok(()));
        }
        let bound = Channel::Bound(binding());
        assert_eq!(start(&bound, plus), Ok(()));
        assert_eq!(start(&bound, plain), Err(SaslError::Unavailable));
    }
}

/// Rules: C16
#[test]
fn no_binding_shows_in_debug_output() {
    let channel = Channel::Bound(binding());
    let (mut server, mut client) = (
        server(Mechanism::ScramSha256Plus, Some(&binding())),
        client(Mechanism::ScramSha256Plus, &channel),
    );
    let mut shown = format!("{:?}{channel:?}{server:?}{client:?}", binding());
    let first = client.initial().unwrap().unwrap();
    let step = server.initial(Some(&first));
    shown.push_str(&format!("{step:?}{server:?}{client:?}"));
    let octets = format!("{:?}", &OURS[..4]);
    for secret in [octets.trim_matches(['[', ']']), "exporter", &b64(&OURS)] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64),
        "p?=?(tls-exporter)?,?(a=?)?,?(n=)?[a-z=]{0,4},?(r=)?[ -~]{0,8}"
            .prop_map(String::into_bytes),
        "(c=)?[A-Za-z0-9+/=]{0,8},?(r=)?[ -~]{0,8},?(p=)?[A-Za-z=]{0,8}"
            .prop_map(String::into_bytes),
        "(r=)?[ -~]{0,8},?(s=)?[A-Za-z=]{0,8},?(i=)?[0-9]{0,12}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #[test]
    fn no_message_makes_a_bound_exchange_panic(first in message(), second in message(), good in any::<bool>()) {
        let binding = binding();
        for mechanism in [Mechanism::External, Mechanism::ScramSha1Plus, Mechanism::ScramSha256Plus] {
            let mut server = server(mechanism, Some(&binding));
            if good {
                server.initial(Some(b"p=tls-exporter,,n=alice,r=clientnonce"));
            }
            server.initial(Some(&first));
            let step = server.response(&second);
            prop_assert!(matches!(step, ServerStep::Rejected(_) | ServerStep::Challenge(_)), "{:?}", step);
        }
        let mut client = client(Mechanism::ScramSha1Plus, &Channel::Bound(binding));
        client.initial().unwrap();
        drop(client.challenge(&first));
        drop(client.challenge(&second));
        prop_assert_eq!(client.finish(), Err(SaslError::ServerNotVerified));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// One octet is enough.
    ///
    /// Rules: B70, B71
    #[test]
    fn any_other_octet_in_the_binding_is_noticed(at in 0_usize..32, by in 1_u8..=255) {
        let mut other = OURS;
        other[at] ^= by;
        let step = by_hand(PLUS[0], "p=tls-exporter,,", &other, "pencil");
        prop_assert!(refused(&step), "{:?}", step);
    }
}
