//! Judging a login: who gets in, and that nothing shows about who exists.

use crate::accounts_credential::PENCIL;
use crate::accounts_file::{accounts, key, parse};
use crate::sasl_exchange::seed;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use turnabout::accounts::{Accounts, Judgement, Outcome, Reason, StandInKey};
use turnabout::sasl::client::ClientExchange;
use turnabout::sasl::scram::ScramHash;
use turnabout::sasl::server::{Evidence, ScramKeys, ServerExchange, ServerStep};
use turnabout::sasl::{Mechanism, cram_md5};

/// One account for each scheme, named after it, all with the password `pencil`; `limited` may come from one network only.
fn file() -> String {
    let mut text = String::new();
    let mut add = |index: usize, user: &str, credential: &str, more: &str| {
        text += &format!(
            "[[account]]\nuser = \"{user}\"\ncredential = '{credential}'\ndomains = [\"{}.example\"]\nnext_hop = \"[127.77.0.{index}]\"\n{more}\n",
            user.to_lowercase(),
        );
    };
    for (index, (scheme, credential)) in PENCIL.iter().enumerate() {
        add(index, scheme, credential, "");
    }
    add(
        100,
        "limited",
        "{PLAIN}pencil",
        "sources = [\"192.0.2.0/24\"]",
    );
    add(
        101,
        "limited-scram",
        PENCIL[0].1,
        "sources = [\"192.0.2.0/24\"]",
    );
    text
}

fn here() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn elsewhere() -> IpAddr {
    "203.0.113.7".parse().unwrap()
}

fn password(authzid: Option<&str>, user: &str, password: &str) -> Evidence {
    Evidence::Password {
        authzid: authzid.map(str::to_owned),
        authcid: user.into(),
        password: password.into(),
    }
}

fn cram(user: &str, password: &str) -> Evidence {
    let challenge = cram_md5::challenge(&seed());
    Evidence::CramMd5 {
        user: user.into(),
        digest_hex: cram_md5::digest(&password.into(), &challenge),
        challenge,
    }
}

fn reason(judgement: &Judgement) -> Option<Reason> {
    match &judgement.outcome {
        Outcome::Accepted { .. } => None,
        Outcome::Rejected(reason) => Some(*reason),
    }
}

#[test]
fn a_password_login_works_with_every_scheme() {
    let accounts = accounts(&file());
    for (user, _) in PENCIL {
        let judgement = accounts.verify(&password(None, user, "pencil"), here());
        let Outcome::Accepted { user: who, domains } = judgement.outcome else {
            panic!("{user}");
        };
        assert_eq!(who, user);
        assert_eq!(
            domains.to_string(),
            format!("{}.example", user.to_lowercase())
        );
        let judgement = accounts.verify(&password(None, user, "pencils"), here());
        assert_eq!(reason(&judgement), Some(Reason::WrongPassword), "{user}");
    }
}

/// Rules: C11, B74
#[test]
fn an_unknown_user_takes_the_same_work_as_a_known_one() {
    let accounts = accounts(&file());
    let mut checks = Vec::new();
    for user in PENCIL
        .iter()
        .map(|(user, _)| *user)
        .chain(["nobody", "limited"])
    {
        for (shown, peer) in [("pencil", here()), ("wrong", elsewhere())] {
            checks.push(accounts.verify(&password(None, user, shown), peer).checks);
        }
    }
    // One for each scheme in the file.
    assert!(
        checks.iter().all(|count| *count == PENCIL.len()),
        "{checks:?}"
    );
    for user in ["PLAIN", "SCRAM-SHA-1", "nobody", "limited"] {
        assert_eq!(accounts.verify(&cram(user, "pencil"), here()).checks, 1);
    }
    let judgement = accounts.verify(&password(None, "nobody", "pencil"), here());
    assert_eq!(
        reason(&judgement),
        Some(Reason::UnknownUser),
        "another user's password"
    );
}

#[test]
fn nobody_gets_into_an_empty_file() {
    let accounts = accounts("");
    let judgement = accounts.verify(&password(None, "alice", "pencil"), here());
    assert_eq!(reason(&judgement), Some(Reason::UnknownUser));
    let judgement = accounts.verify(&cram("alice", "pencil"), here());
    assert_eq!(reason(&judgement), Some(Reason::UnknownUser));
    assert!(accounts.mechanisms_possible().is_empty());
}

