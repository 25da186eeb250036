//! The provider's machine where a transcript cannot reach: SCRAM, late bytes, misuse, and what holds for any input.

use crate::odmr_world::{World, domains, plain, reply};
use proptest::prelude::*;
use std::collections::BTreeSet;
use turnabout::odmr::Direction;
use turnabout::odmr::provider::{Action, Provider, QueueAnswer, Verdict};
use turnabout::sasl::client::ClientExchange;
use turnabout::sasl::{Mechanism, Secret};
use turnabout::smtp::{COMMAND_LIMIT, EXCHANGE_LIMIT, Line, LineError, Reply, base64};

fn scram(mechanism: Mechanism, password: &str) -> (World, Provider, Reply) {
    let mut world = World::usual();
    world.mechanisms = vec![mechanism];
    let mut provider = world.provider();
    world.ask(&mut provider, "EHLO customer.example.org");
    let mut client = ClientExchange::start(mechanism, "alice", &Secret::from(password)).unwrap();
    let first = client.initial().unwrap().unwrap();
    let command = format!("AUTH {mechanism} {}", base64::encode(&first).as_str());
    let mut said = world.ask(&mut provider, &command);
    while said.code == 334 {
        let challenge = base64::decode(said.text().as_bytes()).unwrap();
        let answer = client.challenge(&challenge).unwrap();
        said = world.ask(&mut provider, base64::encode(&answer).as_str());
    }
    if said.code == 235 {
        client.finish().unwrap();
    }
    (world, provider, said)
}

/// Rules: R10, R11, B68, B69
#[test]
fn scram_logs_in_and_looks_up_what_the_user_may_fetch() {
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
        let (world, mut provider, said) = scram(mechanism, "secret");
        assert_eq!(said.code, 235, "{mechanism}");
        assert_eq!(
            (provider.user(), provider.mechanism()),
            (Some("alice"), Some(mechanism))
        );
        assert_eq!(
            world
                .ask(&mut provider, "ATRN example.org,mallory.example")
                .code,
            450
        );
        assert_eq!(world.ask(&mut provider, "ATRN example.org").code, 250);
    }
}

/// Rules: B32, C11
#[test]
fn scram_with_a_wrong_password_is_535_and_counts() {
    let (world, mut provider, said) = scram(Mechanism::ScramSha256, "wrong");
    assert_eq!((said.code, provider.auth_failures()), (535, 1));
    assert_eq!(provider.user(), None);
    assert_eq!(world.ask(&mut provider, "ATRN").code, 530);
}

/// Rules: R24, R17, R23
#[test]
fn a_turn_says_who_may_have_what_and_that_we_are_the_client_now() {
    let world = World::usual();
    let mut provider = world.alice();
    let Action::Turn(said, turned) = world.tell(&mut provider, "ATRN") else {
        panic!("did not turn");
    };
    assert_eq!(said.code, 250);
    assert_eq!(turned.user(), "alice");
    assert_eq!(turned.domains(), Some(&domains("example.org,example.com")));
    assert_eq!(turned.mechanism(), Some(Mechanism::Plain));
    assert_eq!(turned.direction(), Direction::ToClient);
}

/// Rules: R24
#[test]
fn the_reply_that_turns_the_connection_is_one_line() {
    let world = World::usual();
    let mut provider = world.alice();
    let wire = world.ask(&mut provider, "ATRN").to_bytes();
    assert!(wire.starts_with(b"250 2.0.0 "));
    assert_eq!(wire.iter().filter(|octet| **octet == b'\n').count(), 1);
}

/// Rules: C4, B59
#[test]
fn octets_that_come_while_the_queue_is_asked_refuse_the_turn() {
    let world = World::usual();
    let mut provider = world.alice();
    let asked = provider.line(Line::new(b"ATRN"), false);
    assert!(matches!(asked, Action::Ask(_)));
    let said = reply(provider.answered(QueueAnswer::Mail, true));
    assert_eq!(said.to_string().split_at(9).0, "503 5.5.1");
    assert_eq!(
        world.ask(&mut provider, "220 customer.example.org").code,
        500
    );
    assert_eq!(world.ask(&mut provider, "ATRN").code, 250);
}

