//! The customer's machine: against our own provider, against misuse, and what holds for any input.

use crate::odmr_world::{World, domains};
use proptest::prelude::*;
use turnabout::odmr::Direction;
use turnabout::odmr::customer::{Customer, Outcome, Settings, Step, Tls, Wait};
use turnabout::sasl::{Mechanism, Secret};
use turnabout::smtp::{LineReader, Reply};

fn settings(mechanisms: &[Mechanism]) -> Settings {
    Settings {
        ehlo_name: "customer.example.org".to_owned(),
        user: "alice".to_owned(),
        password: Some(Secret::from("secret")),
        domains: None,
        mechanisms: mechanisms.to_vec(),
        allow_plaintext: true,
        tls: Tls::None,
        binding: None,
        external: false,
    }
}

/// Lets the two machines talk until one of them turns or ends; gives the customer's last step and the commands.
fn talk(world: &World, settings: Settings) -> (Step, Vec<String>) {
    let mut provider = world.provider();
    let mut customer = Customer::new(settings);
    let mut reader = LineReader::new(512);
    let mut commands = Vec::new();
    let mut step = customer.reply(provider.greeting());
    loop {
        step = match step {
            Step::Prepare => customer.prepared(true),
            Step::Send(octets) => {
                reader.set_limit(provider.line_limit());
                let (taken, line) = reader.feed(&octets);
                assert_eq!(taken, octets.len());
                commands.push(String::from_utf8_lossy(&octets).trim_end().to_owned());
                let action = provider.line(line.unwrap(), false);
                let action = world.settle(&mut provider, action, false);
                let said = crate::odmr_world::reply(action);
                customer.reply(said)
            }
            last => return (last, commands),
        };
    }
}

/// Rules: R5, R11, R24, R32, B68, B69, B36
#[test]
fn our_customer_and_our_provider_agree_with_every_mechanism() {
    for mechanism in Mechanism::WITHOUT_TLS {
        let mut world = World::usual();
        world.mechanisms = vec![mechanism];
        let (last, commands) = talk(&world, settings(&Mechanism::ALL));
        let Step::Turned(turned) = last else {
            panic!("{mechanism}: {last:?}");
        };
        assert_eq!(turned.mechanism(), Some(mechanism));
        assert_eq!((turned.user(), turned.domains()), ("alice", None));
        assert_eq!(turned.direction(), Direction::ToServer);
        assert_eq!(commands.last().unwrap(), "ATRN");
    }
}

/// Rules: R19, R18, R22, C16
#[test]
fn our_customer_understands_our_providers_refusals() {
    let mut empty = World::usual();
    empty.mail.clear();
    let (last, commands) = talk(&empty, settings(&[Mechanism::CramMd5]));
    assert!(matches!(last, Step::End(Outcome::NoMail)), "{last:?}");
    assert_eq!(commands.last().unwrap(), "QUIT");

    let mut down = World::usual();
    down.access_unknown = true;
    let (last, _) = talk(&down, settings(&[Mechanism::CramMd5]));
    assert!(matches!(last, Step::End(Outcome::TryLater { reply }) if reply.code == 451));

    let mut foreign = settings(&[Mechanism::CramMd5]);
    foreign.domains = Some(domains("example.org,mallory.example"));
    let (last, _) = talk(&World::usual(), foreign);
    assert!(matches!(last, Step::End(Outcome::TryLater { reply }) if reply.code == 450));

    let mut wrong = settings(&Mechanism::ALL);
    wrong.password = Some(Secret::from("wrong"));
    let (last, commands) = talk(&World::usual(), wrong);
    assert!(matches!(last, Step::End(Outcome::AuthFailed { reply }) if reply.code == 535));
    let attempts = commands
        .iter()
        .filter(|command| command.starts_with("AUTH"));
    assert_eq!(attempts.count(), 1);
}

/// Rules: C16, B35
#[test]
fn the_strongest_mechanism_that_may_be_used_is_used() {
    let mut world = World::usual();
    world.mechanisms = vec![Mechanism::Plain, Mechanism::CramMd5, Mechanism::ScramSha256];
    let (_, commands) = talk(&world, settings(&Mechanism::ALL));
    assert!(commands[1].starts_with("AUTH SCRAM-SHA-256 "));
    let (_, commands) = talk(&world, settings(&[Mechanism::Plain, Mechanism::CramMd5]));
    assert_eq!(commands[1], "AUTH CRAM-MD5");
    world.mechanisms = vec![Mechanism::Plain, Mechanism::Login];
    let mut clear = settings(&Mechanism::ALL);
    clear.allow_plaintext = false;
    let (last, commands) = talk(&world, clear);
    assert!(
        matches!(last, Step::End(Outcome::NoMechanism { offered }) if offered == ["PLAIN", "LOGIN"])
    );
    assert_eq!(commands, ["EHLO customer.example.org", "QUIT"]);
}

