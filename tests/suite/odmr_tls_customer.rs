//! The customer's machine around TLS: with our own provider, with somebody in between, and for any input.

use crate::odmr_tls_provider::world;
use crate::odmr_world::World;
use proptest::prelude::*;
use turnabout::odmr::customer::{Customer, Outcome, Settings, Step, Tls, Wait};
use turnabout::odmr::provider::{Action, Provider, Starttls};
use turnabout::sasl::{Mechanism, SaslError, Secret};
use turnabout::smtp::{LineReader, Reply};

const BINDING: [u8; 32] = [7; 32];

fn settings(tls: Tls) -> Settings {
    Settings {
        ehlo_name: "customer.example.org".to_owned(),
        user: "alice".to_owned(),
        password: Some(Secret::from("secret")),
        domains: None,
        mechanisms: Mechanism::ALL.to_vec(),
        allow_plaintext: false,
        tls,
        binding: (tls == Tls::Implicit).then(|| BINDING.into()),
        external: false,
    }
}

/// How a session went.
struct Talked {
    last: Step,
    /// What the customer said, with `TLS` where a handshake was.
    said: Vec<String>,
    provider: Provider,
}

/// Lets the two machines talk; `between` may change what the provider says before the customer hears it, and the
/// customer's TLS connection has the binding `ours`.
fn talk(
    world: &World,
    settings: Settings,
    ours: [u8; 32],
    between: impl Fn(Reply) -> Reply,
) -> Talked {
    let mut provider = world.provider();
    let mut customer = Customer::new(settings);
    let mut reader = LineReader::new(512);
    let mut said = Vec::new();
    let mut step = customer.reply(between(provider.greeting()));
    loop {
        step = match step {
            Step::Prepare => customer.prepared(true),
            Step::StartTls => {
                said.push("TLS".to_owned());
                provider.tls_started(world.secured());
                customer.tls_started(Some(ours.into()))
            }
            Step::Send(octets) => {
                reader.set_limit(provider.line_limit());
                let (taken, line) = reader.feed(&octets);
                assert_eq!(taken, octets.len());
                said.push(String::from_utf8_lossy(&octets).trim_end().to_owned());
                let action = provider.line(line.unwrap(), false);
                let action = world.settle(&mut provider, action, false);
                let starts = matches!(action, Action::StartTls(_));
                let reply = crate::odmr_world::reply(action);
                assert_eq!(starts, reply.code == 220);
                customer.reply(between(reply))
            }
            last => {
                return Talked {
                    last,
                    said,
                    provider,
                };
            }
        };
    }
}

fn honest(reply: Reply) -> Reply {
    reply
}

/// Rules: B36, B45, B46, B71, B75, R5, R8, R9
#[test]
fn our_customer_and_our_provider_agree_with_every_mechanism_under_tls() {
    for mechanism in Mechanism::ALL {
        for tls in [Tls::Starttls, Tls::Implicit] {
            let mut world = world();
            world.mechanisms_in_tls = vec![mechanism];
            if tls == Tls::Implicit {
                world.starttls = Starttls::Active;
                world.mechanisms = vec![mechanism];
            }
            let mut settings = settings(tls);
            settings.external = true;
            let talked = talk(&world, settings, BINDING, honest);
            let Step::Turned(turned) = talked.last else {
                panic!("{mechanism} {tls:?}: {:?}", talked.last);
            };
            assert_eq!(turned.mechanism(), Some(mechanism));
            let opening = ["EHLO customer.example.org", "STARTTLS", "TLS"];
            let rest = match tls {
                Tls::Starttls => talked.said.strip_prefix(&opening.map(str::to_owned)),
                _ => Some(&talked.said[..]),
            };
            let rest = rest.unwrap();
            assert_eq!(rest[0], opening[0]);
            assert!(rest[1].starts_with(&format!("AUTH {mechanism}")));
        }
    }
}

/// Rules: B71, C16
#[test]
fn the_bound_form_is_used_when_it_is_offered_and_a_certificate_goes_before_it() {
    let world = world();
    let mut settings = settings(Tls::Starttls);
    let talked = talk(&world, settings.clone(), BINDING, honest);
    assert!(talked.said[4].starts_with("AUTH SCRAM-SHA-256-PLUS "));
    settings.external = true;
    let talked = talk(&world, settings, BINDING, honest);
    assert_eq!(talked.said[4], "AUTH EXTERNAL =");
}