/// Rules: R19, R22, C4
#[test]
fn octets_that_come_while_the_queue_is_asked_do_not_hide_its_refusal() {
    let world = World::usual();
    for (answer, code) in [
        (QueueAnswer::NoMail, 453),
        (QueueAnswer::Unavailable, 451),
        (QueueAnswer::Busy, 450),
        (QueueAnswer::Refused, 450),
    ] {
        let mut provider = world.alice();
        provider.line(Line::new(b"ATRN"), false);
        assert_eq!(reply(provider.answered(answer, true)).code, code);
        assert_eq!(world.ask(&mut provider, "NOOP").code, 250);
    }
}

/// Rules: R18
#[test]
fn a_refused_request_never_reaches_the_queue() {
    let world = World::usual();
    let mut provider = world.alice();
    for command in [
        "ATRN mallory.example",
        "ATRN example.org,nobody.example",
        "ATRN localhost",
    ] {
        let action = provider.line(Line::new(command.as_bytes()), false);
        assert!(!matches!(action, Action::Ask(_)), "{command}");
    }
}

/// Rules: R10
#[test]
fn nobody_is_authenticated_before_the_verdict() {
    let world = World::usual();
    let mut provider = world.provider();
    world.ask(&mut provider, "EHLO customer.example.org");
    let action = provider.line(Line::new(plain("alice", "secret").as_bytes()), false);
    assert!(matches!(action, Action::Verify(_)));
    assert_eq!(provider.user(), None);
    assert_eq!(reply(provider.verified(Verdict::Rejected)).code, 535);
    assert_eq!(provider.user(), None);
}

/// Rules: B4, B31
#[test]
fn long_lines_are_in_order_only_inside_an_exchange() {
    let world = World::usual();
    let mut provider = world.provider();
    assert_eq!(provider.line_limit(), COMMAND_LIMIT);
    world.ask(&mut provider, "EHLO customer.example.org");
    assert_eq!(world.ask(&mut provider, "AUTH PLAIN").code, 334);
    assert_eq!(provider.line_limit(), EXCHANGE_LIMIT);
    world.ask(&mut provider, "*");
    assert_eq!(provider.line_limit(), COMMAND_LIMIT);
}

/// Rules: B25
#[test]
fn an_empty_challenge_is_exactly_334_and_a_blank() {
    let world = World::usual();
    let mut provider = world.provider();
    world.ask(&mut provider, "EHLO customer.example.org");
    assert_eq!(
        world.ask(&mut provider, "AUTH PLAIN").to_bytes(),
        b"334 \r\n"
    );
}

/// Rules: B66
#[test]
fn no_two_attempts_get_the_same_challenge() {
    let mut world = World::usual();
    world.max_auth_failures = 20;
    let mut provider = world.provider();
    world.ask(&mut provider, "EHLO customer.example.org");
    let mut seen = BTreeSet::new();
    for _ in 0..10 {
        let challenge = world.ask(&mut provider, "AUTH CRAM-MD5").text().to_owned();
        let text =
            String::from_utf8(base64::decode(challenge.as_bytes()).unwrap().to_vec()).unwrap();
        assert!(
            text.starts_with('<') && text.ends_with("@provider.example.com>"),
            "{text}"
        );
        assert!(seen.insert(challenge));
        world.ask(&mut provider, "*");
    }
}

/// Rules: B12, C12
#[test]
fn the_last_words_are_421() {
    let world = World::usual();
    let mut provider = world.provider();
    assert!(
        provider
            .shutting_down()
            .to_bytes()
            .starts_with(b"421 4.3.2 ")
    );
    assert!(provider.timed_out().to_bytes().starts_with(b"421 4.4.2 "));
}

