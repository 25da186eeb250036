//! One connection: its id, its row in the ledger, and the one line that closes it.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::ledger::{Facts, Follow, Ledger, lock};
use super::outcome::{Counter, Outcome, State};
use super::{safe, whole};

/// An id that no other connection of this machine has at the same time, short enough to type.
///
/// The process id and a count, in letters and digits: `k3f-1a`.
#[must_use]
pub fn session_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!(
        "{}-{}",
        base32(u64::from(std::process::id())),
        base32(count)
    )
}

/// Digits and letters that are not mistaken for one another.
fn base32(mut number: u64) -> String {
    const DIGITS: [char; 32] = [
        '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h',
        'j', 'k', 'm', 'n', 'p', 'q', 'r', 's', 't', 'v', 'w', 'x', 'y', 'z',
    ];
    let mut digits = Vec::new();
    loop {
        let digit = usize::try_from(number % 32).unwrap_or(0);
        digits.push(DIGITS.get(digit).copied().unwrap_or('0'));
        number /= 32;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// What is known about a connection so far; [`Session::close`] writes its closing line at info, takes it out of the
/// ledger and counts it.
///
/// A session that is dropped without it, because its task was cancelled, still gets its line, with
/// `end=abandoned`.
#[derive(Debug)]
pub struct Session {
    id: Arc<str>,
    closed: bool,
    failed: bool,
    what: &'static str,
    ledger: Ledger,
    number: u64,
    facts: Arc<Mutex<Facts>>,
}

impl Session {
    /// A customer's connection to our provider.
    #[must_use]
    pub fn serve(ledger: &Ledger, peer: impl Display) -> Session {
        Session::start(ledger, "session closed", |facts| facts.peer = shown(peer))
    }

    /// Our own connection, as a customer, to the provider of this name.
    #[must_use]
    pub fn fetch(ledger: &Ledger, provider: impl Display) -> Session {
        Session::start(ledger, "fetch finished", |facts| {
            facts.provider = shown(provider);
        })
    }

    fn start(ledger: &Ledger, what: &'static str, known: impl FnOnce(&mut Facts)) -> Session {
        let id: Arc<str> = session_id().into();
        let mut facts = Facts::new(Arc::clone(&id));
        known(&mut facts);
        let (number, facts) = ledger.open(facts);
        Session {
            id,
            closed: false,
            failed: false,
            what,
            ledger: ledger.clone(),
            number,
            facts,
        }
    }

    /// The id, to put into the field `session` of every event about this connection.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Seconds since the connection began, in thousandths.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        lock(&self.facts).seconds()
    }

    /// What it is doing from now on.
    pub fn state(&self, state: State) {
        lock(&self.facts).state = state;
    }

    /// What it came to, as things stand; without a word it is lost.
    pub fn outcome(&self, outcome: Outcome) {
        lock(&self.facts).outcome = outcome;
    }

    /// The peer's address.
    pub fn peer(&self, peer: impl Display) {
        lock(&self.facts).peer = shown(peer);
    }

    /// The user that this is about, whoever says so.
    pub fn user(&self, user: impl Display) {
        lock(&self.facts).user = shown(user);
    }

    /// A customer has logged in: it is the one it says it is.
    pub fn logged_in(&self, user: impl Display) {
        let mut facts = lock(&self.facts);
        facts.user = shown(user);
        facts.logged_in = true;
        facts.state = State::LoggedIn;
        drop(facts);
        self.ledger.count(Counter::LoginAccepted);
    }

    /// The domains of the ATRN that was granted.
    pub fn domains(&self, domains: impl Display) {
        // Parsed already, and worth its length.
        lock(&self.facts).domains = Some(domains.to_string());
    }

    /// The code that ATRN was answered with.
    pub fn atrn(&self, code: u16) {
        self.ledger.atrn(code);
    }

    /// The mechanism of the login.
    pub fn mechanism(&self, mechanism: impl Display) {
        lock(&self.facts).mechanism = shown(mechanism);
    }

    /// The kind of hand-off.
    pub fn handoff(&self, handoff: impl Display) {
        lock(&self.facts).handoff = shown(handoff);
    }

    /// Version and cipher suite, once there is TLS.
    pub fn tls(&self, tls: impl Display) {
        lock(&self.facts).tls = shown(tls);
    }

    /// Who carried the octets after the turn: `plain`, `kernel` or `relay`.
    pub fn carried(&self, carried: impl Display) {
        lock(&self.facts).carried = shown(carried);
    }

    /// The mail server has the connection, which can be looked at so; hand-off and carriage have been told before.
    pub fn handed_over(&self, follow: Follow) {
        let mut facts = lock(&self.facts);
        facts.state = State::HandedOver;
        facts.follow = Some(follow);
        let facts = facts.clone();
        self.ledger.handed_over(&facts);
    }

    /// It ended with mail left in the queue.
    pub fn mail_left(&self) {
        self.ledger.mail_left();
    }

    /// Writes the closing line; `end` says in one phrase how it ended.
    pub fn close(mut self, end: impl Display) {
        self.write(&end);
    }

    /// The same for an end that somebody has to look at: at warn, so that a log without info has it.
    pub fn fail(mut self, end: impl Display) {
        self.failed = true;
        self.write(&end);
    }

    fn write(&mut self, end: &dyn Display) {
        if self.closed {
            return;
        }
        self.closed = true;
        let end = whole(&end.to_string()).to_string();
        let facts = lock(&self.facts).clone();
        self.ledger.close(self.number, &facts, &end);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    session = &*facts.id,
                    provider = facts.provider,
                    peer = facts.peer,
                    user = facts.user,
                    domains = facts.domains,
                    mechanism = facts.mechanism,
                    tls = facts.tls,
                    handoff = facts.handoff,
                    carried = facts.carried,
                    seconds = facts.seconds(),
                    end,
                    "{}",
                    self.what
                )
            };
        }
        if self.failed {
            line!(warn);
        } else {
            line!(info);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.write(&"abandoned");
    }
}

/// Every value may have been chosen by a peer.
fn shown(value: impl Display) -> Option<String> {
    Some(safe(&value.to_string()).to_string())
}
