//! One moment on three clocks: one that only goes forward, the one on the wall, and one that goes on while the machine
//! sleeps.

use crate::config::QuietHours;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// Less than that is no sleep: two clocks cannot be read at the same time.
const NOTICED: Duration = Duration::from_secs(1);

/// A moment, and where the wall is.
#[derive(Debug, Clone)]
pub(super) struct Moment {
    pub(super) at: Instant,
    pub(super) wall: Timestamp,
    pub(super) zone: TimeZone,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            at: Instant::now(),
            wall: Timestamp::now(),
            // Kept by the library, and looked up again every few minutes.
            zone: TimeZone::system(),
        }
    }

    /// If another moment, not earlier than this one, is within quiet hours: when they end.
    pub(super) fn end_of_quiet(&self, quiet: &QuietHours, at: Instant) -> Option<Instant> {
        let wall = self
            .wall
            .checked_add(at.saturating_duration_since(self.at))
            .ok()?;
        let wait = quiet.end(wall, &self.zone).duration_since(wall);
        let wait = Duration::try_from(wait).ok()?;
        (!wait.is_zero()).then(|| at + wait)
    }
}

/// Notices that the machine has slept: timers stand still meanwhile.
#[derive(Debug, Default)]
pub(super) struct Sleep(Duration);

impl Sleep {
    pub(super) fn begin() -> Self {
        Self(slept_so_far())
    }

    /// How long it has slept since it was last asked.
    pub(super) fn since(&mut self) -> Option<Duration> {
        self.noticed(slept_so_far())
    }

    fn noticed(&mut self, so_far: Duration) -> Option<Duration> {
        let slept = so_far.saturating_sub(self.0);
        if slept < NOTICED {
            return None;
        }
        self.0 = so_far;
        Some(slept)
    }
}

/// The time since the start of the machine less that in which it was awake.
fn slept_so_far() -> Duration {
    let read = |clock| clock_gettime(clock).map(Duration::from);
    match (
        read(ClockId::CLOCK_BOOTTIME),
        read(ClockId::CLOCK_MONOTONIC),
    ) {
        (Ok(all), Ok(awake)) => all.saturating_sub(awake),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::Sleep;
    use std::time::Duration;

    #[test]
    fn a_sleep_is_noticed_once_and_the_inaccuracy_of_two_clocks_never() {
        let mut sleep = Sleep(Duration::from_secs(100));
        assert_eq!(sleep.noticed(Duration::from_millis(100_900)), None);
        assert_eq!(sleep.noticed(Duration::from_millis(99_900)), None);
        let night = Duration::from_secs(8 * 3600);
        assert_eq!(sleep.noticed(Duration::from_secs(100) + night), Some(night));
        assert_eq!(sleep.noticed(Duration::from_secs(100) + night), None);
    }

    #[test]
    fn a_machine_that_is_awake_has_not_slept() {
        assert_eq!(Sleep::begin().since(), None);
    }
}
