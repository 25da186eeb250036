//! The ways a password can be stored, by the names Dovecot gives them.

use crate::config::suggest::suggest;
use crate::sasl::Mechanism;
use std::fmt;
use std::str::FromStr;

/// How a password is stored: what stands in braces before a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Keys of SCRAM-SHA-256; serves SCRAM-SHA-256, PLAIN and LOGIN.
    ScramSha256,
    /// Keys of SCRAM-SHA-1; serves SCRAM-SHA-1, PLAIN and LOGIN.
    ScramSha1,
    /// Argon2id; serves PLAIN and LOGIN.
    Argon2id,
    /// SHA-512 of crypt(5); serves PLAIN and LOGIN.
    Sha512Crypt,
    /// yescrypt of crypt(5); serves PLAIN and LOGIN.
    Yescrypt,
    /// The password itself; serves every mechanism, and is the only one that CRAM-MD5 can use.
    Plain,
}

/// A name that is no scheme; it says what to write instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no such scheme (write {0})")]
pub struct UnknownScheme(String);

impl Scheme {
    /// All schemes, the one to prefer first.
    pub const ALL: [Self; 6] = [
        Self::ScramSha256,
        Self::ScramSha1,
        Self::Argon2id,
        Self::Sha512Crypt,
        Self::Yescrypt,
        Self::Plain,
    ];

    /// The name as it is written in braces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::Argon2id => "ARGON2ID",
            Self::Sha512Crypt => "SHA512-CRYPT",
            Self::Yescrypt => "YESCRYPT",
            Self::Plain => "PLAIN",
        }
    }

    /// Whether an account stored this way can log in with a mechanism (conflict X5: CRAM-MD5 needs the
    /// password itself).
    #[must_use]
    pub const fn serves(self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::External => false,
            Mechanism::Plain | Mechanism::Login => true,
            Mechanism::CramMd5 => matches!(self, Self::Plain),
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => {
                matches!(self, Self::Plain | Self::ScramSha256)
            }
            Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => {
                matches!(self, Self::Plain | Self::ScramSha1)
            }
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Scheme {
    type Err = UnknownScheme;

    /// Case does not matter.
    fn from_str(text: &str) -> Result<Self, UnknownScheme> {
        Self::ALL
            .into_iter()
            .find(|scheme| scheme.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name);
                let nearest = suggest(text, names).map_or_else(|| names.join(", "), str::to_owned);
                UnknownScheme(nearest)
            })
    }
}
