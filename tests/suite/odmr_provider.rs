//! The provider's machine where a transcript cannot reach: SCRAM, late bytes, misuse, and what holds for any input.

use crate::odmr_world::{World, domains, plain, reply};
use proptest::prelude::*;
use std::collections::BTreeSet;
use turnabout::odmr::Direction;
use turnabout::odmr::provider::{Action, Provider, QueueAnswer, Starttls, Verdict};
use turnabout::sasl::client::ClientExchange;
use turnabout::sasl::{Mechanism, Secret};
use turnabout::smtp::{COMMAND_LIMIT, EXCHANGE_LIMIT, Line, LineError, Offer, Reply, base64};

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

/// The states in which a command can come before the turn: RFC 2645 5, and TLS around it (RFC 3207).
#[derive(Debug, Clone, Copy)]
enum Column {
    Connected,
    Greeted,
    GreetedTlsOffered,
    ConnectedTlsRequired,
    GreetedTlsRequired,
    ConnectedUnderTls,
    GreetedUnderTls,
    Authenticated,
    AuthenticatedUnderTls,
}

const COLUMNS: [Column; 9] = [
    Column::Connected,
    Column::Greeted,
    Column::GreetedTlsOffered,
    Column::ConnectedTlsRequired,
    Column::GreetedTlsRequired,
    Column::ConnectedUnderTls,
    Column::GreetedUnderTls,
    Column::Authenticated,
    Column::AuthenticatedUnderTls,
];

impl Column {
    fn provider(self, world: &mut World) -> Provider {
        use Column::{
            Authenticated, AuthenticatedUnderTls, Connected, ConnectedTlsRequired,
            ConnectedUnderTls, Greeted, GreetedTlsOffered, GreetedUnderTls,
        };
        world.starttls = match self {
            Connected | Greeted => Starttls::No,
            GreetedTlsOffered | Authenticated => Starttls::Offered,
            _ => Starttls::Required,
        };
        let mut provider = match self {
            ConnectedUnderTls | GreetedUnderTls | AuthenticatedUnderTls => world.under_tls(),
            _ => world.provider(),
        };
        if !matches!(self, Connected | ConnectedTlsRequired | ConnectedUnderTls) {
            let said = world.ask(&mut provider, "EHLO customer.example.org");
            assert_eq!(said.code, 250);
        }
        if matches!(self, Authenticated | AuthenticatedUnderTls) {
            let said = world.ask(&mut provider, &plain("alice", "secret"));
            assert_eq!(said.code, 235);
        }
        provider
    }
}

