//! In which order the messages go.
//!
//! When the customer puts off every recipient of a message (4yz), Exim says QUIT and the session is over. A message
//! that comes early each time would so starve the others. So messages that were put off before go behind those that
//! were not: they are noted first, because Exim takes the one that was noted last; and the first message of all, which
//! is ours to name, is one that was first least often.

use std::collections::{HashMap, HashSet};

use crate::queue::Snapshot;
use crate::smtp::next_hop::NextHop;

/// What is remembered of each next hop's messages, for as long as they are in the queue.
#[derive(Debug, Default)]
pub struct Order(HashMap<NextHop, Known>);

#[derive(Debug, Default)]
struct Known {
    /// How often a message went first.
    first: HashMap<String, u32>,
    /// Messages that the customer put off.
    put_off: HashSet<String>,
}

impl Order {
    /// The messages to note, in this order.
    pub fn to_note<'a>(&mut self, next_hop: &NextHop, queue: &'a Snapshot) -> Vec<&'a str> {
        let known = self.0.entry(next_hop.clone()).or_default();
        known.first.retain(|id, _| queue.waiting.contains_key(id));
        known.put_off.retain(|id| queue.waiting.contains_key(id));
        let (put_off, mut others): (Vec<&str>, Vec<&str>) = queue
            .waiting
            .keys()
            .map(String::as_str)
            .partition(|id| known.put_off.contains(*id));
        // The oldest is noted last and so goes out first.
        others.sort_by_key(|id| {
            std::cmp::Reverse((queue.waiting.get(*id).map(|waiting| waiting.arrival), *id))
        });
        let mut order = put_off;
        order.append(&mut others);
        order
    }

    /// Picks the message to begin with, and remembers it: one that was not put off, that was first least often, the
    /// oldest.
    pub fn pick(&mut self, next_hop: &NextHop, queue: &Snapshot) -> Option<String> {
        let known = self.0.entry(next_hop.clone()).or_default();
        let (id, _) = queue.waiting.iter().min_by_key(|(id, waiting)| {
            let times = known.first.get(*id).copied().unwrap_or(0);
            (
                known.put_off.contains(*id),
                times,
                waiting.arrival,
                id.as_str(),
            )
        })?;
        *known.first.entry(id.clone()).or_default() += 1;
        Some(id.clone())
    }

    /// Remembers how a session ended: which messages are left, and which of them were put off.
    pub fn ended(&mut self, next_hop: &NextHop, left: &Snapshot, put_off: HashSet<String>) {
        if left.is_empty() {
            self.0.remove(next_hop);
            return;
        }
        self.0.entry(next_hop.clone()).or_default().put_off = put_off;
    }
}
