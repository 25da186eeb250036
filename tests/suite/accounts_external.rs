//! Login by certificate: whose a shown certificate is, and what a file may say about it.

use crate::accounts_file::{TWO, accounts, parse};
use rcgen::{CertificateParams, KeyPair};
use std::net::IpAddr;
use turnabout::accounts::{Judgement, Misfit, Outcome, Reason};
use turnabout::sasl::Mechanism;
use turnabout::sasl::server::Evidence;
use turnabout::tls::{Fingerprint, PeerCertificate};

/// A certificate for these names, as the wire reports it.
fn certificate(names: &[&str], trusted: bool) -> PeerCertificate {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(names).unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    PeerCertificate {
        fingerprint: Fingerprint::of(&der),
        der,
        trusted,
    }
}

/// Alice is known by these certificates only, bob by his password and these.
fn file(alice: &[&str], bob: &[&str]) -> String {
    TWO.replace(
        "credential = \"{PLAIN}pencil\"",
        &format!("certificates = {alice:?}"),
    )
    .replace(
        "credential = \"{PLAIN}crayon\"",
        &format!("credential = \"{{PLAIN}}crayon\"\ncertificates = {bob:?}"),
    )
}

/// One of alice's addresses.
fn here() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn who(judgement: &Judgement) -> Result<(&str, String), Reason> {
    match &judgement.outcome {
        Outcome::Accepted { user, domains } => Ok((user, domains.to_string())),
        Outcome::Rejected(reason) => Err(*reason),
    }
}

/// Rules: B75, R23
#[test]
fn a_pinned_certificate_is_its_account_whoever_issued_it() {
    let shown = certificate(&["laptop"], false);
    let accounts = accounts(&file(&[&shown.fingerprint.to_string()], &[]));
    let alices = "example.org,example.com".to_owned();
    let judgement = accounts.external(&shown, None, here());
    assert_eq!(who(&judgement), Ok(("alice", alices.clone())));
    let judgement = accounts.external(&shown, Some("alice"), here());
    assert_eq!(who(&judgement), Ok(("alice", alices)));
    let another = certificate(&["laptop"], true);
    assert_eq!(
        who(&accounts.external(&another, None, here())),
        Err(Reason::UnknownCertificate)
    );
    assert_eq!(
        who(&accounts.external(&another, Some("alice"), here())),
        Err(Reason::UnknownCertificate)
    );
}

/// Rules: B75
#[test]
fn nobody_acts_for_another_with_his_own_certificate() {
    let shown = certificate(&["laptop"], false);
    let accounts = accounts(&file(&[&shown.fingerprint.to_string()], &[]));
    for wanted in ["bob", "nobody", "Alice"] {
        let judgement = accounts.external(&shown, Some(wanted), here());
        assert_eq!(who(&judgement), Err(Reason::OtherIdentity), "{wanted}");
    }
}

/// Rules: B75
#[test]
fn a_name_counts_only_where_an_authority_vouches_for_it() {
    let accounts = accounts(&file(&["dns:Home.example.org"], &[]));
    let judged = |shown: &PeerCertificate| {
        let judgement = accounts.external(shown, None, here());
        who(&judgement).map(|(user, _)| user.to_owned())
    };
    assert_eq!(
        judged(&certificate(&["home.example.org"], true)),
        Ok("alice".to_owned())
    );
    assert_eq!(
        judged(&certificate(&["mx.example.org", "home.example.org"], true)),
        Ok("alice".to_owned())
    );
    assert_eq!(
        judged(&certificate(&["home.example.org"], false)),
        Err(Reason::UntrustedCertificate)
    );
    for other in ["example.org", "a.home.example.org", "home.example.net"] {
        assert_eq!(
            judged(&certificate(&[other], true)),
            Err(Reason::UnknownCertificate),
            "{other}"
        );
    }
    // A common name does not count.
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    let name = rcgen::DnType::CommonName;
    params.distinguished_name.push(name, "home.example.org");
    let key = KeyPair::generate().unwrap();
    let der = params.self_signed(&key).unwrap().der().to_vec();
    let by_common_name = PeerCertificate {
        fingerprint: Fingerprint::of(&der),
        der,
        trusted: true,
    };
    assert_eq!(judged(&by_common_name), Err(Reason::UnknownCertificate));
    // What cannot be read is nobody's.
    let garbage = PeerCertificate {
        fingerprint: Fingerprint::of(b"garbage"),
        der: b"garbage".to_vec(),
        trusted: true,
    };
    assert_eq!(judged(&garbage), Err(Reason::UnknownCertificate));
}