fn ehlo_reply() -> Reply {
    Reply {
        code: 250,
        enhanced: None,
        lines: ["p.example.com", "ATRN", "AUTH PLAIN"]
            .map(str::to_owned)
            .to_vec(),
    }
}

/// Rules: R16, B14, B16
#[test]
fn the_driver_is_told_what_it_waits_for() {
    let mut customer = Customer::new(settings(&[Mechanism::Plain]));
    assert_eq!(customer.waiting_for(), Wait::Greeting);
    customer.reply(Reply::plain(220, "p.example.com"));
    assert_eq!(customer.waiting_for(), Wait::Ehlo);
    customer.reply(ehlo_reply());
    assert_eq!(customer.waiting_for(), Wait::Auth);
    assert_eq!(
        (customer.provider(), customer.mechanism()),
        (Some("p.example.com"), Some(Mechanism::Plain))
    );
    assert!(matches!(
        customer.reply(Reply::plain(235, "ok")),
        Step::Prepare
    ));
    customer.prepared(true);
    assert_eq!(customer.waiting_for(), Wait::Atrn);
    customer.reply(Reply::plain(453, "no mail"));
    assert_eq!(customer.waiting_for(), Wait::Quit);
}

/// Rules: B61
#[test]
fn the_text_of_a_reply_decides_nothing() {
    let answered = |code, text| {
        let mut customer = Customer::new(settings(&[Mechanism::Plain]));
        customer.reply(Reply::plain(220, "453 no mail"));
        customer.reply(ehlo_reply());
        customer.reply(Reply::plain(235, "535 credentials invalid"));
        customer.prepared(true);
        customer.reply(Reply::plain(code, text))
    };
    for text in ["ok", "You have no mail", "450 refused", ""] {
        assert!(matches!(answered(250, text), Step::Turned(_)), "{text}");
    }
    for text in ["ok", "now reversing the connection", "250 ok", ""] {
        assert!(matches!(answered(453, text), Step::Send(_)), "{text}");
    }
}

/// Rules: C2, R24
#[test]
fn a_reply_that_nobody_asked_for_ends_it() {
    let mut customer = Customer::new(settings(&[Mechanism::Plain]));
    customer.reply(Reply::plain(220, "p.example.com"));
    customer.reply(ehlo_reply());
    customer.reply(Reply::plain(235, "ok"));
    let step = customer.reply(Reply::plain(250, "turn, turn"));
    assert!(
        matches!(step, Step::End(Outcome::Protocol { .. })),
        "{step:?}"
    );
    assert!(matches!(
        customer.prepared(true),
        Step::End(Outcome::Protocol { .. })
    ));
}

/// Rules: R9
#[test]
fn the_missing_offer_is_explained() {
    let said = Outcome::NoAtrn.to_string();
    assert_eq!(
        said,
        "ATRN not advertised (a proxy or firewall may strip it)"
    );
}

/// Rules: B17
#[test]
fn a_driver_that_gives_up_says_quit_first() {
    let mut customer = Customer::new(settings(&[Mechanism::Plain]));
    customer.reply(Reply::plain(220, "p.example.com"));
    let why = || Outcome::Abandoned {
        why: "interrupted".to_owned(),
    };
    assert!(
        matches!(customer.abandon(why()), Step::Send(octets) if octets.as_slice() == b"QUIT\r\n")
    );
    assert!(
        matches!(customer.reply(Reply::plain(221, "bye")), Step::End(outcome) if outcome == why())
    );
}

/// Rules: B41
#[test]
fn a_password_that_cannot_be_sent_is_our_own_fault() {
    let mut bad = settings(&[Mechanism::Plain]);
    bad.password = Some(Secret::from(""));
    let (last, commands) = talk(&World::usual(), bad);
    assert!(
        matches!(last, Step::End(Outcome::Settings { .. })),
        "{last:?}"
    );
    assert_eq!(commands.last().unwrap(), "QUIT");
}

