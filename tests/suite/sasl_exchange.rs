//! Whole exchanges: our client with our server, each mechanism, right and wrong.

use crate::sasl_by_hand::Alice;
use std::sync::Arc;
use turnabout::sasl::client::{ClientExchange, Means};
use turnabout::sasl::cram_md5::ChallengeSeed;
use turnabout::sasl::server::{Evidence, ServerExchange, ServerStep};
use turnabout::sasl::{Mechanism, SaslError, Secret, cram_md5};

pub fn seed() -> ChallengeSeed {
    ChallengeSeed {
        hostname: "provider.example.com".into(),
        unix_time: 1_764_000_000,
        random: *b"sixteen octets!!",
        attempt: 0,
    }
}

pub fn server(mechanism: Mechanism) -> ServerExchange {
    ServerExchange::start(mechanism, &seed(), Arc::new(Alice), None).unwrap()
}

fn client(mechanism: Mechanism, user: &str, password: &str) -> ClientExchange {
    ClientExchange::start(mechanism, user, &Secret::from(password)).unwrap()
}

/// Runs both to the end; also says how many challenges the server sent.
fn run(mechanism: Mechanism, user: &str, password: &str) -> (ServerStep, ClientExchange, usize) {
    let (mut server, mut client) = (server(mechanism), client(mechanism, user, password));
    let initial = client.initial().unwrap();
    let mut step = server.initial(initial.as_deref().map(Vec::as_slice));
    let mut challenges = 0;
    while let ServerStep::Challenge(challenge) = &step {
        challenges += 1;
        let answer = client.challenge(challenge).unwrap();
        step = server.response(&answer);
    }
    (step, client, challenges)
}

/// Rules: B64
#[test]
fn plain_carries_user_and_password_in_one_message() {
    let (step, mut client, challenges) = run(Mechanism::Plain, "alice", "pencil");
    let evidence = Evidence::Password {
        authzid: None,
        authcid: "alice".into(),
        password: "pencil".into(),
    };
    assert_eq!((step, challenges), (ServerStep::Verify(evidence), 0));
    client.finish().unwrap();
}

/// Rules: B25, B30
#[test]
fn plain_without_an_initial_response_asks_with_an_empty_challenge() {
    let mut server = server(Mechanism::Plain);
    assert_eq!(server.initial(None), ServerStep::Challenge(Vec::new()));
    let long = client(Mechanism::Plain, &"u".repeat(255), &"p".repeat(255))
        .initial()
        .unwrap()
        .unwrap();
    assert!(matches!(server.response(&long), ServerStep::Verify(_)));
}

#[test]
fn login_carries_user_and_password_in_two_messages() {
    let (step, mut client, challenges) = run(Mechanism::Login, "alice", "pencil");
    assert_eq!(challenges, 2);
    assert!(
        matches!(step, ServerStep::Verify(Evidence::Password { authcid, .. }) if authcid == "alice")
    );
    client.finish().unwrap();
}

#[test]
fn login_takes_the_user_name_as_initial_response() {
    let mut server = server(Mechanism::Login);
    assert_eq!(
        server.initial(Some(b"alice")),
        ServerStep::Challenge(b"Password:".to_vec())
    );
    assert!(matches!(server.response(b"pencil"), ServerStep::Verify(_)));
}

/// Rules: R11, B66
#[test]
fn cram_md5_proves_the_password_without_sending_it() {
    let (step, mut client, challenges) = run(Mechanism::CramMd5, "alice", "pencil");
    let ServerStep::Verify(Evidence::CramMd5 {
        user,
        challenge,
        digest_hex,
    }) = step
    else {
        panic!("{step:?}");
    };
    assert_eq!((user.as_str(), challenges), ("alice", 1));
    assert!(cram_md5::matches(&"pencil".into(), &challenge, &digest_hex));
    assert!(!cram_md5::matches(
        &"pencils".into(),
        &challenge,
        &digest_hex
    ));
    client.finish().unwrap();
}

