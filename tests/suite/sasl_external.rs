//! EXTERNAL: the connection says who it is; what the mechanism itself carries is at most a wish.

use crate::sasl_exchange::server;
use turnabout::sasl::client::{ClientExchange, Means};
use turnabout::sasl::server::{Evidence, ServerStep};
use turnabout::sasl::{Mechanism, SaslError, Secret};

fn external(authzid: Option<&str>) -> ServerStep {
    ServerStep::Verify(Evidence::External {
        authzid: authzid.map(str::to_owned),
    })
}

/// Rules: B75, R12
#[test]
fn our_client_shows_nothing_and_our_server_leaves_it_to_the_certificate() {
    let none = Secret::from("");
    let mut client = ClientExchange::start(Mechanism::External, "", &none).unwrap();
    let initial = client.initial().unwrap().unwrap();
    assert!(initial.is_empty());
    assert_eq!(
        server(Mechanism::External).initial(Some(&initial)),
        external(None)
    );
    client.finish().unwrap();
    assert_eq!(client.challenge(b"").unwrap_err(), SaslError::Over);
}

/// Rules: B75, B25
#[test]
fn the_server_asks_with_an_empty_challenge() {
    for (response, authzid) in [(&b""[..], None), (b"alice", Some("alice"))] {
        let mut server = server(Mechanism::External);
        assert_eq!(server.initial(None), ServerStep::Challenge(Vec::new()));
        assert_eq!(server.response(response), external(authzid));
        assert_eq!(
            server.response(response),
            ServerStep::Rejected(SaslError::Over)
        );
    }
}

/// Rules: B75, B41
#[test]
fn an_identity_is_prepared_and_has_to_be_one() {
    let ask = |response: &[u8]| server(Mechanism::External).initial(Some(response));
    assert_eq!(ask("I\u{AD}X".as_bytes()), external(Some("IX")));
    let long = [b'x'; 256];
    assert!(matches!(ask(&long[..255]), ServerStep::Verify(_)));
    for bad in [&b"\xff"[..], b"ali\0ce", b"\0", &long] {
        let step = ask(bad);
        assert!(
            matches!(step, ServerStep::Rejected(SaslError::Malformed(_))),
            "{step:?}"
        );
    }
    for nobody in ["a\u{7}", "\u{AD}"] {
        let step = ask(nobody.as_bytes());
        assert_eq!(step, ServerStep::Rejected(SaslError::Denied));
    }
}

/// Rules: B35, B71, B75, C16
#[test]
fn the_strongest_mechanism_that_there_are_means_for_is_chosen() {
    let all = Means {
        allowed: &Mechanism::ALL,
        password: true,
        plaintext: true,
        certificate: true,
        binding: true,
    };
    let offered = Mechanism::ALL.map(|mechanism| mechanism.to_string());
    let choose = |means: &Means<'_>| ClientExchange::strongest(&offered, means);
    assert_eq!(choose(&all), Some(Mechanism::External));
    let without = Means {
        certificate: false,
        ..all
    };
    assert_eq!(choose(&without), Some(Mechanism::ScramSha256Plus));
    let unbound = Means {
        binding: false,
        ..without
    };
    assert_eq!(choose(&unbound), Some(Mechanism::ScramSha256));
    // A certificate is no password, and a password no certificate.
    let only = Means {
        password: false,
        ..all
    };
    assert_eq!(choose(&only), Some(Mechanism::External));
    assert_eq!(
        ClientExchange::strongest(&offered[1..], &only),
        None,
        "there is nothing to show"
    );
    assert_eq!(
        choose(&Means {
            password: false,
            ..without
        }),
        None
    );
    // The bound form of a weaker digest goes before the unbound one of a stronger.
    let mixed = ["SCRAM-SHA-256", "scram-sha-1-plus"].map(str::to_owned);
    assert_eq!(
        ClientExchange::strongest(&mixed, &without),
        Some(Mechanism::ScramSha1Plus)
    );
}

/// Rules: B42
#[test]
fn every_mechanism_is_read_as_it_is_named_and_the_bound_forms_belong_to_the_others() {
    for mechanism in Mechanism::ALL {
        assert_eq!(mechanism.name().to_lowercase().parse(), Ok(mechanism));
        if let Some(plus) = mechanism.plus() {
            assert_eq!(plus.name(), format!("{mechanism}-PLUS"));
            assert!(plus.is_plus() && !mechanism.is_plus() && plus < mechanism);
        }
        let without = Mechanism::WITHOUT_TLS.contains(&mechanism);
        let needs_tls = mechanism.is_plus() || mechanism == Mechanism::External;
        assert_eq!(without, !needs_tls, "{mechanism}");
    }
}
