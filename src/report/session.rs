//! One connection: its id, and the one line that closes it.

use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

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

/// What is known about a connection so far; [`Session::close`] writes its closing line at info.
///
/// A session that is dropped without it, because its task was cancelled, still gets its line, with
/// `end=abandoned`.
#[derive(Debug)]
pub struct Session {
    id: String,
    started: Instant,
    closed: bool,
    failed: bool,
    what: &'static str,
    peer: Option<String>,
    provider: Option<String>,
    user: Option<String>,
    domains: Option<String>,
    mechanism: Option<String>,
    handoff: Option<String>,
    tls: Option<String>,
    carried: Option<String>,
}

impl Session {
    /// A customer's connection to our provider.
    #[must_use]
    pub fn serve(peer: impl Display) -> Session {
        let mut session = Session::start("session closed");
        session.peer(peer);
        session
    }

    /// Our own connection, as a customer, to the provider of this name.
    #[must_use]
    pub fn fetch(provider: impl Display) -> Session {
        let mut session = Session::start("fetch finished");
        session.provider = shown(provider);
        session
    }

    fn start(what: &'static str) -> Session {
        Session {
            id: session_id(),
            started: Instant::now(),
            closed: false,
            failed: false,
            what,
            peer: None,
            provider: None,
            user: None,
            domains: None,
            mechanism: None,
            handoff: None,
            tls: None,
            carried: None,
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
        (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }

    /// The peer's address.
    pub fn peer(&mut self, peer: impl Display) {
        self.peer = shown(peer);
    }

    /// Who authenticated, or tried to.
    pub fn user(&mut self, user: impl Display) {
        self.user = shown(user);
    }

    /// The domains of the ATRN that was granted.
    pub fn domains(&mut self, domains: impl Display) {
        // Parsed already, and worth its length.
        self.domains = Some(domains.to_string());
    }

    /// The mechanism of the login.
    pub fn mechanism(&mut self, mechanism: impl Display) {
        self.mechanism = shown(mechanism);
    }

    /// The kind of hand-off.
    pub fn handoff(&mut self, handoff: impl Display) {
        self.handoff = shown(handoff);
    }

    /// Version and cipher suite, once there is TLS.
    pub fn tls(&mut self, tls: impl Display) {
        self.tls = shown(tls);
    }

    /// Who carried the octets after the turn: `plain`, `kernel` or `relay`.
    pub fn carried(&mut self, carried: impl Display) {
        self.carried = shown(carried);
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
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    session = self.id,
                    provider = self.provider,
                    peer = self.peer,
                    user = self.user,
                    domains = self.domains,
                    mechanism = self.mechanism,
                    tls = self.tls,
                    handoff = self.handoff,
                    carried = self.carried,
                    seconds = self.seconds(),
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