/// Somebody with a certificate that the customer believes passes everything on, over two TLS connections.
///
/// Rules: B71, C16
#[test]
fn somebody_in_between_who_passes_everything_on_is_noticed() {
    let talked = talk(&world(), settings(Tls::Starttls), [8; 32], honest);
    assert!(
        matches!(&talked.last, Step::End(Outcome::AuthFailed { reply }) if reply.code == 535),
        "{:?}",
        talked.last
    );
    let why = talked.provider.exchange_error();
    assert!(matches!(why, Some(SaslError::ChannelBinding(_))), "{why:?}");
    let auths = |said: &&String| said.starts_with("AUTH");
    assert_eq!(talked.said.iter().filter(auths).count(), 1);
}

/// And so is one who hides the bound forms: the customer then says that it could have used them.
///
/// Rules: B71
#[test]
fn somebody_in_between_who_hides_the_bound_forms_is_noticed() {
    let hide = |mut reply: Reply| {
        for line in &mut reply.lines {
            if line.starts_with("AUTH ") {
                *line = line
                    .split(' ')
                    .filter(|word| !word.ends_with("-PLUS"))
                    .collect::<Vec<_>>()
                    .join(" ");
            }
        }
        reply
    };
    let talked = talk(&world(), settings(Tls::Starttls), [8; 32], hide);
    assert!(talked.said[4].starts_with("AUTH SCRAM-SHA-256 "));
    assert!(
        matches!(&talked.last, Step::End(Outcome::AuthFailed { reply }) if reply.code == 535),
        "{:?}",
        talked.last
    );
    let why = talked.provider.exchange_error();
    assert!(matches!(why, Some(SaslError::ChannelBinding(_))), "{why:?}");
}

/// Rules: B71
#[test]
fn a_provider_that_offers_no_bound_forms_is_no_downgrade() {
    let mut world = world();
    world.binding = None;
    let talked = talk(&world, settings(Tls::Starttls), BINDING, honest);
    assert!(talked.said[4].starts_with("AUTH SCRAM-SHA-256 "));
    assert!(matches!(talked.last, Step::Turned(_)), "{:?}", talked.last);
}

/// Rules: B49, C3, C16
#[test]
fn somebody_in_between_who_hides_starttls_gets_no_password() {
    let mut world = world();
    world.starttls = Starttls::Offered;
    world.mechanisms = Mechanism::ALL.to_vec();
    let strip = |mut reply: Reply| {
        reply.lines.retain(|line| line != "STARTTLS");
        reply
    };
    let mut settings = settings(Tls::Starttls);
    settings.allow_plaintext = true;
    let talked = talk(&world, settings, BINDING, strip);
    assert!(
        matches!(talked.last, Step::End(Outcome::NoStartTls)),
        "{:?}",
        talked.last
    );
    assert_eq!(talked.said, ["EHLO customer.example.org", "QUIT"]);
}

/// Rules: B75, C16
#[test]
fn neither_certificate_nor_binding_is_used_without_tls() {
    let mut world = World::usual();
    world.mechanisms = vec![Mechanism::Plain];
    let mut clear = settings(Tls::None);
    clear.external = true;
    clear.binding = Some(BINDING.into());
    let lie = |mut reply: Reply| {
        for line in &mut reply.lines {
            if line.starts_with("AUTH ") {
                *line = "AUTH EXTERNAL SCRAM-SHA-256-PLUS PLAIN".to_owned();
            }
        }
        reply
    };
    let talked = talk(&world, clear, BINDING, lie);
    assert!(
        matches!(talked.last, Step::End(Outcome::NoMechanism { .. })),
        "{:?}",
        talked.last
    );
}

