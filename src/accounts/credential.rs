//! One stored password in Dovecot's notation: `{SCHEME}` and what the scheme stores.

use super::{Scheme, crypt};
use crate::sasl::scram::{ScramHash, ScramStored, derive};
use crate::sasl::{Secret, prepare};
use argon2::Argon2;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha_crypt::{PasswordHashRef, PasswordHasher, PasswordVerifier, ShaCrypt};
use std::fmt;
use subtle::ConstantTimeEq;
use yescrypt::Yescrypt;

/// Iterations of the SCRAM keys that are made here. Each client computes them once a login; four thousand are the
/// least RFC 5802 and RFC 7677 allow.
pub const ITERATIONS: u32 = 10_000;

/// Octets of the salts that are made here.
pub(super) const SALT_LENGTH: usize = 16;

/// A stored password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential(Kind);

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    Scram(ScramHash, ScramStored),
    Plain(Secret),
    /// The scheme's own text, checked when it was read.
    Hash(Hash, Secret),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Hash {
    Argon2id,
    Sha512Crypt,
    Yescrypt,
}

/// Why a text is no credential. Never repeats any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// No `{SCHEME}` at the start.
    #[error("no scheme in braces at the start, like {{SCRAM-SHA-256}}")]
    NoScheme,
    /// The scheme is not known.
    #[error(transparent)]
    Scheme(#[from] super::UnknownScheme),
    /// What follows is not what this scheme stores.
    #[error("not what {{{0}}} stores: {1}")]
    Form(Scheme, &'static str),
    /// No random octets could be had for a salt.
    #[error("the system gives no random octets")]
    NoRandom,
}

impl Credential {
    /// Reads a credential; whether the stored value fits its scheme is checked here and not at the first login.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub fn parse(text: &str) -> Result<Self, CredentialError> {
        let (name, stored) = text
            .strip_prefix('{')
            .and_then(|rest| rest.split_once('}'))
            .ok_or(CredentialError::NoScheme)?;
        let scheme: Scheme = name.parse()?;
        let wrong = |what| CredentialError::Form(scheme, what);
        let hash = |hash, check: fn(&str) -> Result<(), &'static str>| {
            check(stored).map_err(wrong)?;
            Ok::<_, CredentialError>(Kind::Hash(hash, Secret::from(stored)))
        };
        let scram = |hash| parse_scram(hash, stored).map_err(wrong);
        let kind =
            match scheme {
                Scheme::ScramSha256 => scram(ScramHash::Sha256)?,
                Scheme::ScramSha1 => scram(ScramHash::Sha1)?,
                Scheme::Argon2id => hash(Hash::Argon2id, crypt::argon2id)?,
                Scheme::Sha512Crypt => hash(Hash::Sha512Crypt, crypt::sha512_crypt)?,
                Scheme::Yescrypt => hash(Hash::Yescrypt, crypt::yescrypt)?,
                Scheme::Plain => Kind::Plain(prepare("password", stored).map_err(|_| {
                    wrong("a password has 1 to 255 octets and no control characters")
                })?),
            };
        Ok(Self(kind))
    }

    /// Makes the text to store for a (prepared) password, with a fresh salt.
    ///
    /// # Errors
    /// [`CredentialError::NoRandom`], or a failure of the scheme.
    pub fn make(scheme: Scheme, password: &Secret) -> Result<Secret, CredentialError> {
        let mut salt = [0; SALT_LENGTH];
        getrandom::fill(&mut salt).map_err(|_| CredentialError::NoRandom)?;
        let octets = password.expose().as_bytes();
        let failed = CredentialError::Form(scheme, "the password cannot be stored this way");
        let stored = match scheme {
            Scheme::ScramSha256 => {
                write_scram(&derive(ScramHash::Sha256, password, &salt, ITERATIONS))
            }
            Scheme::ScramSha1 => write_scram(&derive(ScramHash::Sha1, password, &salt, ITERATIONS)),
            Scheme::Argon2id => Argon2::default()
                .hash_password_with_salt(octets, &salt)
                .map_err(|_| failed)?
                .to_string(),
            Scheme::Sha512Crypt => ShaCrypt::SHA512
                // Twelve octets are the sixteen characters this scheme looks at.
                .hash_password_with_salt(octets, salt.get(..12).unwrap_or(&salt))
                .map_err(|_| failed)?
                .as_str()
                .to_owned(),
            Scheme::Yescrypt => Yescrypt::default()
                .hash_password_with_salt(octets, &salt)
                .map_err(|_| failed)?
                .as_str()
                .to_owned(),
            Scheme::Plain => password.expose().to_owned(),
        };
        let stored = Secret::from(stored);
        Ok(Secret::from(format!("{{{scheme}}}{}", stored.expose())))
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        match &self.0 {
            Kind::Scram(ScramHash::Sha256, _) => Scheme::ScramSha256,
            Kind::Scram(ScramHash::Sha1, _) => Scheme::ScramSha1,
            Kind::Plain(_) => Scheme::Plain,
            Kind::Hash(Hash::Argon2id, _) => Scheme::Argon2id,
            Kind::Hash(Hash::Sha512Crypt, _) => Scheme::Sha512Crypt,
            Kind::Hash(Hash::Yescrypt, _) => Scheme::Yescrypt,
        }
    }

    /// Whether this is the (prepared) password. Costs what the scheme costs, and compares in constant time.
    #[must_use]
    pub fn matches(&self, password: &Secret) -> bool {
        let octets = password.expose().as_bytes();
        match &self.0 {
            Kind::Scram(hash, stored) => {
                let shown = derive(*hash, password, &stored.salt, stored.iterations);
                stored.stored_key.ct_eq(&shown.stored_key).into()
            }
            Kind::Plain(stored) => stored.expose().as_bytes().ct_eq(octets).into(),
            Kind::Hash(Hash::Argon2id, stored) => Argon2::default()
                .verify_password(octets, stored.expose())
                .is_ok(),
            Kind::Hash(Hash::Sha512Crypt, stored) => PasswordHashRef::new(stored.expose())
                .is_ok_and(|stored| ShaCrypt::SHA512.verify_password(octets, stored).is_ok()),
            Kind::Hash(Hash::Yescrypt, stored) => PasswordHashRef::new(stored.expose())
                .is_ok_and(|stored| Yescrypt::default().verify_password(octets, stored).is_ok()),
        }
    }

    /// The password itself, where it is stored.
    pub(super) fn password(&self) -> Option<&Secret> {
        match &self.0 {
            Kind::Plain(password) => Some(password),
            Kind::Scram(..) | Kind::Hash(..) => None,
        }
    }

    /// The keys of SCRAM, where they are stored.
    pub(super) fn scram(&self, wanted: ScramHash) -> Option<&ScramStored> {
        match &self.0 {
            Kind::Scram(hash, stored) if *hash == wanted => Some(stored),
            _ => None,
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({{{}}}..)", self.scheme())
    }
}

