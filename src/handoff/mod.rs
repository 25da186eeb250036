//! Giving a turned connection to the MTA.
//!
//! Every way has the same two phases. `prepare` comes before the point of no return (the provider's 250, the
//! customer's ATRN), so that an MTA that is not there is still a polite 451. What it gives is consumed by the second
//! phase, which takes the [`Released`] connection and can only end, never fail half-way: whatever happens, the mail
//! stays with the MTA that has it.

use tokio::sync::watch;

use crate::smtp::domain::DomainList;
use crate::smtp::ehlo::Offer;
use crate::smtp::next_hop::NextHop;
use crate::wire::Released;

pub mod attributes;
pub mod catch;
pub mod customer;
pub mod error;
pub mod exec;
pub mod exim_continue;
mod line;
pub mod postfix_cache;
pub mod postfix_pass;
pub mod provider;
mod quit;
pub mod relay;

pub use error::HandoffError;

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
    /// The kernel had the session's TLS, and the customer sent a record that no mail server can read: its next session
    /// had better go through the relay.
    pub control_record: bool,
}

/// Waits until this process is told to end, for ever if nobody is left who could tell.
async fn told(shutdown: &mut watch::Receiver<bool>) {
    if shutdown.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}
