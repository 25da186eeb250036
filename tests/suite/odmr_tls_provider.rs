//! The provider's machine around TLS, where a transcript cannot reach: SCRAM, bindings, misuse.

use crate::odmr_world::{World, plain, reply};
use turnabout::odmr::provider::{Action, Provider, Starttls};
use turnabout::sasl::client::ClientExchange;
use turnabout::sasl::{Channel, Mechanism, SaslError, Secret};
use turnabout::smtp::{Line, Offer, Reply, base64};

const BINDING: [u8; 32] = [7; 32];

/// TLS required, a binding, and every mechanism under TLS.
pub fn world() -> World {
    let mut world = World::usual();
    world.starttls = Starttls::Required;
    world.mechanisms = Vec::new();
    world.mechanisms_in_tls = Mechanism::ALL.to_vec();
    world.binding = Some(BINDING.into());
    world.certificate = Some("alice".to_owned());
    world
}

fn offer(world: &World, provider: &mut Provider) -> Offer {
    Offer::parse(&world.ask(provider, "EHLO customer.example.org"))
}

/// Logs in with SCRAM; gives the last reply.
fn scram(
    world: &World,
    provider: &mut Provider,
    mechanism: Mechanism,
    channel: &Channel,
    password: &str,
) -> Reply {
    let password = Secret::from(password);
    let mut client = ClientExchange::start_on(channel, mechanism, "alice", &password).unwrap();
    let first = client.initial().unwrap().unwrap();
    let command = format!("AUTH {mechanism} {}", base64::encode(&first).as_str());
    let mut said = world.ask(provider, &command);
    while said.code == 334 {
        let challenge = base64::decode(said.text().as_bytes()).unwrap();
        let answer = client.challenge(&challenge).unwrap();
        said = world.ask(provider, base64::encode(&answer).as_str());
    }
    assert_eq!(client.finish().is_ok(), said.code == 235);
    said
}

/// Rules: B71, B72, B68
#[test]
fn a_bound_login_on_the_same_connection_is_235() {
    let world = world();
    for mechanism in [Mechanism::ScramSha1Plus, Mechanism::ScramSha256Plus] {
        let mut provider = world.under_tls();
        offer(&world, &mut provider);
        let bound = Channel::Bound(BINDING.into());
        let said = scram(&world, &mut provider, mechanism, &bound, "secret");
        assert_eq!(said.code, 235);
        assert_eq!(provider.mechanism(), Some(mechanism));
        assert_eq!(provider.exchange_error(), None);
        assert_eq!(world.ask(&mut provider, "ATRN").code, 250);
    }
}

/// The peer hears what any wrong password hears; the log can tell.
///
/// Rules: B71, B74, C11
#[test]
fn a_bound_login_on_another_connection_is_535_and_its_reason_is_known_to_us_alone() {
    let world = world();
    let login = |binding: [u8; 32], password| {
        let mut provider = world.under_tls();
        offer(&world, &mut provider);
        let bound = Channel::Bound(binding.into());
        let plus = Mechanism::ScramSha256Plus;
        let said = scram(&world, &mut provider, plus, &bound, password);
        assert_eq!(provider.auth_failures(), 1);
        (said, provider.exchange_error())
    };
    let (elsewhere, why) = login([8; 32], "secret");
    assert!(matches!(why, Some(SaslError::ChannelBinding(_))), "{why:?}");
    let (wrong, why) = login(BINDING, "wrong");
    assert_eq!(why, Some(SaslError::Denied));
    assert_eq!(elsewhere.code, 535);
    assert_eq!(elsewhere, wrong);
}

