//! Is there mail for these domains, and please try it now: asked of the MTA that owns the queue.
//!
//! Both MTAs answer the same three questions: is anything waiting ([`postfix::Queue::waiting`]), what exactly
//! (`snapshot`), and would you try it now (`flush`, or Exim's `prime`). What cannot be asked is an error, and the
//! session says 451 (RFC 2645 5.2.1); it is never taken for an empty queue.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Duration;

use thiserror::Error;

use crate::smtp::domain::{Domain, DomainList};

pub mod exim;
pub mod postfix;
mod program;
pub mod showq;
pub mod together;

pub(crate) use program::{Answer, Program};

/// Why the queue could not be asked or set going. Each is a sentence for the operator.
#[derive(Debug, Error)]
pub enum QueueError {
    /// The program is not there or may not be run.
    #[error(
        "cannot run {program}: {cause} (is the MTA installed, and does the configured path lead to it?)"
    )]
    Start {
        /// The program's path.
        program: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The program said no.
    #[error("cannot {what}: {program} ended with {status}: {said}")]
    Failed {
        /// What was asked of it.
        what: &'static str,
        /// The program's path.
        program: PathBuf,
        /// Its exit status in words.
        status: String,
        /// The first lines of its error output.
        said: String,
    },
    /// The program did not answer in time.
    #[error("cannot {what}: {program} gave no answer in {} s (a very long queue? see queue_time)", .limit.as_secs())]
    Slow {
        /// What was asked of it.
        what: &'static str,
        /// The program's path.
        program: PathBuf,
        /// How long it had.
        limit: Duration,
    },
    /// The answer is not what this program is known to print.
    #[error("cannot {what}: the answer of {program} is not understood: {cause}")]
    Strange {
        /// What was asked of it.
        what: &'static str,
        /// The program's path.
        program: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The reading that was also for others failed.
    #[error(transparent)]
    Shared(std::sync::Arc<QueueError>),
    /// The reading ended without an answer: this process is ending.
    #[error("cannot ask the queue for mail: the question was broken off (is turnabout stopping?)")]
    BrokenOff,
    /// Postfix does not keep a list of this domain's deferred mail, so it cannot be flushed.
    #[error(
        "cannot flush {domain}: Postfix does not list it in fast_flush_domains, whose default is relay_domains (add it there): {said}"
    )]
    NotFlushable {
        /// The domain.
        domain: Domain,
        /// What postqueue said.
        said: String,
    },
}

/// One queued message with at least one recipient in the granted domains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// When the MTA took it in, in seconds since 1970; 0 where the MTA does not say.
    pub arrival: u64,
    /// Why it was last deferred, cut to 200 octets; empty if it never was.
    pub reason: String,
}

/// What waits for the granted domains at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Messages at rest (deferred), by queue id.
    pub waiting: HashMap<String, Waiting>,
    /// Messages which the MTA is working on at this moment.
    pub running: usize,
    /// More messages than the caller wanted to hear of: `waiting` is only a part.
    pub truncated: bool,
}

impl Snapshot {
    /// Nothing waits and nothing is being delivered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }
}

/// Whether the address's domain is one of these, exactly (RFC 2645 has no subdomain wildcard).
pub(crate) fn addressed_to(address: &str, domains: &DomainList) -> bool {
    address
        .rsplit_once('@')
        .and_then(|(_, domain)| domain.parse::<Domain>().ok())
        .is_some_and(|domain| domains.contains(&domain))
}

/// The first `limit` octets of a text, at a character's boundary, control characters made harmless.
pub(crate) fn cut(text: &str, limit: usize) -> String {
    text.chars()
        .map(|character| {
            if character.is_control() {
                ' '
            } else {
                character
            }
        })
        .scan(0, |length, character| {
            *length += character.len_utf8();
            (*length <= limit).then_some(character)
        })
        .collect()
}
