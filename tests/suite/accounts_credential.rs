//! Stored passwords: other programs' are understood, ours are what others write, and slips are found on reading.

use proptest::prelude::*;
use turnabout::accounts::{Credential, CredentialError, ITERATIONS, Scheme};
use turnabout::sasl::Mechanism;

/// Made with other programs: hashlib, libxcrypt, the reference Argon2.
pub const PENCIL: [(&str, &str); 5] = [
    (
        "SCRAM-SHA-256",
        "{SCRAM-SHA-256}4096,MDEyMzQ1Njc4OWFiY2RlZg==,nQpbZ77WudtqufPwikHXGRt6g2QJ4zns8bZLw273DRM=,jn2amWP1q1h+jgjy0YTO14S6/F02SV7taipOeB7ef20=",
    ),
    (
        "SCRAM-SHA-1",
        "{SCRAM-SHA-1}4096,MDEyMzQ1Njc4OWFiY2RlZg==,rPJ7iPSJer+bnDr9PCWJNRIA68M=,rcHjOyVIe4jH3uaHsm83lApzxlo=",
    ),
    (
        "SHA512-CRYPT",
        "{SHA512-CRYPT}$6$rounds=1000$saltsalt$bbY.T.ZpN43KapLdmlSbP6MmxBlkMSbhrh.Y1rmY0fYaRO/t.4sKqUiU.Z8byKf8Oa1yagMn/0fncuHSYrb9h.",
    ),
    (
        "YESCRYPT",
        "{YESCRYPT}$y$j75$LdJMENpBABJJ3hIHjB1Bi.$MHX0p4PJRtsNI.8GLaw3GNBacxXjHMFMnm6zzIYqzQA",
    ),
    ("PLAIN", "{PLAIN}pencil"),
];

const ARGON2ID_PASSWORD: &str = "{ARGON2ID}$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

