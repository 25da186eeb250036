//! What can be seen of a relay while it runs: numbers that its task keeps, read without a lock.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How a relay ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RelayEnd {
    /// Both sides closed in good order, or the mail server did and the peer was given time to.
    Closed,
    /// The peer's connection broke, or ended without the end of TLS.
    Lost(String),
    /// Nothing moved for too long.
    Idle(Duration),
}

impl fmt::Display for RelayEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Lost(why) => write!(f, "the peer was lost: {why}"),
            Self::Idle(limit) => write!(f, "nothing moved for {} s", limit.as_secs()),
        }
    }
}

/// A look at a relay from outside. It keeps nothing open.
#[derive(Debug, Clone)]
pub struct RelayView {
    numbers: Arc<Numbers>,
    end: watch::Receiver<Option<RelayEnd>>,
}

/// The relay's own side of it.
#[derive(Debug)]
pub(super) struct Sight {
    numbers: Arc<Numbers>,
    end: watch::Sender<Option<RelayEnd>>,
}

#[derive(Debug)]
struct Numbers {
    began: Instant,
    round_trip: Duration,
    open: AtomicBool,
    starttls: AtomicBool,
    received: AtomicU64,
    sent: AtomicU64,
    /// When an octet last moved, in milliseconds from the beginning.
    moved: AtomicU64,
}

pub(super) fn new(round_trip: Duration) -> (RelayView, Sight) {
    let numbers = Arc::new(Numbers {
        began: Instant::now(),
        round_trip,
        open: AtomicBool::new(true),
        starttls: AtomicBool::new(false),
        received: AtomicU64::new(0),
        sent: AtomicU64::new(0),
        moved: AtomicU64::new(0),
    });
    let (end, seen) = watch::channel(None);
    let view = RelayView {
        numbers: Arc::clone(&numbers),
        end: seen,
    };
    (view, Sight { numbers, end })
}

impl Numbers {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn quiet(&self) -> Duration {
        Duration::from_millis(self.now().saturating_sub(self.moved.load(Relaxed)))
    }
}

impl RelayView {
    /// Neither side has closed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.numbers.open.load(Relaxed)
    }

    /// How long no octet has moved.
    #[must_use]
    pub fn quiet(&self) -> Duration {
        self.numbers.quiet()
    }

    /// Octets that came from the peer and went to the mail server.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.numbers.received.load(Relaxed)
    }

    /// Octets that came from the mail server and went to the peer.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.numbers.sent.load(Relaxed)
    }

    /// The time to the peer and back, measured when the relay began.
    #[must_use]
    pub fn round_trip(&self) -> Duration {
        self.numbers.round_trip
    }

    /// The mail server behind the relay has offered STARTTLS, although the peer is under TLS already: a
    /// peer that takes it up cannot go on (rule B46).
    #[must_use]
    pub fn starttls_offered(&self) -> bool {
        self.numbers.starttls.load(Relaxed)
    }

    /// Waits for the end, and says how it came.
    pub async fn ended(&self) -> RelayEnd {
        let mut end = self.end.clone();
        let ended = end.wait_for(Option::is_some).await;
        // A task that was cut off with its runtime never says.
        let cut_off = || RelayEnd::Lost("the relay was cut off".to_owned());
        ended.map_or_else(|_| cut_off(), |end| end.clone().unwrap_or_else(cut_off))
    }
}

impl Sight {
    pub(super) fn received(&self, octets: usize) {
        self.moved(&self.numbers.received, octets);
    }

    pub(super) fn sent(&self, octets: usize) {
        self.moved(&self.numbers.sent, octets);
    }

    fn moved(&self, counter: &AtomicU64, octets: usize) {
        counter.fetch_add(u64::try_from(octets).unwrap_or(u64::MAX), Relaxed);
        self.numbers.moved.store(self.numbers.now(), Relaxed);
    }

    pub(super) fn quiet(&self) -> Duration {
        self.numbers.quiet()
    }

    pub(super) fn closing(&self) {
        self.numbers.open.store(false, Relaxed);
    }

    pub(super) fn offers_starttls(&self) {
        self.numbers.starttls.store(true, Relaxed);
    }

    pub(super) fn ended(&self, end: RelayEnd) {
        self.closing();
        self.end.send_replace(Some(end));
    }
}
