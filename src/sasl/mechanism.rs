//! The names of the mechanisms, and their order.

use std::fmt;
use std::str::FromStr;

/// A SASL mechanism this program speaks, strongest first (so the least in order is the best).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mechanism {
    /// EXTERNAL (RFC 4422 appendix A): the certificate of the TLS connection says who the client is (rule B75). It comes
    /// first, since whoever has set up a certificate means it.
    External,
    /// SCRAM-SHA-256-PLUS (RFC 7677): SCRAM-SHA-256 bound to the TLS connection (rule B71).
    ScramSha256Plus,
    /// SCRAM-SHA-1-PLUS (RFC 5802): SCRAM-SHA-1 bound to the TLS connection.
    ScramSha1Plus,
    /// SCRAM-SHA-256 (RFC 7677): both sides prove themselves, no password travels or need be stored.
    ScramSha256,
    /// SCRAM-SHA-1 (RFC 5802): the same with an older digest; whoever does SCRAM does this one (rule B68).
    ScramSha1,
    /// CRAM-MD5 (RFC 2195): mandatory for ODMR (rule R11); needs the password itself on the provider's side.
    CramMd5,
    /// PLAIN (RFC 4616): the password travels.
    Plain,
    /// LOGIN (an old draft, still asked for): the password travels.
    Login,
}

/// A mechanism name that is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a mechanism known here (EXTERNAL, SCRAM-SHA-256-PLUS, SCRAM-SHA-1-PLUS, SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN)"
)]
pub struct UnknownMechanism;

impl Mechanism {
    /// All mechanisms, strongest first.
    pub const ALL: [Self; 8] = [
        Self::External,
        Self::ScramSha256Plus,
        Self::ScramSha1Plus,
        Self::ScramSha256,
        Self::ScramSha1,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
    ];

    /// Those that work on a connection without TLS, strongest first.
    pub const WITHOUT_TLS: [Self; 5] = [
        Self::ScramSha256,
        Self::ScramSha1,
        Self::CramMd5,
        Self::Plain,
        Self::Login,
    ];

    /// The registered name, in upper case (rule B42).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::CramMd5 => "CRAM-MD5",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }

    /// Whether the password itself travels, so that it needs TLS or the operator's word (rule B35).
    #[must_use]
    pub const fn is_plaintext(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }

    /// Whether it is one of SCRAM's.
    #[must_use]
    pub const fn is_scram(self) -> bool {
        matches!(
            self,
            Self::ScramSha256Plus | Self::ScramSha1Plus | Self::ScramSha256 | Self::ScramSha1
        )
    }

    /// Whether the exchange is bound to the TLS connection it runs on, so that it needs a
    /// [`ChannelBinding`](super::ChannelBinding).
    #[must_use]
    pub const fn is_plus(self) -> bool {
        matches!(self, Self::ScramSha256Plus | Self::ScramSha1Plus)
    }

    /// The -PLUS form of this mechanism, for those that have one: both are offered together (rule B71).
    #[must_use]
    pub const fn plus(self) -> Option<Self> {
        match self {
            Self::ScramSha256 => Some(Self::ScramSha256Plus),
            Self::ScramSha1 => Some(Self::ScramSha1Plus),
            _ => None,
        }
    }

    /// Whether the provider speaks first, so that an initial response is an error (rule B28).
    ///
    /// LOGIN is such a mechanism by its draft, but clients send the user's name with `AUTH LOGIN` all the
    /// same and servers take it; so do we.
    #[must_use]
    pub const fn is_server_first(self) -> bool {
        matches!(self, Self::CramMd5)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mechanism {
    type Err = UnknownMechanism;

    /// Case does not matter (rule B42).
    fn from_str(text: &str) -> Result<Self, UnknownMechanism> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownMechanism)
    }
}
