//! Conversations: who may say what, and when (RFC 2645, with the SMTP and AUTH documents around it).
//!
//! Three machines, all pure. Time, random octets, the accounts' and the queue's answers come in as values; what
//! comes out is an action for the driver, which owns the connection. A transcript replays byte for byte.
//!
//! * [`provider`]: the provider as server, until the connection turns;
//! * [`customer`]: the customer as client, until the connection turns;
//! * [`greeting`]: the provider's first words as client, after it turned.

pub mod customer;
pub mod greeting;
pub mod provider;

use crate::sasl::Mechanism;
use crate::smtp::DomainList;

/// What this side becomes when the connection turns (RFC 2645 5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The provider: it now sends the mail, as SMTP client.
    ToClient,
    /// The customer: it now takes the mail, as SMTP server, and speaks first.
    ToServer,
}

/// Proof that a connection has turned: an authenticated customer asked for mail and got 2yz. Only the machines
/// of this module can make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turned {
    user: String,
    domains: Option<DomainList>,
    mechanism: Option<Mechanism>,
    direction: Direction,
}

impl Turned {
    /// The user that authenticated. Authorisation hangs on this name and on nothing else (rule R23).
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The domains whose mail may travel. At the provider always there; at the customer `None` when it asked for
    /// all of its domains without naming them (rule R17).
    #[must_use]
    pub fn domains(&self) -> Option<&DomainList> {
        self.domains.as_ref()
    }

    /// The mechanism of the authentication.
    #[must_use]
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.mechanism
    }

    /// What this side is from now on.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.direction
    }
}
