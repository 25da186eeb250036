//! Giving a turned connection to the MTA.
//!
//! Every way has the same two phases. `prepare` comes before the point of no return (the provider's 250, the
//! customer's ATRN), so that an MTA that is not there is still a polite 451. What it gives is consumed by the second
//! phase, which takes the [`Released`] connection and can only end, never fail half-way: whatever happens, the mail
//! stays with the MTA that has it.

use std::path::PathBuf;

use thiserror::Error;

use crate::queue::QueueError;
use crate::smtp::domain::DomainList;
use crate::smtp::ehlo::Offer;
use crate::smtp::next_hop::NextHop;
use crate::wire::Released;

pub mod attributes;
pub mod customer;
pub mod exec;
pub mod exim_continue;
pub mod postfix_cache;
pub mod postfix_pass;
pub mod provider;

/// A connection whose roles are reversed, after the customer's 220 and its answer to our EHLO.
#[derive(Debug)]
pub struct Reversed {
    /// The connection: blocking, nothing unread.
    pub released: Released,
    /// The name in the customer's EHLO answer.
    pub customer: String,
    /// What the customer's MTA offered.
    pub offer: Offer,
    /// The domains that were granted: mail for no other may travel here (RFC 2645 5.2.1).
    pub domains: DomainList,
    /// Where the provider's MTA routes these domains to.
    pub next_hops: Vec<NextHop>,
    /// The session's name in the log.
    pub session: String,
}

/// How a turned session ended, as far as this side can know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// One phrase for the closing log line.
    pub how: String,
    /// The session ended with QUIT and 221, or is left with an MTA that is working on it.
    pub clean: bool,
    /// Whether mail for the granted domains is left in the queue; `None` where it was not asked.
    pub remaining: Option<bool>,
}

/// Why a hand-off cannot be made. Each is a sentence for the operator; the peer hears 451.
#[derive(Debug, Error)]
pub enum HandoffError {
    /// The MTA's version is not one whose interface is known.
    #[error("cannot use {mta} {version}: this interface is known to work with {known} only (another hand-off may do)")]
    UnknownVersion {
        /// The MTA's name.
        mta: &'static str,
        /// What it says its version is.
        version: String,
        /// What is known.
        known: &'static str,
    },
    /// The MTA's configuration does not allow the hand-off.
    #[error("cannot hand over to {mta}: {cause}")]
    Configuration {
        /// The MTA's name.
        mta: &'static str,
        /// What is wrong and what to do, in words.
        cause: String,
    },
    /// The MTA's socket cannot be reached.
    #[error("cannot connect to {path}: {cause} (is the MTA running, and may this user open its sockets?)")]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The MTA's answer is not of the known interface.
    #[error("cannot hand over to {mta}: {cause}")]
    Protocol {
        /// The MTA's name.
        mta: &'static str,
        /// What it answered, in words.
        cause: String,
    },
    /// The customer's mail server does not take the connection; the sentence is whole.
    #[error("{0}")]
    Customer(String),
    /// The queue could not be asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl HandoffError {
    /// A sentence of a customer's hand-off: `cannot VERB OBJECT: CAUSE (what to do)`.
    fn new(sentence: impl Into<String>) -> Self {
        Self::Customer(sentence.into())
    }
}
