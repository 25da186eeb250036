//! What is counted from the start of the process.

use std::collections::BTreeMap;

use prometheus_client::metrics::histogram::Histogram;

use super::Facts;
use crate::report::outcome::{Counter, Outcome};

/// The upper ends of the classes of durations, in seconds: a login takes a second, a large delivery hours.
const SECONDS: [f64; 12] = [
    0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 86_400.0,
];

/// The word for a session without a hand-off.
const NONE: &str = "none";

#[derive(Debug, Default)]
pub(super) struct Totals {
    /// Sessions that are over, by what they came to and by hand-off.
    pub(super) sessions: BTreeMap<(Outcome, String), u64>,
    /// How long they took, by what they came to.
    pub(super) seconds: BTreeMap<Outcome, Histogram>,
    /// Connections that a mail server was given, by hand-off and by who carries them.
    pub(super) handed_over: BTreeMap<(String, String), u64>,
    /// Answers to ATRN, by code.
    pub(super) atrn: BTreeMap<u16, u64>,
    /// Sessions that ended with mail left in the queue.
    pub(super) mail_left: u64,
    pub(super) counters: BTreeMap<Counter, u64>,
}

impl Totals {
    pub(super) fn closed(&mut self, facts: &Facts) {
        let key = (facts.outcome, word(facts.handoff.as_deref()));
        *self.sessions.entry(key).or_default() += 1;
        let seconds = self.seconds.entry(facts.outcome);
        seconds
            .or_insert_with(|| Histogram::new(SECONDS))
            .observe(facts.seconds());
    }

    pub(super) fn handed_over(&mut self, facts: &Facts) {
        let key = (
            word(facts.handoff.as_deref()),
            word(facts.carried.as_deref()),
        );
        *self.handed_over.entry(key).or_default() += 1;
    }

    /// Sessions that are over, by what they came to.
    pub(super) fn by_outcome(&self) -> BTreeMap<Outcome, u64> {
        let mut all = BTreeMap::new();
        for ((outcome, _), count) in &self.sessions {
            *all.entry(*outcome).or_default() += count;
        }
        all
    }

    /// Connections that a mail server was given, by who carries them.
    pub(super) fn by_carriage(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for ((_, carried), count) in &self.handed_over {
            *all.entry(carried.clone()).or_default() += count;
        }
        all
    }

    pub(super) fn counter(&self, counter: Counter) -> u64 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }
}

fn word(word: Option<&str>) -> String {
    word.unwrap_or(NONE).to_owned()
}
