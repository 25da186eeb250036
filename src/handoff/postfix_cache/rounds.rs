//! After a round with the lent connection: go once more, or say QUIT? Decided by what is left in the queue.

use std::collections::HashMap;

use crate::queue::{Snapshot, Waiting};
use crate::smtp::next_hop::NextHop;

/// How often one message can be the reason for another round.
const CHANCES: u8 = 3;
/// How many rounds may follow each other in which nothing left the queue.
const ROUNDS_WITHOUT_PROGRESS: u32 = 3;
/// How many messages are flushed one by one; more are flushed by domain.
pub(super) const ONE_BY_ONE: usize = 20;

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Lend again and flush these messages.
    Flush(Vec<String>),
    /// Lend again and flush all granted domains.
    FlushAll,
    /// Say QUIT; how many messages stay in the queue.
    Quit {
        /// How many.
        left: usize,
    },
}

/// What this session knows of the rounds so far.
#[derive(Debug, Default)]
pub struct Rounds {
    chances: HashMap<String, u8>,
    left: Option<usize>,
    idle: u32,
}

impl Rounds {
    /// Decides by the queue after a round.
    ///
    /// Left are messages that the customer put off (4yz): they were tried, and are not tried again in this session.
    /// Messages that came in since the flush, or that Postfix tried while the connection was not in the cache, were
    /// not tried: they are the reason for another round.
    pub fn next(&mut self, queue: &Snapshot, next_hops: &[NextHop]) -> Next {
        let left = queue.waiting.len() + queue.running;
        let progress = self.left.replace(left).is_none_or(|before| left < before);
        self.idle = if progress { 0 } else { self.idle + 1 };
        if progress {
            // Something left the queue: Postfix looks for the connection under several names, and gives it back under
            // the last one it used, so that mail of the other kind may miss it once or twice.
            self.chances.clear();
        }
        let mut untried = Vec::new();
        for (id, waiting) in &queue.waiting {
            if is_untried(waiting, next_hops) {
                let chances = self.chances.entry(id.clone()).or_default();
                if *chances < CHANCES {
                    *chances += 1;
                    untried.push(id.clone());
                }
            }
        }
        if untried.is_empty() || self.idle >= ROUNDS_WITHOUT_PROGRESS {
            Next::Quit { left }
        } else if untried.len() < queue.waiting.len()
            && untried.len() <= ONE_BY_ONE
            && !queue.truncated
        {
            untried.sort();
            Next::Flush(untried)
        } else {
            Next::FlushAll
        }
    }
}

/// Whether this message was never offered to the customer in the last round: by the reason that Postfix keeps with it.
fn is_untried(waiting: &Waiting, next_hops: &[NextHop]) -> bool {
    if waiting.reason.is_empty() || waiting.reason == "deferred transport" {
        return true;
    }
    // Postfix found no connection in the cache and dialled the next hop, where nobody listens. Compared at the start
    // only: further on the text may be the customer's.
    let reason = waiting
        .reason
        .strip_prefix("delivery temporarily suspended: ")
        .unwrap_or(&waiting.reason);
    reason.strip_prefix("connect to ").is_some_and(|reason| {
        next_hops
            .iter()
            .any(|next_hop| reason.starts_with(&format!("{}[", next_hop.ip())))
    })
}