/// Rules: B28
#[test]
fn cram_md5_with_an_initial_response_is_refused() {
    for response in [&b""[..], b"alice 00000000000000000000000000000000"] {
        let mut server = server(Mechanism::CramMd5);
        assert_eq!(
            server.initial(Some(response)),
            ServerStep::Rejected(SaslError::InitialResponseNotAllowed)
        );
        assert_eq!(
            server.response(response),
            ServerStep::Rejected(SaslError::Over)
        );
    }
}

/// Rules: B66
#[test]
fn each_attempt_gets_its_own_cram_md5_challenge_in_msg_id_form() {
    let mut seen = std::collections::HashSet::new();
    for attempt in 0..100 {
        let challenge = cram_md5::challenge(&ChallengeSeed { attempt, ..seed() });
        let text = String::from_utf8(challenge).unwrap();
        let inside = text
            .strip_prefix('<')
            .and_then(|text| text.strip_suffix('>'))
            .unwrap();
        let (left, host) = inside.split_once('@').unwrap();
        let (random, time) = left.split_once('.').unwrap();
        assert_eq!((host, time), ("provider.example.com", "1764000000"));
        assert_eq!(random.len(), 32);
        assert!(seen.insert(text));
    }
    let same = cram_md5::challenge(&ChallengeSeed {
        attempt: 7,
        ..seed()
    });
    assert!(
        seen.contains(&String::from_utf8(same).unwrap()),
        "the same seed, the same challenge"
    );
}

/// Rules: B66
#[test]
fn cram_md5_takes_names_with_spaces_and_digests_in_either_case() {
    let (user, digest) = cram_md5::parse(b"alice b c B913A602C7EDA7A495B4E6E7334D3890").unwrap();
    assert_eq!(user, "alice b c");
    assert_eq!(digest, "b913a602c7eda7a495b4e6e7334d3890");
    for bad in [
        &b""[..],
        b"alice",
        b"b913a602c7eda7a495b4e6e7334d3890",
        b"alice b913a602c7eda7a495b4e6e7334d389",
        b"alice b913a602c7eda7a495b4e6e7334d38900",
        b"alice b913a602c7eda7a495b4e6e7334d389g",
        b"alice b913a602c7eda7a495b4e6e7334d3890\n",
        b"\xff b913a602c7eda7a495b4e6e7334d3890",
    ] {
        assert!(
            matches!(cram_md5::parse(bad), Err(SaslError::Malformed(_))),
            "{bad:?}"
        );
    }
    let nobody = cram_md5::parse(b" b913a602c7eda7a495b4e6e7334d3890");
    assert_eq!(nobody, Err(SaslError::Denied));
}

/// Rules: B68, B69
#[test]
fn scram_proves_both_sides_and_ends_with_an_empty_answer() {
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
        let (step, mut client, challenges) = run(mechanism, "alice", "pencil");
        assert_eq!(step, ServerStep::Verified("alice".into()));
        assert_eq!(challenges, 2, "server-first and the signature");
        client.finish().unwrap();
    }
}

#[test]
fn scram_after_an_empty_challenge_is_the_same() {
    let mut server = server(Mechanism::ScramSha256);
    let mut client = client(Mechanism::ScramSha256, "alice", "pencil");
    assert_eq!(server.initial(None), ServerStep::Challenge(Vec::new()));
    let first = client.initial().unwrap().unwrap();
    let ServerStep::Challenge(server_first) = server.response(&first) else {
        panic!();
    };
    let last = client.challenge(&server_first).unwrap();
    assert!(matches!(server.response(&last), ServerStep::Challenge(_)));
}

/// Rules: B69
#[test]
fn scram_wants_an_empty_line_after_the_signature() {
    let mut server = server(Mechanism::ScramSha256);
    let mut client = client(Mechanism::ScramSha256, "alice", "pencil");
    let first = client.initial().unwrap().unwrap();
    let ServerStep::Challenge(server_first) = server.initial(Some(&first)) else {
        panic!();
    };
    let last = client.challenge(&server_first).unwrap();
    let ServerStep::Challenge(signature) = server.response(&last) else {
        panic!();
    };
    assert!(client.challenge(&signature).unwrap().is_empty());
    assert!(matches!(
        server.response(b"x"),
        ServerStep::Rejected(SaslError::Malformed(_))
    ));
    assert_eq!(server.response(b""), ServerStep::Rejected(SaslError::Over));
}