/// The matrix of RFC 2645 5 with 5.4, RFC 3207 and RFC 4954: one code for each command in each state.
///
/// Rules: R5, R7, R13, R14, R15, R30, B3, B9, B10, B23, B43, B44, B45, B46, B77, X3, X4
#[test]
fn every_command_has_its_code_in_every_state() {
    #[rustfmt::skip]
    const MATRIX: &[(&str, [u16; 9])] = &[
        //                                 without TLS  offered  TLS required  under TLS   authenticated
        ("EHLO customer.example.org",     [250, 250,    250,     250, 250,     250, 250,   250, 250]),
        ("EHLO",                          [501, 501,    501,     501, 501,     501, 501,   501, 501]),
        ("HELO customer.example.org",     [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("STARTTLS",                      [503, 502,    220,     503, 220,     503, 503,   503, 503]),
        ("STARTTLS x",                    [501, 501,    501,     501, 501,     501, 501,   501, 501]),
        ("AUTH PLAIN AGFsaWNlAHNlY3JldA==", [503, 235,  235,     530, 530,     503, 235,   503, 503]),
        ("AUTH PLAIN AGFsaWNlAHdyb25n",   [503, 535,    535,     530, 530,     503, 535,   503, 503]),
        ("AUTH CRAM-MD5",                 [503, 334,    334,     530, 530,     503, 334,   503, 503]),
        ("AUTH NTLM",                     [503, 504,    504,     530, 530,     503, 504,   503, 503]),
        ("AUTH EXTERNAL =",               [503, 504,    504,     530, 530,     503, 504,   503, 503]),
        ("AUTH SCRAM-SHA-256-PLUS",       [503, 504,    504,     530, 530,     503, 504,   503, 503]),
        ("AUTH",                          [503, 501,    501,     530, 530,     503, 501,   503, 503]),
        ("ATRN",                          [530, 530,    530,     530, 530,     530, 530,   250, 250]),
        ("ATRN example.org",              [530, 530,    530,     530, 530,     530, 530,   250, 250]),
        ("ATRN mallory.example",          [530, 530,    530,     530, 530,     530, 530,   450, 450]),
        ("ATRN example.com",              [530, 530,    530,     530, 530,     530, 530,   453, 453]),
        ("ATRN localhost",                [530, 530,    530,     530, 530,     530, 530,   501, 501]),
        ("NOOP",                          [250, 250,    250,     250, 250,     250, 250,   250, 250]),
        ("NOOP x",                        [250, 250,    250,     250, 250,     250, 250,   250, 250]),
        ("RSET",                          [250, 250,    250,     530, 530,     250, 250,   250, 250]),
        ("RSET x",                        [501, 501,    501,     530, 530,     501, 501,   501, 501]),
        ("MAIL FROM:<>",                  [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("RCPT TO:<a@example.org>",       [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("DATA",                          [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("BDAT 1",                        [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("VRFY a",                        [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("EXPN a",                        [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("HELP",                          [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("ETRN example.org",              [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("TURN",                          [502, 502,    502,     530, 530,     502, 502,   502, 502]),
        ("LHLO a",                        [500, 500,    500,     530, 530,     500, 500,   500, 500]),
        ("",                              [500, 500,    500,     530, 530,     500, 500,   500, 500]),
        ("QUIT",                          [221, 221,    221,     221, 221,     221, 221,   221, 221]),
        ("QUIT x",                        [501, 501,    501,     501, 501,     501, 501,   501, 501]),
    ];
    let mut world = World::usual();
    for (command, codes) in MATRIX {
        for (column, code) in COLUMNS.into_iter().zip(codes) {
            let mut provider = column.provider(&mut world);
            let action = world.tell(&mut provider, command);
            let closes = matches!(action, Action::Close(_));
            let turns = matches!(action, Action::Turn(..));
            let starts = matches!(action, Action::StartTls(_));
            assert_eq!(reply(action).code, *code, "{command} {column:?}");
            assert_eq!(closes, *code == 221, "{command} {column:?}");
            assert_eq!(starts, *code == 220, "{command} {column:?}");
            assert_eq!(
                turns,
                command.starts_with("ATRN") && *code == 250,
                "{command} {column:?}"
            );
        }
    }
}

/// What is listed follows the same states: nothing that would be refused, and ATRN always.
///
/// Rules: R8, B18, B38, B44, B46, X1
#[test]
fn every_state_has_its_offer() {
    let mut world = World::usual();
    for (column, starttls, auth) in [
        (Column::Greeted, false, true),
        (Column::GreetedTlsOffered, true, true),
        (Column::GreetedTlsRequired, true, false),
        (Column::GreetedUnderTls, false, true),
        (Column::Authenticated, false, true),
        (Column::AuthenticatedUnderTls, false, true),
    ] {
        let mut provider = column.provider(&mut world);
        let offer = Offer::parse(&world.ask(&mut provider, "EHLO customer.example.org"));
        assert!(offer.atrn, "{column:?}");
        assert_eq!(offer.starttls, starttls, "{column:?}");
        assert_eq!(!offer.auth.is_empty(), auth, "{column:?}");
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
        Just("AUTH EXTERNAL ="),
        Just("AUTH SCRAM-SHA-256-PLUS"),
        Just("AUTH SCRAM-SHA-1-PLUS cD10bHMtZXhwb3J0ZXIsLG49YWxpY2Uscj14"),
        Just("AUTH SCRAM-SHA-1 eSwsbj1hbGljZSxyPXg="),
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
        Just("STARTTLS"),
        Just("STARTTLS x"),
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
    /// than three challenges in a row (C11). 521 and 538 are never right here (B22, B33). TLS starts once at most, never
    /// with octets waiting (C1), never after a login, and where it is required nobody logs in before (B44).
    ///
    /// Rules: B7, B12, B22, B33, B44, B46, B58, B62, B63, C1, C11, C12, R5, R15
    #[test]
    fn any_session_keeps_the_rules(
        inputs in prop::collection::vec(input(), 0..40),
        starttls in prop::sample::select(vec![
            Starttls::No, Starttls::Offered, Starttls::Required, Starttls::Active,
        ]),
        works in prop::bool::weighted(0.8),
    ) {
        let mut world = World::usual();
        world.starttls = starttls;
        world.binding = Some([7; 32].into());
        world.certificate = Some("alice".to_owned());
        world.mechanisms_in_tls = Mechanism::ALL.to_vec();
        if starttls == Starttls::Active {
            world.mechanisms = Mechanism::ALL.to_vec();
        }
        let mut provider = world.provider();
        let (mut logged_in, mut challenges, mut failures) = (false, 0, 0);
        let mut secure = starttls == Starttls::Active;
        for (line, pending) in inputs {
            let quit = matches!(&line, Ok(line) if line.as_bytes() == b"QUIT");
            let ehlo = matches!(&line, Ok(line) if line.as_bytes().starts_with(b"EHLO"));
            let action = provider.line(line, pending);
            let mut action = world.settle(&mut provider, action, pending);
            let starts = matches!(action, Action::StartTls(_));
            if starts {
                prop_assert!(!pending && !secure && !logged_in);
                prop_assert!(!matches!(starttls, Starttls::No));
                if works {
                    provider.tls_started(world.secured());
                    secure = true;
                } else {
                    action = provider.tls_unavailable();
                }
            }
            let (closes, turned) = match &action {
                Action::Close(_) => (true, false),
                Action::Turn(..) => (true, true),
                _ => (false, false),
            };
            let said = reply(action);
            logged_in |= said.code == 235;
            challenges = if said.code == 334 { challenges + 1 } else { 0 };
            failures += u32::from(said.code == 535);
            prop_assert!(!logged_in || secure || starttls != Starttls::Required);
            prop_assert_eq!(said.code == 220, starts && works);
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