fn credential(text: &str) -> Credential {
    Credential::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn credentials_made_by_other_programs_fit_their_password_and_no_other() {
    for (scheme, text) in PENCIL {
        let credential = credential(text);
        assert_eq!(credential.scheme().name(), scheme);
        assert!(credential.matches(&"pencil".into()), "{scheme}");
        for wrong in ["Pencil", "pencil ", "penci", "pencils"] {
            assert!(!credential.matches(&wrong.into()), "{scheme} {wrong}");
        }
    }
    assert!(credential(ARGON2ID_PASSWORD).matches(&"password".into()));
    assert!(!credential(ARGON2ID_PASSWORD).matches(&"pencil".into()));
    let five_thousand_rounds = "{SHA512-CRYPT}$6$saltsalt$rD9fW1BwIrjB90WCgCTdIQc3phTBhf04I6Iw/XlgKD9E9aEbzqGZipjiFxGo/4wWXDA6jV6/vZO.kKdDSfUJb0";
    assert!(credential(five_thousand_rounds).matches(&"pencil".into()));
}

#[test]
fn a_scheme_is_known_in_any_case() {
    assert_eq!(credential("{plain}pencil").scheme(), Scheme::Plain);
    assert_eq!("scram-sha-256".parse(), Ok(Scheme::ScramSha256));
}

#[test]
fn what_is_made_is_read_and_fits() {
    for scheme in Scheme::ALL {
        let text = Credential::make(scheme, &"pencil".into()).unwrap();
        let again = Credential::make(scheme, &"pencil".into()).unwrap();
        assert_eq!(
            text == again,
            scheme == Scheme::Plain,
            "{scheme}: a fresh salt each time"
        );
        assert!(text.expose().starts_with(&format!("{{{scheme}}}")));
        let credential = credential(text.expose());
        assert_eq!(credential.scheme(), scheme);
        assert!(credential.matches(&"pencil".into()), "{scheme}");
        assert!(!credential.matches(&"pencils".into()), "{scheme}");
    }
}

/// Rules: B68
#[test]
fn scram_keys_are_made_with_4096_iterations_or_more() {
    const { assert!(ITERATIONS >= 4096) };
    let text = Credential::make(Scheme::ScramSha256, &"pencil".into()).unwrap();
    let iterations = text.expose().split(['}', ',']).nth(1).unwrap();
    assert_eq!(iterations, ITERATIONS.to_string());
}

/// Rules: C16
#[test]
fn a_credential_shows_nothing_but_its_scheme() {
    for (scheme, text) in PENCIL {
        let shown = format!("{:?}", credential(text));
        assert_eq!(shown, format!("Credential({{{scheme}}}..)"));
    }
}

#[test]
fn slips_are_found_on_reading_and_not_repeated() {
    let key32 = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let secret = "s3cr3t";
    let crypt86 = "x".repeat(86);
    for text in [
        secret.to_owned(),
        format!("PLAIN{secret}"),
        format!("{{PLAIN{secret}"),
        "{PLAIN}".to_owned(),
        format!("{{PLAIN}}{secret}\u{7}"),
        format!("{{PLAIN}}{}", secret.repeat(50)),
        format!("{{MD5}}{secret}"),
        format!("{{SCRAM-SHA-256}}{secret}"),
        format!("{{SCRAM-SHA-256}}4096,AAAA,{key32}"),
        format!("{{SCRAM-SHA-256}}4096,AAAA,{key32},{key32},{secret}"),
        format!("{{SCRAM-SHA-256}}0,AAAA,{key32},{key32}"),
        format!("{{SCRAM-SHA-256}}+4096,AAAA,{key32},{key32}"),
        format!("{{SCRAM-SHA-256}}99999999999,AAAA,{key32},{key32}"),
        format!("{{SCRAM-SHA-256}}4096,,{key32},{key32}"),
        format!("{{SCRAM-SHA-256}}4096,*,{key32},{key32}"),
        format!("{{SCRAM-SHA-256}}4096,AAAA,AAAA,{key32}"),
        format!("{{SCRAM-SHA-1}}4096,AAAA,{key32},{key32}"),
        format!("{{SHA512-CRYPT}}{secret}"),
        format!("{{SHA512-CRYPT}}$5$salt${crypt86}"),
        format!("{{SHA512-CRYPT}}$6$salt${secret}"),
        format!("{{SHA512-CRYPT}}$6$rounds=999$salt${crypt86}"),
        format!("{{SHA512-CRYPT}}$6$rounds=99999999$salt${crypt86}"),
        format!("{{SHA512-CRYPT}}$6$seventeen.letters${crypt86}"),
        format!("{{SHA512-CRYPT}}$6$salt${crypt86}$"),
        format!("{{YESCRYPT}}{secret}"),
        "{YESCRYPT}$y$j9T$LdJMENpBABJJ3hIHjB1Bi.$".to_owned(),
        "{YESCRYPT}$y$j9T$LdJMENpBABJJ3hIHjB1Bi.$MHX0".to_owned(),
        format!("{{YESCRYPT}}$y$!!!$salt${}", "x".repeat(43)),
        format!("{{YESCRYPT}}$y$jzzzz$salt${}", "x".repeat(43)),
        format!("{{ARGON2ID}}{secret}"),
        ARGON2ID_PASSWORD.replace("argon2id", "argon2i"),
        ARGON2ID_PASSWORD.replace("v=19", "v=16"),
        ARGON2ID_PASSWORD.replace("m=256", "m=9999999"),
        ARGON2ID_PASSWORD.replace(
            "$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "",
        ),
    ] {
        let error = Credential::parse(&text).expect_err(&text);
        assert!(!error.to_string().contains(secret), "{error}");
    }
}

#[test]
fn a_mistyped_scheme_gets_the_nearest_name() {
    let error = Credential::parse("{SCRAM-SHA256}x").unwrap_err();
    assert!(matches!(error, CredentialError::Scheme(_)));
    assert!(error.to_string().contains("SCRAM-SHA-256"), "{error}");
}

/// Rules: B67
#[test]
fn only_a_stored_password_serves_cram_md5() {
    for scheme in Scheme::ALL {
        assert_eq!(scheme.serves(Mechanism::CramMd5), scheme == Scheme::Plain);
        assert!(scheme.serves(Mechanism::Plain) && scheme.serves(Mechanism::Login));
        let sha256 = matches!(scheme, Scheme::Plain | Scheme::ScramSha256);
        assert_eq!(scheme.serves(Mechanism::ScramSha256), sha256);
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_credential_parser_panic(
        scheme in "\\{?[A-Z0-9-]{0,13}\\}?",
        rest in "[$a-zA-Z0-9=,./+]{0,60}",
        any in any::<String>(),
    ) {
        drop(Credential::parse(&format!("{scheme}{rest}")));
        drop(Credential::parse(&any));
        for scheme in Scheme::ALL {
            drop(Credential::parse(&format!("{{{scheme}}}{rest}")));
            drop(Credential::parse(&format!("{{{scheme}}}{any}")));
        }
        drop(Credential::parse(&format!("{{ARGON2ID}}$argon2id$v=19${rest}")));
        drop(Credential::parse(&format!("{{YESCRYPT}}$y${rest}$salt${}", "x".repeat(43))));
        drop(Credential::parse(&format!("{{SHA512-CRYPT}}$6${rest}")));
    }
}