/// Rules: B74, C11
#[test]
fn scram_refuses_unknown_user_and_wrong_password_at_the_same_step() {
    for mechanism in [Mechanism::ScramSha1, Mechanism::ScramSha256] {
        for (user, password) in [("alice", "wrong"), ("mallory", "pencil")] {
            let (step, mut client, challenges) = run(mechanism, user, password);
            assert_eq!(step, ServerStep::Rejected(SaslError::Denied), "{user}");
            assert_eq!(challenges, 1, "{user}: no signature is shown");
            assert_eq!(client.finish(), Err(SaslError::ServerNotVerified));
        }
    }
}

/// Rules: B70
#[test]
fn scram_carries_names_with_comma_and_equals_sign() {
    #[derive(Debug)]
    struct Odd;
    impl turnabout::sasl::server::ScramKeys for Odd {
        fn lookup(
            &self,
            user: &str,
            hash: turnabout::sasl::scram::ScramHash,
        ) -> turnabout::sasl::scram::ScramStored {
            assert_eq!(user, "a,b=c=2C");
            turnabout::sasl::scram::derive(hash, &"pencil".into(), b"salt", 4096)
        }
    }
    let mut server =
        ServerExchange::start(Mechanism::ScramSha256, &seed(), Arc::new(Odd), None).unwrap();
    let mut client = client(Mechanism::ScramSha256, "a,b=c=2C", "pencil");
    let first = client.initial().unwrap().unwrap();
    let mut step = server.initial(Some(&first));
    while let ServerStep::Challenge(challenge) = &step {
        step = server.response(&client.challenge(challenge).unwrap());
    }
    assert_eq!(step, ServerStep::Verified("a,b=c=2C".into()));
}

/// Rules: B41
#[test]
fn names_and_passwords_that_look_alike_are_alike() {
    // A soft hyphen is nothing, a feminine ordinal is an a (RFC 4013 section 3).
    let read = turnabout::sasl::plain::parse("\0I\u{AD}X\0\u{AA}".as_bytes()).unwrap();
    assert_eq!((read.authcid.as_str(), read.password.expose()), ("IX", "a"));
    for (user, password) in [
        ("", "x"),
        ("alice", ""),
        ("a\u{7}", "x"),
        ("alice", "\u{AD}"),
    ] {
        let start = ClientExchange::start(Mechanism::Plain, user, &password.into());
        assert!(
            matches!(start, Err(SaslError::Unusable(_))),
            "{user:?} {password:?}"
        );
        let message = format!("\0{user}\0{password}");
        let read = turnabout::sasl::plain::parse(message.as_bytes());
        assert!(
            matches!(read, Err(SaslError::Denied)),
            "{user:?} {password:?}"
        );
    }
}

/// Rules: B64
#[test]
fn plain_takes_fields_of_255_octets_and_exactly_two_nuls() {
    let long = "x".repeat(255);
    let message = format!("{long}\0{long}\0{long}");
    let read = turnabout::sasl::plain::parse(message.as_bytes()).unwrap();
    assert_eq!(read.authzid.as_deref(), Some(long.as_str()));
    assert_eq!(
        (read.authcid.as_str(), read.password.expose()),
        (long.as_str(), long.as_str())
    );
    for bad in [
        &b""[..],
        b"alice",
        b"alice\0pencil",
        b"\0alice\0pencil\0",
        b"\0\0\0",
        b"\0alice\0\xff",
        format!("\0{long}x\0y").as_bytes(),
    ] {
        let read = turnabout::sasl::plain::parse(bad);
        assert!(
            matches!(read, Err(SaslError::Malformed(_))),
            "{bad:?} {read:?}"
        );
    }
}