/// Rules: C2, B14
#[test]
fn a_reply_in_the_middle_of_the_handshake_ends_it() {
    let mut customer = Customer::new(settings(Tls::Starttls));
    customer.reply(Reply::plain(220, "p.example.com"));
    customer.reply(fitting(Wait::Ehlo));
    assert_eq!(customer.waiting_for(), Wait::StartTls);
    assert!(matches!(
        customer.reply(Reply::plain(220, "go")),
        Step::StartTls
    ));
    let step = customer.reply(Reply::plain(250, "ATRN"));
    assert!(
        matches!(step, Step::End(Outcome::Protocol { .. })),
        "{step:?}"
    );
    let late = customer.tls_started(None);
    assert!(matches!(late, Step::End(Outcome::Protocol { .. })));
}

/// Rules: B45
#[test]
fn tls_that_nobody_asked_for_ends_it() {
    for replies in 0..2 {
        let mut customer = Customer::new(settings(Tls::Starttls));
        for _ in 0..replies {
            customer.reply(Reply::plain(220, "p.example.com"));
        }
        let step = customer.tls_started(None);
        assert!(
            matches!(step, Step::End(Outcome::Protocol { .. })),
            "{step:?}"
        );
    }
}

/// Rules: C3, B49
#[test]
fn what_is_missing_is_said_in_one_sentence() {
    let said = Outcome::NoStartTls.to_string();
    assert!(said.contains("STARTTLS not advertised") && said.contains("removed"));
    let reply = Reply::plain(454, "not now");
    let said = Outcome::TlsRefused { reply }.to_string();
    assert!(said.contains("no password was sent") && said.contains("454"));
    assert!(
        Outcome::early_octets()
            .to_string()
            .contains("behind the reply to STARTTLS")
    );
}

/// What a provider would say next if all went well.
fn fitting(wait: Wait) -> Reply {
    match wait {
        Wait::Greeting | Wait::StartTls => Reply::plain(220, "p.example.com"),
        Wait::Ehlo => Reply {
            lines: [
                "p.example.com",
                "STARTTLS",
                "AUTH EXTERNAL SCRAM-SHA-256 CRAM-MD5 PLAIN",
                "ATRN",
            ]
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
    /// Whatever a provider says in the clear, nothing but EHLO, STARTTLS and QUIT is said there; under TLS no STARTTLS
    /// comes again, AUTH and ATRN only after an EHLO that was answered under TLS.
    ///
    /// Rules: B45, B46, B49, C2, C3, C16, R9
    #[test]
    fn nothing_of_use_is_said_before_tls(
        script in prop::collection::vec((prop::sample::select(vec![
            220_u16, 221, 235, 250, 334, 354, 421, 454, 500, 502, 535, 554,
        ]), prop::bool::weighted(0.8), any::<bool>()), 1..15),
        external in any::<bool>(),
    ) {
        let mut settings = settings(Tls::Starttls);
        settings.allow_plaintext = true;
        settings.external = external;
        settings.mechanisms = vec![Mechanism::External, Mechanism::CramMd5, Mechanism::Plain];
        let mut customer = Customer::new(settings);
        let (mut secure, mut offered) = (false, false);
        for (code, fits, lines) in script {
            let wait = customer.waiting_for();
            let reply = if fits {
                fitting(wait)
            } else {
                let lines = if lines { fitting(Wait::Ehlo).lines } else { vec![String::new()] };
                Reply { lines, ..Reply::plain(code, "") }
            };
            offered |= secure && wait == Wait::Ehlo && reply.code == 250;
            let mut step = customer.reply(reply);
            if matches!(step, Step::StartTls) {
                prop_assert!(!secure && wait == Wait::StartTls);
                secure = true;
                step = customer.tls_started(None);
                prop_assert!(matches!(&step, Step::Send(octets) if octets.starts_with(b"EHLO ")));
            }
            if matches!(step, Step::Prepare) {
                step = customer.prepared(true);
            }
            match step {
                Step::Send(octets) => {
                    let said = String::from_utf8(octets.to_vec()).unwrap();
                    let verb = said.split([' ', '\r']).next().unwrap();
                    match verb {
                        "EHLO" | "QUIT" => {}
                        "STARTTLS" => prop_assert!(!secure),
                        _ => prop_assert!(secure && offered, "{} in the clear", said),
                    }
                }
                Step::Turned(_) => {
                    prop_assert!(secure && offered);
                    break;
                }
                Step::End(_) => break,
                Step::Prepare | Step::StartTls => prop_assert!(false, "out of place"),
            }
        }
    }
}
