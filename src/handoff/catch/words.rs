//! What the two ends of a hand-off between containers say to each other: one JSON object a line.
//!
//! turnabout-handoff(7) documents it for those who write an end of their own. What is not known in an object is passed
//! over, so that later versions may say more.

use crate::smtp::domain::DomainList;
use crate::tls::Facts;
use crate::wire::{Carriage, Released};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

/// The version of all of this.
pub const VERSION: u32 = 1;

/// The longest line, in octets with its end. The domains of one ATRN fit many times.
pub const LONGEST: usize = 8192;

/// The direction in which mail comes to the receiver: it is the SMTP server and speaks first.
pub const INBOUND: &str = "inbound";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "message", rename_all = "lowercase")]
pub enum Word {
    /// The sender: a connection may come, would you take it?
    Offer(Offer),
    /// The receiver: it would. Everything that can be made ready is.
    Ready {
        /// The version that is spoken from here on, one of those offered.
        version: u32,
    },
    /// The sender: here it is. Its descriptor comes with the first octet.
    Connection(Box<Connection>),
    /// The receiver: the mail server has it, drop your copy.
    Taken,
    /// The receiver, in place of either answer: no, and no copy of a descriptor is left here.
    Refused {
        /// Why, for the operator.
        reason: String,
    },
}

/// What may come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The versions that the sender speaks.
    pub versions: Vec<u32>,
    /// Which way mail will go: [`INBOUND`] is all there is so far.
    pub direction: String,
    /// The connection may be the end of a relay, which has no address.
    pub relay: bool,
}

/// What is known of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// As agreed.
    pub version: u32,
    /// As offered.
    pub direction: String,
    /// The session's name in the sender's log.
    pub session: String,
    /// The sender's name for the provider.
    pub provider: String,
    /// Who has authenticated at the provider.
    pub user: String,
    /// The domains that were asked for; none: all that the provider has for this user.
    pub domains: Option<Vec<String>>,
    /// The provider's address and port, whatever the descriptor is.
    pub peer: SocketAddr,
    /// Our own on that connection.
    pub local: SocketAddr,
    /// Who carries it.
    pub carried: Carried,
    /// What the handshake has shown; none without TLS.
    pub tls: Option<Tls>,
}

/// Who stands between the descriptor and the provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Carried {
    /// Nobody: it is the TCP socket, without TLS.
    Plain,
    /// The kernel: it is the TCP socket, and the kernel encrypts.
    Kernel,
    /// The sender: it is one end of a Unix socket pair.
    Relay,
}

impl Carried {
    /// The word in the log, as in the record.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Kernel => "kernel",
            Self::Relay => "relay",
        }
    }
}

/// TLS between the sender and the provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// Such as `TLS1.3`.
    pub version: String,
    /// The cipher suite by its registered name.
    pub cipher: String,
    /// The SHA-256 of the provider's certificate, as `sha256:...`.
    pub fingerprint: Option<String>,
}

/// Whose connection it is, for the record.
#[derive(Debug, Clone, Copy)]
pub struct About<'a> {
    /// The session's name in the log.
    pub session: &'a str,
    /// The operator's name for the provider.
    pub provider: &'a str,
    /// Who has authenticated.
    pub user: &'a str,
    /// The domains that were asked for.
    pub domains: Option<&'a DomainList>,
}

impl Connection {
    /// The record of a connection that is about to be sent.
    #[must_use]
    pub fn new(released: &Released, about: &About<'_>) -> Self {
        let domains = about
            .domains
            .map(|list| list.iter().map(ToString::to_string));
        Self {
            version: VERSION,
            direction: INBOUND.to_owned(),
            session: about.session.to_owned(),
            provider: about.provider.to_owned(),
            user: about.user.to_owned(),
            domains: domains.map(Iterator::collect),
            peer: released.peer(),
            local: released.local(),
            carried: match released.carriage() {
                Carriage::Plain => Carried::Plain,
                Carriage::Kernel => Carried::Kernel,
                Carriage::Relay(_) => Carried::Relay,
            },
            tls: released.tls().map(Tls::of),
        }
    }
}

impl Tls {
    fn of(facts: &Facts) -> Self {
        Self {
            version: facts.version.to_string(),
            cipher: facts.cipher.to_owned(),
            fingerprint: facts.peer.as_ref().map(|peer| peer.fingerprint.to_string()),
        }
    }
}

/// Is this peer one that a mail server takes for its own machine, and trusts?
#[must_use]
pub fn names_this_machine(peer: SocketAddr) -> bool {
    let ip = peer.ip().to_canonical();
    ip.is_loopback() || ip.is_unspecified()
}

impl Word {
    /// The line, with its end.
    ///
    /// # Errors
    /// It is longer than [`LONGEST`].
    pub fn line(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        if line.len() > LONGEST {
            let text = format!(
                "the record has {} octets, {LONGEST} are allowed",
                line.len()
            );
            return Err(serde::ser::Error::custom(text));
        }
        Ok(line)
    }

    /// Reads a line without its end.
    ///
    /// # Errors
    /// It is none of these words.
    pub fn read(line: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(line)
    }
}