#[test]
fn a_certificate_of_two_accounts_needs_to_say_which() {
    let shown = certificate(&["home.example.org", "club.example.net"], true);
    let pin = shown.fingerprint.to_string();
    let names = ["dns:home.example.org", pin.as_str()];
    let accounts = accounts(&file(&names, &["dns:club.example.net"]));
    assert_eq!(
        who(&accounts.external(&shown, None, here())),
        Err(Reason::SeveralAccounts)
    );
    for (user, domains) in [
        ("alice", "example.org,example.com"),
        ("bob", "example.net,www.example.net"),
    ] {
        let judgement = accounts.external(&shown, Some(user), here());
        assert_eq!(who(&judgement), Ok((user, domains.to_owned())));
    }
}

/// Rules: R31
#[test]
fn a_certificate_from_a_network_that_is_not_its_accounts_is_rejected() {
    let shown = certificate(&["laptop"], false);
    let accounts = accounts(&file(&[&shown.fingerprint.to_string()], &[]));
    let elsewhere = "203.0.113.7".parse().unwrap();
    assert_eq!(
        who(&accounts.external(&shown, None, elsewhere)),
        Err(Reason::ForeignSource)
    );
}

#[test]
fn a_certificate_belongs_to_one_account() {
    let pin = Fingerprint::of(b"one");
    let bare = pin.to_string().to_lowercase();
    for (alice, bob) in [
        (pin.to_string(), bare),
        ("dns:a.example".to_owned(), "DNS:A.example".to_owned()),
    ] {
        let error = parse(&file(&[&alice], &[&bob])).unwrap_err().to_string();
        assert!(
            error.contains("belongs to \"alice\" already (a certificate belongs to one account"),
            "{error}"
        );
        accounts(&file(&[&alice, &alice], &[]));
    }
}

/// Rules: B55, B75
#[test]
fn external_is_possible_where_an_account_has_certificates() {
    let without = accounts(TWO);
    assert!(!without.uses_certificates());
    assert_eq!(without.need_no_authority(), Ok(()));
    assert!(!without.mechanisms_possible().contains(&Mechanism::External));
    let bound = Mechanism::ScramSha256Plus;
    assert!(without.mechanisms_possible().contains(&bound));

    let pinned = accounts(&file(&[&Fingerprint::of(b"x").to_string()], &[]));
    assert!(pinned.uses_certificates());
    assert_eq!(pinned.need_no_authority(), Ok(()));
    assert_eq!(pinned.mechanisms_possible(), Mechanism::ALL);
    let named = accounts(&file(&["dns:a.example"], &[]));
    let alice = Misfit::NoAuthority("alice".to_owned());
    assert_eq!(named.need_no_authority(), Err(alice));

    let (alone, _) = TWO.split_once("\n[[account]]\nuser = \"bob\"").unwrap();
    let alone = alone.replace(
        "credential = \"{PLAIN}pencil\"",
        "certificates = [\"dns:a.example\"]",
    );
    assert_eq!(
        accounts(&alone).mechanisms_possible(),
        [Mechanism::External]
    );
}

/// Rules: C11
#[test]
fn an_account_without_a_password_is_rejected_with_the_same_work_as_any() {
    let accounts = accounts(&file(&["dns:a.example"], &[]));
    let password = |user: &str, password: &str| Evidence::Password {
        authzid: None,
        authcid: user.into(),
        password: password.into(),
    };
    let without = accounts.verify(&password("alice", "crayon"), here());
    assert_eq!(who(&without), Err(Reason::NotForThisMechanism));
    let unknown = accounts.verify(&password("nobody", "crayon"), here());
    assert_eq!(who(&unknown), Err(Reason::UnknownUser));
    assert_eq!(without.checks, unknown.checks);
    let bob = accounts.verify(&password("bob", "crayon"), here());
    assert_eq!(who(&bob).unwrap().0, "bob");
    assert_eq!(bob.checks, without.checks);
}