/// Rules: C16
#[test]
fn no_secret_shows_in_debug_output() {
    let secret = "tanstaaftanstaaf";
    let mut shown = format!("{:?}", Secret::from(secret));
    let mut sent = Vec::new();
    for mechanism in Mechanism::WITHOUT_TLS {
        let (mut server, mut client) = (server(mechanism), client(mechanism, "alice", secret));
        let initial = client.initial().unwrap();
        let mut step = server.initial(initial.as_deref().map(Vec::as_slice));
        shown.push_str(&format!("{client:?}{server:?}{step:?}"));
        while let ServerStep::Challenge(challenge) = step {
            let Ok(answer) = client.challenge(&challenge) else {
                break;
            };
            sent.push(String::from_utf8_lossy(&challenge).into_owned());
            sent.push(String::from_utf8_lossy(&answer).into_owned());
            step = server.response(&answer);
            shown.push_str(&format!("{client:?}{server:?}{step:?}"));
        }
    }
    shown.push_str(&format!("{:?}", seed()));
    for message in sent
        .iter()
        .filter(|message| !message.is_empty() && *message != "alice")
    {
        assert!(!shown.contains(message), "{message}");
    }
    let stored = turnabout::sasl::scram::derive(
        turnabout::sasl::scram::ScramHash::Sha1,
        &secret.into(),
        b"salt",
        4096,
    );
    shown.push_str(&format!("{stored:?}"));
    assert!(!shown.contains(secret), "{shown}");
    assert!(!shown.contains("stored_key"), "{shown}");
    assert!(!shown.contains("random"), "{shown}");
}

/// Rules: B35, B42, C16
#[test]
fn the_strongest_permitted_mechanism_is_chosen() {
    let offered = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    let all = Mechanism::ALL;
    let choose = |names: &[&str], allowed: &[Mechanism], plaintext| {
        let means = Means {
            allowed,
            password: true,
            plaintext,
            certificate: false,
            binding: false,
        };
        ClientExchange::strongest(&offered(names), &means)
    };
    let many = [
        "LOGIN",
        "plain",
        "X-NEW",
        "Cram-Md5",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
    ];
    assert_eq!(choose(&many, &all, true), Some(Mechanism::ScramSha256));
    assert_eq!(choose(&many[..5], &all, true), Some(Mechanism::ScramSha1));
    assert_eq!(choose(&many[..4], &all, true), Some(Mechanism::CramMd5));
    assert_eq!(choose(&many[..3], &all, true), Some(Mechanism::Plain));
    assert_eq!(
        choose(&many[..3], &all, false),
        None,
        "the password would travel"
    );
    assert_eq!(
        choose(&many, &[Mechanism::CramMd5], true),
        Some(Mechanism::CramMd5)
    );
    assert_eq!(choose(&["SCRAM-SHA-256-PLUS"], &all, true), None);
    assert_eq!(choose(&[], &all, true), None);
}

#[test]
fn a_server_that_asks_too_often_is_told_no_more() {
    for (mechanism, answers) in [
        (Mechanism::Plain, 0),
        (Mechanism::CramMd5, 1),
        (Mechanism::Login, 2),
    ] {
        let mut client = client(mechanism, "alice", "pencil");
        client.initial().unwrap();
        for _ in 0..answers {
            client.challenge(b"?").unwrap();
        }
        assert_eq!(client.challenge(b"?"), Err(SaslError::Over), "{mechanism}");
        assert_eq!(
            client.finish(),
            Err(SaslError::ServerNotVerified),
            "{mechanism}"
        );
    }
}

#[test]
fn a_235_before_the_password_was_asked_for_is_not_believed() {
    for mechanism in [Mechanism::CramMd5, Mechanism::Login, Mechanism::ScramSha1] {
        let mut client = client(mechanism, "alice", "pencil");
        client.initial().unwrap();
        assert_eq!(
            client.finish(),
            Err(SaslError::ServerNotVerified),
            "{mechanism}"
        );
    }
}
