//! The sessions of this process: those that are open, those that a mail server still has, how each customer or
//! provider fared last, when it is fetched from next, and what is counted.
//!
//! What is kept is bounded: open sessions by the limits of the service, those that were left by [`LEFT`], the last
//! results by the number of accounts or providers, the counts by their few labels.

mod book;
mod figures;
mod last;
mod metrics;
mod next;
mod sheet;
mod status;
mod totals;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::outcome::{Counter, Role};

pub(super) use book::Facts;
pub use last::LastResult;
pub use next::{Next, NextFetch, Wait};
pub use status::{SessionStatus, Status, Totals as StatusTotals};

use last::{Last, Past};
use totals::Totals;

/// How many sessions are followed that were left with a mail server.
const LEFT: usize = 1000;

/// How many last results are kept, whatever happens to the accounts.
const LAST: usize = 100_000;

/// What can be seen of a connection that a mail server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Neither side has closed it.
    pub open: bool,
    /// Octets that came from the peer.
    pub received: u64,
    /// Octets that the peer has taken.
    pub sent: u64,
    /// The time to the peer and back.
    pub round_trip: Duration,
    /// For how long nothing has moved.
    pub quiet: Duration,
}

/// Looks at a connection that a mail server has, without holding it open; `None` when it is over or cannot be seen.
#[derive(Clone)]
pub struct Follow(Arc<dyn Fn() -> Option<Flow> + Send + Sync>);

impl Follow {
    /// By asking this.
    pub fn new(look: impl Fn() -> Option<Flow> + Send + Sync + 'static) -> Self {
        Self(Arc::new(look))
    }

    fn look(&self) -> Option<Flow> {
        (self.0)()
    }

    fn is_open(&self) -> bool {
        self.look().is_some_and(|flow| flow.open)
    }
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Follow")
    }
}

/// One for each process; clones are the same ledger.
#[derive(Debug, Clone)]
pub struct Ledger(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    role: Role,
    began: Instant,
    since: SystemTime,
    rows: Mutex<Rows>,
}

#[derive(Debug, Default)]
struct Rows {
    next: u64,
    open: HashMap<u64, Arc<Mutex<Facts>>>,
    left: VecDeque<Facts>,
    last: BTreeMap<String, Last>,
    past: BTreeMap<String, Past>,
    next_fetches: Vec<Next>,
    totals: Totals,
}

impl Ledger {
    /// An empty one.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self(Arc::new(Shared {
            role,
            began: Instant::now(),
            since: SystemTime::now(),
            rows: Mutex::default(),
        }))
    }

    /// The side whose sessions these are.
    #[must_use]
    pub fn role(&self) -> Role {
        self.0.role
    }

    /// Counts once.
    pub fn count(&self, counter: Counter) {
        *self.rows().totals.counters.entry(counter).or_default() += 1;
    }

    /// Forgets the last results of those who have no account any more.
    pub fn keep_results(&self, mut has_account: impl FnMut(&str) -> bool) {
        self.rows().last.retain(|name, _| has_account(name));
    }

    pub(super) fn open(&self, facts: Facts) -> (u64, Arc<Mutex<Facts>>) {
        let facts = Arc::new(Mutex::new(facts));
        let mut rows = self.rows();
        let number = rows.next;
        rows.next = number.wrapping_add(1);
        rows.open.insert(number, Arc::clone(&facts));
        (number, facts)
    }

    /// Takes a session out and counts it. One that a mail server still has is followed on.
    pub(super) fn close(&self, number: u64, facts: &Facts, end: &str) {
        // Asking the kernel takes its time: not while others wait for the ledger.
        let left = facts.follow.as_ref().is_some_and(Follow::is_open);
        let mut rows = self.rows();
        rows.open.remove(&number);
        rows.totals.closed(facts);
        if let Some(name) = facts.key(self.0.role) {
            rows.remember(name, Last::of(facts, end));
        }
        if left {
            rows.leave(facts.left(end));
        }
    }

    pub(super) fn handed_over(&self, facts: &Facts) {
        self.rows().totals.handed_over(facts);
    }

    pub(super) fn atrn(&self, code: u16) {
        *self.rows().totals.atrn.entry(code).or_default() += 1;
    }

    pub(super) fn mail_left(&self) {
        let mut rows = self.rows();
        rows.totals.mail_left = rows.totals.mail_left.saturating_add(1);
    }

    fn rows(&self) -> MutexGuard<'_, Rows> {
        lock(&self.0.rows)
    }
}

impl Rows {
    fn remember(&mut self, name: &str, last: Last) {
        if self.last.len() >= LAST && !self.last.contains_key(name) {
            self.last.pop_first();
        }
        let past = self.last.get(name).and_then(|last| last.succeeded);
        self.last.insert(name.to_owned(), last.after(past));
    }

    fn leave(&mut self, facts: Facts) {
        if self.left.len() >= LEFT {
            self.forget_closed();
        }
        if self.left.len() >= LEFT {
            self.left.pop_front();
        }
        self.left.push_back(facts);
    }

    /// Drops what the mail servers are done with.
    fn forget_closed(&mut self) {
        self.left
            .retain(|facts| facts.follow.as_ref().is_some_and(Follow::is_open));
    }
}

/// No value behind these locks is ever left half-changed, so a panic elsewhere spoils nothing.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