/// A driver that calls out of turn must not be able to turn or authenticate anybody.
#[test]
fn a_call_out_of_turn_ends_the_session() {
    let world = World::usual();
    let closes = |action| matches!(action, Action::Close(reply) if reply.code == 421);
    assert!(closes(world.provider().answered(QueueAnswer::Mail, false)));
    assert!(closes(world.alice().answered(QueueAnswer::Mail, false)));
    assert!(closes(world.provider().verified(world.access("alice"))));
    let mut asking = world.alice();
    asking.line(Line::new(b"ATRN"), false);
    assert!(closes(asking.line(Line::new(b"NOOP"), false)));
    assert!(closes(asking.answered(QueueAnswer::Mail, false)));
    let mut turned = world.alice();
    world.tell(&mut turned, "ATRN");
    assert!(closes(turned.line(Line::new(b"QUIT"), false)));
}

/// Rules: C16
#[test]
fn the_machine_shows_no_password_in_logs() {
    let world = World::usual();
    let mut provider = world.provider();
    world.ask(&mut provider, "EHLO customer.example.org");
    let action = provider.line(Line::new(plain("alice", "secret").as_bytes()), false);
    assert!(!format!("{action:?}").contains("secret"));
    assert!(!format!("{action:?}").contains("c2VjcmV0"));
    let mut login = world.provider();
    world.ask(&mut login, "EHLO customer.example.org");
    world.ask(&mut login, "AUTH LOGIN");
    let action = login.line(Line::new(base64::encode(b"alice").as_bytes()), false);
    assert!(matches!(action, Action::Say(_)));
    let action = login.line(Line::new(base64::encode(b"secret").as_bytes()), false);
    assert!(!format!("{action:?}").contains("secret"));
}

/// The matrix of RFC 2645 5 with 5.4, as far as it needs no TLS: connected, greeted, authenticated.
///
/// Rules: R5, R7, R13, R14, R15, R30, B3, B9, B10, B23, B77
#[test]
fn every_command_has_its_code_in_every_state() {
    const MATRIX: &[(&str, [u16; 3])] = &[
        ("EHLO customer.example.org", [250, 250, 250]),
        ("EHLO", [501, 501, 501]),
        ("HELO customer.example.org", [502, 502, 502]),
        ("STARTTLS", [503, 502, 503]),
        ("STARTTLS x", [501, 501, 501]),
        ("AUTH PLAIN AGFsaWNlAHNlY3JldA==", [503, 235, 503]),
        ("AUTH PLAIN AGFsaWNlAHdyb25n", [503, 535, 503]),
        ("AUTH CRAM-MD5", [503, 334, 503]),
        ("AUTH NTLM", [503, 504, 503]),
        ("AUTH", [503, 501, 503]),
        ("ATRN", [530, 530, 250]),
        ("ATRN example.org", [530, 530, 250]),
        ("ATRN mallory.example", [530, 530, 450]),
        ("ATRN example.com", [530, 530, 453]),
        ("ATRN localhost", [530, 530, 501]),
        ("NOOP", [250, 250, 250]),
        ("NOOP x", [250, 250, 250]),
        ("RSET", [250, 250, 250]),
        ("RSET x", [501, 501, 501]),
        ("MAIL FROM:<>", [502, 502, 502]),
        ("RCPT TO:<a@example.org>", [502, 502, 502]),
        ("DATA", [502, 502, 502]),
        ("BDAT 1", [502, 502, 502]),
        ("VRFY a", [502, 502, 502]),
        ("EXPN a", [502, 502, 502]),
        ("HELP", [502, 502, 502]),
        ("ETRN example.org", [502, 502, 502]),
        ("TURN", [502, 502, 502]),
        ("LHLO a", [500, 500, 500]),
        ("", [500, 500, 500]),
        ("QUIT", [221, 221, 221]),
        ("QUIT x", [501, 501, 501]),
    ];
    let world = World::usual();
    for (command, codes) in MATRIX {
        let connected = world.provider();
        let mut greeted = world.provider();
        world.ask(&mut greeted, "EHLO customer.example.org");
        for (mut provider, code) in [connected, greeted, world.alice()].into_iter().zip(codes) {
            let action = world.tell(&mut provider, command);
            let closes = matches!(action, Action::Close(_));
            let turns = matches!(action, Action::Turn(..));
            assert_eq!(reply(action).code, *code, "{command}");
            assert_eq!(closes, *code == 221, "{command}");
            assert_eq!(
                turns,
                command.starts_with("ATRN") && *code == 250,
                "{command}"
            );
        }
    }
}