/// Rules: B73, X7, B40
#[test]
fn after_a_bound_try_the_others_are_left_and_three_failures_are_the_end() {
    let world = world();
    let mut provider = world.under_tls();
    assert!(
        offer(&world, &mut provider)
            .auth
            .contains(&"SCRAM-SHA-256-PLUS".to_owned())
    );
    let bound = Channel::Bound(BINDING.into());
    let plus = Mechanism::ScramSha256Plus;
    let said = scram(&world, &mut provider, plus, &bound, "wrong");
    assert_eq!(said.code, 535);
    // The other digest is bound to the same binding.
    for spent in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-1-PLUS"] {
        let said = world.ask(&mut provider, &format!("AUTH {spent}"));
        assert_eq!(said.code, 504, "{spent}");
    }
    let left = offer(&world, &mut provider).auth;
    assert!(left.iter().all(|name| !name.ends_with("-PLUS")), "{left:?}");
    // Who could bind and says that it did not see it was led to believe so, now as before.
    let said = scram(
        &world,
        &mut provider,
        Mechanism::ScramSha256,
        &Channel::NotOffered,
        "secret",
    );
    assert_eq!(said.code, 535);
    let unable = Mechanism::ScramSha256;
    let said = scram(
        &world,
        &mut provider,
        unable,
        &Channel::Unbound,
        "still wrong",
    );
    assert_eq!(said.code, 535);
    let last = world.tell(&mut provider, &plain("alice", "secret"));
    assert!(
        matches!(&last, Action::Close(said) if said.code == 421),
        "{last:?}"
    );
}

/// Rules: B73
#[test]
fn a_bound_try_that_was_broken_off_is_spent_too() {
    let world = world();
    let mut provider = world.under_tls();
    offer(&world, &mut provider);
    assert_eq!(world.ask(&mut provider, "AUTH SCRAM-SHA-1-PLUS").code, 334);
    assert_eq!(world.ask(&mut provider, "*").code, 501);
    assert_eq!(world.ask(&mut provider, "AUTH SCRAM-SHA-1-PLUS").code, 504);
}

/// Rules: B71, B72
#[test]
fn without_a_binding_scram_is_not_bound_and_a_client_that_could_be_is_welcome() {
    let mut world = world();
    world.binding = None;
    let mut provider = world.under_tls();
    let offered = offer(&world, &mut provider).auth;
    assert_eq!(
        offered,
        [
            "EXTERNAL",
            "SCRAM-SHA-256",
            "SCRAM-SHA-1",
            "CRAM-MD5",
            "PLAIN",
            "LOGIN"
        ]
    );
    let mechanism = Mechanism::ScramSha256;
    let channel = Channel::NotOffered;
    let said = scram(&world, &mut provider, mechanism, &channel, "secret");
    assert_eq!(said.code, 235);
}

/// Rules: B71
#[test]
fn a_client_that_could_not_see_the_bound_forms_is_welcome_where_the_operator_has_left_them_out() {
    let mut world = world();
    world.mechanisms_in_tls = vec![Mechanism::ScramSha256];
    let mut provider = world.under_tls();
    assert_eq!(offer(&world, &mut provider).auth, ["SCRAM-SHA-256"]);
    let channel = Channel::NotOffered;
    let mechanism = Mechanism::ScramSha256;
    let said = scram(&world, &mut provider, mechanism, &channel, "secret");
    assert_eq!(said.code, 235);
}

/// Rules: B46, R8
#[test]
fn under_implicit_tls_everything_is_there_from_the_first_ehlo() {
    let mut world = world();
    world.starttls = Starttls::Active;
    world.mechanisms = Mechanism::ALL.to_vec();
    let mut provider = world.provider();
    let offered = offer(&world, &mut provider);
    assert!(!offered.starttls && offered.atrn);
    assert_eq!(offered.auth.len(), Mechanism::ALL.len());
    let bound = Channel::Bound(BINDING.into());
    let plus = Mechanism::ScramSha1Plus;
    assert_eq!(
        scram(&world, &mut provider, plus, &bound, "secret").code,
        235
    );
}

/// Rules: B45
#[test]
fn the_name_of_the_ehlo_before_tls_is_forgotten() {
    let world = world();
    let mut provider = world.provider();
    world.ask(&mut provider, "EHLO before.example.org");
    assert_eq!(provider.ehlo_name(), Some("before.example.org"));
    let action = world.tell(&mut provider, "STARTTLS");
    assert!(matches!(action, Action::StartTls(_)));
    provider.tls_started(world.secured());
    assert_eq!(provider.ehlo_name(), None);
    world.ask(&mut provider, "EHLO after.example.org");
    assert_eq!(provider.ehlo_name(), Some("after.example.org"));
}

