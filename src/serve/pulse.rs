//! The heartbeat of a standing server: the service manager hears that it lives and what it does, and a listener that
//! inetd has lent is given back when nobody has come for a while.

use super::state::{Figures, State};
use crate::service::notify;
use std::time::{Duration, Instant};

/// How often the figures are looked at.
const OFTEN: Duration = Duration::from_secs(5);
/// However short a time the operator gives.
const MOST_OFTEN: Duration = Duration::from_millis(50);

/// What was seen at the last beat.
#[derive(Debug)]
pub(super) struct Pulse {
    /// How long nobody may be connected; none is for ever.
    lent_time: Option<Duration>,
    busy: Instant,
    seen: Figures,
}

impl Pulse {
    pub(super) fn new(lent_time: Option<Duration>) -> Self {
        Self {
            lent_time,
            busy: Instant::now(),
            seen: Figures::default(),
        }
    }

    /// The time between two beats.
    pub(super) fn interval(&self) -> Duration {
        let limits = [
            notify::watchdog_interval(),
            self.lent_time.map(|time| time / 4),
        ];
        let least = limits.into_iter().flatten().fold(OFTEN, Duration::min);
        least.max(MOST_OFTEN)
    }

    /// One beat; says whether the listener may be given back.
    pub(super) fn beat(&mut self, state: &State) -> bool {
        notify::alive();
        let now = state.figures();
        if now != self.seen {
            notify::status(&now.to_string());
        }
        if now.connected > 0 || now.accepted != self.seen.accepted {
            self.busy = Instant::now();
        }
        self.seen = now;
        self.lent_time
            .is_some_and(|limit| self.busy.elapsed() >= limit)
    }
}