/// Rules: C16
#[test]
fn steps_and_machine_show_no_password_in_logs() {
    let mut customer = Customer::new(settings(&[Mechanism::Plain]));
    customer.reply(Reply::plain(220, "p.example.com"));
    let step = customer.reply(ehlo_reply());
    let Step::Send(octets) = &step else {
        panic!("no AUTH")
    };
    assert!(octets.starts_with(b"AUTH PLAIN "));
    assert!(!format!("{step:?}").contains("PLAIN AGF"));
    assert!(!format!("{customer:?}").contains("secret"));
}

fn any_reply() -> impl Strategy<Value = Reply> {
    let code = prop_oneof![
        Just(220u16),
        Just(221),
        Just(235),
        Just(250),
        Just(334),
        Just(354),
        Just(421),
        Just(450),
        Just(453),
        Just(454),
        Just(500),
        Just(501),
        Just(504),
        Just(530),
        Just(535),
        Just(554),
        200u16..600,
    ];
    let text = prop_oneof![
        Just(String::new()),
        Just("PDEyM0BhPg==".to_owned()),
        Just("VXNlcm5hbWU6".to_owned()),
        "[ -~]{0,20}",
    ];
    let lines = prop_oneof![
        4 => text.prop_map(|text| vec![text]),
        3 => Just(["p.example.com", "ATRN", "AUTH CRAM-MD5 LOGIN"].map(str::to_owned).to_vec()),
    ];
    (code, lines).prop_map(|(code, lines)| Reply {
        code,
        enhanced: None,
        lines,
    })
}

/// What a provider would say next if all went well, so that random sessions get somewhere.
fn fitting(wait: Wait) -> Reply {
    match wait {
        Wait::Greeting | Wait::StartTls => Reply::plain(220, "p.example.com"),
        Wait::Ehlo => Reply {
            lines: ["p.example.com", "AUTH CRAM-MD5 LOGIN PLAIN", "ATRN"]
                .map(str::to_owned)
                .to_vec(),
            ..Reply::plain(250, "")
        },
        Wait::Auth => Reply::plain(235, "ok"),
        Wait::Atrn => Reply::plain(250, "ok"),
        Wait::Quit => Reply::plain(221, "bye"),
    }
}

proptest! {
    /// Whatever comes: commands are whole lines, AUTH comes after an offer of ATRN only and once, ATRN after
    /// 235 only, a turn after 2yz to ATRN only, and QUIT goes before every end but after 421 (B17, B13).
    ///
    /// Rules: R9, R24, B13, B16, B17, C5, C16
    #[test]
    fn any_provider_gets_nothing_it_should_not_have(
        replies in prop::collection::vec((any_reply(), prop::bool::weighted(0.7)), 1..15),
        mechanism in prop::sample::select(Mechanism::ALL.to_vec()),
    ) {
        let mut customer = Customer::new(settings(&[mechanism, Mechanism::CramMd5]));
        let (mut offered, mut accepted, mut auths, mut last) = (false, false, 0, String::new());
        for (reply, fits) in replies {
            let reply = if fits { fitting(customer.waiting_for()) } else { reply };
            let said = (reply.code, reply.lines.clone());
            offered |= said.1.iter().any(|line| line == "ATRN");
            accepted |= customer.waiting_for() == Wait::Auth && said.0 / 100 == 2;
            let mut step = customer.reply(reply);
            if matches!(step, Step::Prepare) {
                prop_assert!(accepted);
                step = customer.prepared(true);
            }
            match step {
                Step::Send(octets) => {
                    prop_assert!(octets.ends_with(b"\r\n") && octets.len() <= 12_290);
                    last = String::from_utf8(octets.to_vec()).unwrap();
                    prop_assert_eq!(last.matches('\n').count(), 1);
                    auths += u32::from(last.starts_with("AUTH "));
                    prop_assert!(auths <= 1 && (auths == 0 || offered));
                    prop_assert!(!last.starts_with("ATRN") || accepted);
                }
                Step::Turned(_) => {
                    prop_assert!(last.starts_with("ATRN") && said.0 / 100 == 2);
                    break;
                }
                Step::End(_) => {
                    prop_assert!(said.0 == 421 || last == "QUIT\r\n");
                    break;
                }
                Step::Prepare => prop_assert!(false, "prepared twice"),
                Step::StartTls => prop_assert!(false, "TLS out of place"),
            }
        }
    }
}