/// Rules: B65
#[test]
fn plain_acts_for_the_user_itself_and_for_nobody_else() {
    let accounts = accounts(&file());
    let own = accounts.verify(&password(Some("PLAIN"), "PLAIN", "pencil"), here());
    assert_eq!(reason(&own), None);
    let other = accounts.verify(&password(Some("limited"), "PLAIN", "pencil"), here());
    assert_eq!(reason(&other), Some(Reason::OtherIdentity));
}

/// Rules: R11, B67
#[test]
fn cram_md5_works_where_the_password_is_stored() {
    let accounts = accounts(&file());
    assert_eq!(
        reason(&accounts.verify(&cram("PLAIN", "pencil"), here())),
        None
    );
    for (user, shown, why) in [
        ("PLAIN", "pencils", Reason::WrongPassword),
        ("YESCRYPT", "pencil", Reason::NotForThisMechanism),
        ("nobody", "pencil", Reason::UnknownUser),
        (
            "nobody",
            "the digest of this is computed for nobody",
            Reason::UnknownUser,
        ),
    ] {
        assert_eq!(
            reason(&accounts.verify(&cram(user, shown), here())),
            Some(why),
            "{user}"
        );
    }
}

/// Rules: R31
#[test]
fn a_login_from_elsewhere_is_rejected_like_a_wrong_password() {
    let accounts = Arc::new(accounts(&file()));
    let mapped: IpAddr = "::ffff:192.0.2.9".parse().unwrap();
    for peer in [here(), mapped] {
        assert_eq!(
            reason(&accounts.verify(&password(None, "limited", "pencil"), peer)),
            None
        );
        assert_eq!(
            reason(&accounts.verify(&cram("limited", "pencil"), peer)),
            None
        );
        assert_eq!(
            scram(&accounts, "limited", "pencil", peer).0,
            Ok("limited".into())
        );
        assert!(accounts.access("limited", peer).is_ok());
    }
    for evidence in [
        password(None, "limited", "pencil"),
        cram("limited", "pencil"),
    ] {
        let judgement = accounts.verify(&evidence, elsewhere());
        assert_eq!(
            reason(&judgement),
            Some(Reason::ForeignSource),
            "for the operator"
        );
    }
    assert_eq!(
        accounts.access("limited", elsewhere()),
        Err(Reason::ForeignSource)
    );
    for user in ["limited", "limited-scram"] {
        let right = scram(&accounts, user, "pencil", elsewhere());
        let wrong = scram(&accounts, user, "wrong", here());
        assert_eq!(
            (&right.0, right.1),
            (&wrong.0, wrong.1),
            "{user}: at the same step"
        );
        assert!(right.0.is_err());
    }
    let visitor = accounts.visitor(elsewhere());
    visitor.lookup("limited", ScramHash::Sha256);
    assert_eq!(visitor.reason(), Some(Reason::ForeignSource));
    visitor.lookup("PLAIN", ScramHash::Sha256);
    assert_eq!(visitor.reason(), None);
}

/// The user proved, or the refusal; and the number of challenges.
fn scram_with(
    accounts: &Arc<Accounts>,
    mechanism: Mechanism,
    user: &str,
    password: &str,
    peer: IpAddr,
) -> (Result<String, ()>, usize) {
    let mut server =
        ServerExchange::start(mechanism, &seed(), accounts.visitor(peer), None).unwrap();
    let mut client = ClientExchange::start(mechanism, user, &password.into()).unwrap();
    let mut step = server.initial(client.initial().unwrap().as_deref().map(Vec::as_slice));
    let mut challenges = 0;
    loop {
        match step {
            ServerStep::Challenge(challenge) => {
                challenges += 1;
                step = server.response(&client.challenge(&challenge).unwrap());
            }
            ServerStep::Verified(user) => return (Ok(user), challenges),
            _ => return (Err(()), challenges),
        }
    }
}

fn scram(
    accounts: &Arc<Accounts>,
    user: &str,
    password: &str,
    peer: IpAddr,
) -> (Result<String, ()>, usize) {
    scram_with(accounts, Mechanism::ScramSha256, user, password, peer)
}