/// What a rude or strange customer may send.
fn input() -> impl Strategy<Value = (Result<Line, LineError>, bool)> {
    let word = prop_oneof![
        Just("EHLO a.example"),
        Just("AUTH PLAIN AGFsaWNlAHNlY3JldA=="),
        Just("AUTH PLAIN AGFsaWNlAHdyb25n"),
        Just("AUTH PLAIN"),
        Just("AUTH LOGIN"),
        Just("AUTH CRAM-MD5"),
        Just("AUTH CRAM-MD5 ="),
        Just("AUTH X"),
        Just("*"),
        Just(""),
        Just("AGFsaWNlAHNlY3JldA=="),
        Just("YWxpY2U="),
        Just("c2VjcmV0"),
        Just("ATRN"),
        Just("ATRN example.org"),
        Just("ATRN mallory.example"),
        Just("ATRN x"),
        Just("QUIT"),
        Just("NOOP"),
        Just("RSET"),
        Just("HELO a"),
        Just("MAIL"),
        Just("STARTTLS"),
        Just("QUIT x"),
    ];
    let line = prop_oneof![
        20 => word.prop_map(|word| Line::new(word.as_bytes())),
        2 => prop::collection::vec(any::<u8>(), 0..40).prop_map(|octets| Line::new(&octets)),
        1 => Just(Err(LineError::TooLong)),
        1 => Just(Err(LineError::BareLf)),
    ];
    (line, any::<bool>())
}

proptest! {
    /// Whatever comes: one reply a line (B7), an enhanced code of the right class on 2yz, 4yz and 5yz but not on
    /// the reply to EHLO (B62), no turn without a login, no close but after QUIT or with 421 (B12), and no more
    /// than three challenges in a row (C11). 521 and 538 are never right here (B22, B33).
    ///
    /// Rules: B7, B12, B22, B33, B62, B63, C11, C12, R5, R15
    #[test]
    fn any_session_keeps_the_rules(inputs in prop::collection::vec(input(), 0..40)) {
        let world = World::usual();
        let mut provider = world.provider();
        let (mut logged_in, mut challenges, mut failures) = (false, 0, 0);
        for (line, pending) in inputs {
            let quit = matches!(&line, Ok(line) if line.as_bytes() == b"QUIT");
            let ehlo = matches!(&line, Ok(line) if line.as_bytes().starts_with(b"EHLO"));
            let action = provider.line(line, pending);
            let action = world.settle(&mut provider, action, pending);
            let (closes, turned) = match &action {
                Action::Close(_) => (true, false),
                Action::Turn(..) => (true, true),
                _ => (false, false),
            };
            let said = reply(action);
            logged_in |= said.code == 235;
            challenges = if said.code == 334 { challenges + 1 } else { 0 };
            failures += u32::from(said.code == 535);
            prop_assert!(!matches!(said.code, 521 | 538));
            prop_assert!(challenges <= 3 && failures <= 3);
            prop_assert!(!turned || (logged_in && !pending));
            prop_assert_eq!(closes, turned || said.code == 221 || said.code == 421);
            prop_assert!(said.code != 221 || quit);
            let enhanced = said.enhanced.map(|enhanced| u16::from(enhanced.class));
            let bare = said.code == 334 || (ehlo && said.code == 250);
            prop_assert_eq!(enhanced, (!bare).then_some(said.code / 100), "{}", said);
            if closes {
                break;
            }
        }
    }
}
