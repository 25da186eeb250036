//! Which message goes first.
//!
//! When the customer puts off every recipient of the first message (4yz), Exim says QUIT and the session is over. A
//! message that goes first each time could so starve all others for ever. So a message that was first and is still
//! there goes behind those that were not.

use std::collections::HashMap;

use crate::queue::Snapshot;
use crate::smtp::next_hop::NextHop;

/// How many messages are remembered for one next hop.
const REMEMBERED: usize = 10_000;

/// The messages that went first and stayed, by next hop, with the number of times.
#[derive(Debug, Default)]
pub struct Firsts(HashMap<NextHop, HashMap<String, u32>>);

impl Firsts {
    /// Picks the message that was first least often, among these the oldest, and notes it.
    pub fn pick(&mut self, next_hop: &NextHop, queue: &Snapshot) -> Option<String> {
        let times = self.0.entry(next_hop.clone()).or_default();
        times.retain(|id, _| queue.waiting.contains_key(id));
        let chosen = queue
            .waiting
            .iter()
            .min_by_key(|(id, waiting)| {
                (
                    times.get(*id).copied().unwrap_or(0),
                    waiting.arrival,
                    id.as_str(),
                )
            })
            .map(|(id, _)| id.clone());
        match &chosen {
            Some(id) if times.len() < REMEMBERED => *times.entry(id.clone()).or_default() += 1,
            Some(_) => times.clear(),
            None => drop(self.0.remove(next_hop)),
        }
        chosen
    }
}