/// Rules: B68
#[test]
fn scram_works_with_stored_keys_and_with_a_stored_password() {
    let accounts = Arc::new(accounts(&file()));
    for (mechanism, users) in [
        (Mechanism::ScramSha256, ["SCRAM-SHA-256", "PLAIN"]),
        (Mechanism::ScramSha1, ["SCRAM-SHA-1", "PLAIN"]),
    ] {
        for user in users {
            let (proved, _) = scram_with(&accounts, mechanism, user, "pencil", here());
            assert_eq!(proved, Ok(user.to_owned()), "{mechanism}");
            let (proved, _) = scram_with(&accounts, mechanism, user, "pencils", here());
            assert_eq!(proved, Err(()), "{mechanism} {user}");
        }
        let (proved, _) = scram_with(&accounts, mechanism, "YESCRYPT", "pencil", here());
        assert_eq!(proved, Err(()), "a hash cannot serve {mechanism}");
    }
}

/// Rules: B74, C11
#[test]
fn an_unknown_user_has_a_stable_salt_that_looks_like_the_others() {
    let visitor = Arc::new(accounts(&file())).visitor(here());
    let known = visitor.lookup("SCRAM-SHA-256", ScramHash::Sha256);
    let plain = visitor.lookup("PLAIN", ScramHash::Sha256);
    let nobody = visitor.lookup("nobody", ScramHash::Sha256);
    for stored in [&plain, &nobody] {
        assert_eq!(stored.iterations, known.iterations);
        assert_eq!(stored.salt.len(), known.salt.len());
        assert_eq!(stored.stored_key.len(), known.stored_key.len());
        assert_eq!(stored.server_key.len(), known.server_key.len());
    }
    assert_ne!(
        nobody.salt,
        visitor.lookup("nobody2", ScramHash::Sha256).salt
    );
    assert_ne!(nobody.salt, visitor.lookup("nobody", ScramHash::Sha1).salt);

    // The same after a reload, even of another file; another after a restart.
    let reloaded = Arc::new(parse(&file().replace("YESCRYPT\"", "other\"")).unwrap());
    let again = reloaded
        .visitor(elsewhere())
        .lookup("nobody", ScramHash::Sha256);
    assert_eq!(again, nobody);
    let restarted = StandInKey::draw().unwrap();
    let restarted = Accounts::parse(&file(), Path::new("x"), &restarted).unwrap();
    let other = Arc::new(restarted)
        .visitor(here())
        .lookup("nobody", ScramHash::Sha256);
    assert_ne!(other.salt, nobody.salt);
    assert_eq!(format!("{:?}", key()), "StandInKey(..)");
}

#[test]
fn a_user_whose_scheme_cannot_do_scram_looks_like_an_unknown_one() {
    let with = Arc::new(accounts(&file())).visitor(here());
    let without = accounts(&file().replace("user = \"YESCRYPT\"", "user = \"other\""));
    let without = Arc::new(without).visitor(here());
    let hash = ScramHash::Sha256;
    assert_eq!(
        with.lookup("YESCRYPT", hash),
        without.lookup("YESCRYPT", hash)
    );
    assert_eq!(with.reason(), Some(Reason::NotForThisMechanism));
    assert_eq!(without.reason(), Some(Reason::UnknownUser));
}

/// Rules: R23
#[test]
fn access_follows_from_the_login() {
    let accounts = accounts(&file());
    assert_eq!(
        accounts.access("PLAIN", here()).unwrap().to_string(),
        "plain.example"
    );
    assert_eq!(accounts.access("nobody", here()), Err(Reason::UnknownUser));
}

/// Rules: R11
#[test]
fn only_mechanisms_that_an_account_can_use_are_possible() {
    use Mechanism::{
        CramMd5, Login, Plain, ScramSha1, ScramSha1Plus, ScramSha256, ScramSha256Plus,
    };
    let one = |credential: &str| {
        accounts(&format!(
            "[[account]]\nuser = \"a\"\ncredential = '{credential}'\ndomains = [\"a.example\"]\nnext_hop = \"[::1]\"\n"
        ))
        .mechanisms_possible()
    };
    assert_eq!(
        one(PENCIL[0].1),
        [ScramSha256Plus, ScramSha256, Plain, Login]
    );
    assert_eq!(one(PENCIL[1].1), [ScramSha1Plus, ScramSha1, Plain, Login]);
    assert_eq!(one(PENCIL[2].1), [Plain, Login]);
    assert_eq!(
        one(PENCIL[4].1),
        [
            ScramSha256Plus,
            ScramSha1Plus,
            ScramSha256,
            ScramSha1,
            CramMd5,
            Plain,
            Login
        ]
    );
    let no_certificate = &Mechanism::ALL[1..];
    assert_eq!(accounts(&file()).mechanisms_possible(), no_certificate);
}