/// Rules: B45, C12
#[test]
fn rudeness_before_tls_is_not_forgotten() {
    let mut world = world();
    world.max_bad_commands = 3;
    let mut provider = world.provider();
    for _ in 0..3 {
        assert_eq!(world.ask(&mut provider, "ATRN").code, 530);
    }
    world.ask(&mut provider, "EHLO customer.example.org");
    let action = world.tell(&mut provider, "STARTTLS");
    assert!(matches!(action, Action::StartTls(_)));
    provider.tls_started(world.secured());
    let action = world.tell(&mut provider, "ATRN");
    assert!(matches!(action, Action::Close(said) if said.code == 421));
}

/// Whoever asks on a channel that anybody can read learns nothing about users.
///
/// Rules: B54, B44, C3
#[test]
fn where_tls_is_required_no_credentials_are_judged_in_the_clear() {
    let world = world();
    let answer = |command: &str| {
        let mut provider = world.provider();
        offer(&world, &mut provider);
        let action = provider.line(Line::new(command.as_bytes()), false);
        assert_eq!(provider.auth_failures(), 0);
        reply(action)
    };
    let right = answer(&plain("alice", "secret"));
    assert_eq!(right.code, 530);
    for other in [
        plain("alice", "wrong"),
        plain("nobody", "secret"),
        "AUTH EXTERNAL =".to_owned(),
        "AUTH NTLM".to_owned(),
        "AUTH".to_owned(),
        "AUTH PLAIN !".to_owned(),
    ] {
        assert_eq!(answer(&other), right, "{other}");
    }
}

/// Rules: C1, B58
#[test]
fn the_machine_never_starts_tls_with_octets_waiting() {
    for starttls in [
        Starttls::No,
        Starttls::Offered,
        Starttls::Required,
        Starttls::Active,
    ] {
        let mut world = world();
        world.starttls = starttls;
        let mut provider = world.provider();
        offer(&world, &mut provider);
        let action = provider.line(Line::new(b"STARTTLS"), true);
        let closes = matches!(starttls, Starttls::Offered | Starttls::Required);
        assert_eq!(matches!(action, Action::Close(_)), closes, "{starttls:?}");
        let code = match starttls {
            Starttls::No => 502,
            Starttls::Offered | Starttls::Required => 421,
            Starttls::Active => 503,
        };
        assert_eq!(reply(action).code, code, "{starttls:?}");
    }
}

/// A driver that calls out of turn must not be able to make a clear connection count as one under TLS.
///
/// Rules: B45
#[test]
fn a_handshake_that_nobody_asked_for_ends_the_session() {
    let world = world();
    let closes = |action| matches!(action, Action::Close(reply) if reply.code == 421);
    let mut early = world.provider();
    early.tls_started(world.secured());
    assert!(closes(world.tell(&mut early, "EHLO customer.example.org")));
    assert!(closes(world.provider().tls_unavailable()));
    let mut twice = world.under_tls();
    twice.tls_started(world.secured());
    assert!(closes(world.tell(&mut twice, "EHLO customer.example.org")));
    // A line that was read before the handshake was over is not taken for one from under TLS.
    let mut provider = world.provider();
    offer(&world, &mut provider);
    world.tell(&mut provider, "STARTTLS");
    assert!(closes(
        world.tell(&mut provider, "EHLO customer.example.org")
    ));
}

/// Rules: C16
#[test]
fn the_machine_shows_no_binding_in_logs() {
    let world = world();
    let provider = world.under_tls();
    let shown = format!("{provider:?}{:?}", world.secured());
    assert!(shown.contains("ChannelBinding(..)"));
    assert!(!shown.contains("7, 7"), "{shown}");
}
