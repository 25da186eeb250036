//! What one fetch came to: one line for a person, one object for a program, one exit code.

use crate::config::Provider;
use crate::report::Outcome;
use serde::{Serialize, Serializer};
use std::fmt;
use std::time::Duration;

/// How a fetch ended; decides the exit code (sysexits).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The connection was turned and handed over, and the session ended.
    Fetched,
    /// 453, or a turn that brought nothing: there was no mail.
    NoMail,
    /// No address of the provider answered.
    Unreachable,
    /// A 4yz reply, a lost connection, a failed handshake, or our own mail server was not ready.
    TryLater,
    /// The peer does not speak as RFC 2645 and RFC 5321 say.
    Protocol,
    /// The provider refused, the login failed, or there is no TLS that can be trusted.
    Refused,
    /// Our own settings are at fault.
    Configuration,
}

impl End {
    /// The exit code, from sysexits: 0, 69, 75, 76, 77, 78.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Fetched | Self::NoMail => 0,
            Self::Unreachable => 69,
            Self::TryLater => 75,
            Self::Protocol => 76,
            Self::Refused => 77,
            Self::Configuration => 78,
        }
    }

    /// The word that stands for it in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::NoMail => "no-mail",
            Self::Unreachable => "unreachable",
            Self::TryLater => "try-later",
            Self::Protocol => "protocol",
            Self::Refused => "refused",
            Self::Configuration => "configuration",
        }
    }
}

impl Serialize for End {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl From<End> for Outcome {
    fn from(end: End) -> Self {
        match end {
            End::Fetched => Self::Turned,
            End::NoMail => Self::NoMail,
            End::Unreachable => Self::Unreachable,
            End::TryLater => Self::TryLater,
            End::Protocol => Self::Protocol,
            End::Refused => Self::Refused,
            End::Configuration => Self::Internal,
        }
    }
}

/// The report of one fetch.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The address that answered, with its port.
    pub peer: Option<String>,
    /// The login name.
    pub user: String,
    /// The mechanism of the login, once it is chosen.
    pub mechanism: Option<String>,
    /// The domains that were asked for; empty stands for all.
    pub domains: Vec<String>,
    /// Version and cipher suite, once there is TLS.
    pub tls: Option<String>,
    /// The kind of hand-off.
    pub handoff: &'static str,
    /// Who carries the octets after the turn: `plain`, `kernel` or `relay`.
    pub carried: Option<&'static str>,
    /// From the dialling to the end, in seconds.
    pub seconds: f64,
    /// How it ended.
    pub end: End,
    /// The exit code that goes with it.
    pub exit: u8,
    /// One sentence that says more.
    pub text: String,
}

impl Report {
    /// A report that has not ended yet.
    #[must_use]
    pub fn new(provider: &Provider) -> Self {
        let domains = provider.domains.iter().flat_map(|list| list.iter());
        Self {
            provider: provider.name.clone(),
            peer: None,
            user: provider.user.clone(),
            mechanism: None,
            domains: domains.map(ToString::to_string).collect(),
            tls: None,
            handoff: provider.handoff.name(),
            carried: None,
            seconds: 0.0,
            end: End::Configuration,
            exit: End::Configuration.exit_code(),
            text: String::new(),
        }
    }

    /// The domains that were asked for, in words.
    #[must_use]
    pub fn asked_for(&self) -> String {
        if self.domains.is_empty() {
            return "all domains".to_owned();
        }
        self.domains.join(",")
    }

    /// Sets how it ended, after how long, and the sentence.
    #[must_use]
    pub fn ended(mut self, end: End, after: Duration, text: String) -> Self {
        self.end = end;
        self.exit = end.exit_code();
        self.seconds = (after.as_secs_f64() * 1000.0).round() / 1000.0;
        self.text = text;
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let domains = self.asked_for();
        write!(
            f,
            "{}: {domains}: {} ({:.1} s)",
            self.provider, self.text, self.seconds
        )
    }
}