/// `iterations,salt,storedkey,serverkey`, the last three in base64, as `doveadm pw` prints them.
fn parse_scram(hash: ScramHash, text: &str) -> Result<Kind, &'static str> {
    let mut fields = text.split(',');
    let mut field = || {
        fields
            .next()
            .ok_or("iterations, salt and two keys, with commas between")
    };
    let digits = field()?;
    let iterations = digits
        .parse()
        .ok()
        .filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|iterations| (1..=10_000_000).contains(iterations))
        .ok_or("the iterations are a number from 1 to 10000000")?;
    let mut octets = || {
        STANDARD
            .decode(field()?)
            .map_err(|_| "salt and keys are base64")
    };
    let stored = ScramStored {
        iterations,
        salt: octets()?,
        stored_key: octets()?,
        server_key: octets()?,
    };
    if fields.next().is_some() {
        return Err("more than iterations, salt and two keys");
    }
    if stored.salt.is_empty() || stored.salt.len() > 64 {
        return Err("the salt has 1 to 64 octets");
    }
    if stored.stored_key.len() != hash.length() || stored.server_key.len() != hash.length() {
        return Err("the keys are not as long as the digest");
    }
    Ok(Kind::Scram(hash, stored))
}

fn write_scram(stored: &ScramStored) -> String {
    let [salt, stored_key, server_key] = [&stored.salt, &stored.stored_key, &stored.server_key]
        .map(|octets| STANDARD.encode(octets));
    format!("{},{salt},{stored_key},{server_key}", stored.iterations)
}
