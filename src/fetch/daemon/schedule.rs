//! When to fetch from one provider. Time and chance come in from outside, so that every course can be tested.

use crate::config::Schedule;
use crate::fetch::End;
use std::time::{Duration, Instant};

/// How one provider's fetches have gone so far, and when the next is due.
#[derive(Debug, Clone)]
pub(super) struct Course {
    times: Schedule,
    /// Failures since the last success.
    failures: u32,
    due: Instant,
    running: bool,
    /// Somebody asked for a fetch while one was running, which may have come too early for the mail that is meant.
    again: bool,
}

impl Course {
    /// The first fetch is due at once.
    pub(super) fn new(times: Schedule, now: Instant) -> Self {
        Self {
            times,
            failures: 0,
            due: now,
            running: false,
            again: false,
        }
    }

    /// When to fetch next; not known while a fetch runs.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.running).then_some(self.due)
    }

    /// Takes the turn if it is time; never while a fetch runs.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = self.due().is_some_and(|due| due <= now);
        self.running |= begins;
        begins
    }

    /// A fetch is wanted now: if one is running, once more when it has ended.
    pub(super) fn want(&mut self, now: Instant) {
        if self.running {
            self.again = true;
        } else {
            self.due = self.due.min(now);
        }
    }

    /// A fetch has ended: says how long the wait is. `chance` is from 0 to 1.
    pub(super) fn ended(&mut self, end: End, now: Instant, chance: f64) -> Duration {
        self.running = false;
        let again = std::mem::take(&mut self.again);
        let base = match end {
            End::Fetched | End::NoMail => {
                self.failures = 0;
                self.times.interval
            }
            End::Unreachable | End::TryLater | End::Protocol => {
                self.failures = self.failures.saturating_add(1);
                self.back_off()
            }
            // A wrong password again and again locks an account.
            End::Refused | End::Configuration => {
                self.failures = self.failures.saturating_add(1);
                self.times.retry_longest.max(self.times.interval)
            }
        };
        let wait = if again && !matches!(end, End::Refused | End::Configuration) {
            Duration::ZERO
        } else {
            base + self.times.jitter.mul_f64(chance.clamp(0.0, 1.0))
        };
        self.due = now + wait;
        wait
    }

    /// New settings: what failed is tried at once, since that is what they may be for; otherwise no wait becomes longer
    /// than the new interval.
    pub(super) fn reload(&mut self, times: Schedule, now: Instant) {
        self.times = times;
        if self.failures > 0 {
            self.want(now);
        } else {
            self.due = self.due.min(now + times.interval);
        }
    }

    fn back_off(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        let wait = self.times.retry_first.saturating_mul(doubled);
        wait.min(self.times.retry_longest)
    }
}

#[cfg(test)]
mod tests {
    use super::Course;
    use crate::config::Schedule;
    use crate::fetch::End;
    use proptest::prelude::*;
    use std::time::{Duration, Instant};

    const MINUTE: Duration = Duration::from_secs(60);

    fn times() -> Schedule {
        Schedule {
            interval: 15 * MINUTE,
            jitter: MINUTE,
            retry_first: MINUTE,
            retry_longest: 60 * MINUTE,
        }
    }

    /// The waits after these ends, one after the other, without jitter.
    fn waits(ends: &[End]) -> Vec<u64> {
        let mut now = Instant::now();
        let mut course = Course::new(times(), now);
        let after = |end: &End| {
            assert!(course.begin(now));
            let wait = course.ended(*end, now, 0.0);
            assert!(!course.begin(now + wait - Duration::from_millis(1)));
            now += wait;
            wait.as_secs() / 60
        };
        ends.iter().map(after).collect()
    }

    #[test]
    fn after_a_success_the_interval_and_after_failures_twice_as_long_each_time() {
        use End::{Fetched, NoMail, Protocol, TryLater, Unreachable};
        assert_eq!(waits(&[Fetched, NoMail]), [15, 15]);
        let failures = [TryLater, Unreachable, Protocol, TryLater];
        assert_eq!(waits(&failures), [1, 2, 4, 8]);
        let late: Vec<u64> = waits(&[TryLater; 9]).into_iter().skip(5).collect();
        assert_eq!(late, [32, 60, 60, 60]);
        assert_eq!(
            waits(&[TryLater, TryLater, NoMail, TryLater]),
            [1, 2, 15, 1]
        );
    }

    #[test]
    fn a_refusal_waits_the_longest_at_once_however_often_somebody_asked_meanwhile() {
        use End::{Configuration, Refused};
        assert_eq!(waits(&[Refused, Configuration, Refused]), [60, 60, 60]);
        let now = Instant::now();
        let mut course = Course::new(times(), now);
        assert!(course.begin(now));
        course.want(now);
        assert_eq!(course.ended(Refused, now, 0.0), 60 * MINUTE);
        assert!(!course.begin(now));
        let rarely = Schedule {
            interval: 360 * MINUTE,
            ..times()
        };
        let mut course = Course::new(rarely, now);
        assert_eq!(course.ended(Refused, now, 0.0), 360 * MINUTE);
    }

    #[test]
    fn who_asks_during_a_fetch_gets_one_more_when_it_has_ended() {
        let now = Instant::now();
        let mut course = Course::new(times(), now);
        assert!(course.begin(now));
        course.want(now);
        course.want(now);
        assert!(!course.begin(now), "never two at once");
        assert_eq!(course.ended(End::NoMail, now, 0.5), Duration::ZERO);
        assert!(course.begin(now));
        assert_eq!(course.ended(End::NoMail, now, 0.0), 15 * MINUTE);
    }

    #[test]
    fn new_settings_try_at_once_what_failed_and_lengthen_no_wait() {
        let now = Instant::now();
        let mut failed = Course::new(times(), now);
        failed.ended(End::Refused, now, 0.0);
        failed.reload(times(), now);
        assert!(failed.begin(now));
        let mut fine = Course::new(times(), now);
        fine.ended(End::NoMail, now, 0.0);
        let often = Schedule {
            interval: 2 * MINUTE,
            ..times()
        };
        fine.reload(often, now);
        assert_eq!(fine.due(), Some(now + 2 * MINUTE));
        fine.reload(times(), now);
        assert_eq!(fine.due(), Some(now + 2 * MINUTE));
    }

    proptest! {
        /// Whatever happens in whatever order: never two at once, no wait shorter than a minute that nobody asked for,
        /// and none longer than the longest with its jitter.
        #[test]
        fn no_course_hammers_or_stops(
            events in proptest::collection::vec((0_u8..9, 0_u64..7200, 0.0_f64..=1.0), 1..200)
        ) {
            let mut now = Instant::now();
            let mut course = Course::new(times(), now);
            let (mut running, mut asked) = (false, false);
            for (event, seconds, chance) in events {
                now += Duration::from_secs(seconds);
                match event {
                    0..=2 => {
                        let due = course.due();
                        let begins = course.begin(now);
                        prop_assert_eq!(begins, !running && due.is_some_and(|due| due <= now));
                        running |= begins;
                    }
                    3 => {
                        course.want(now);
                        asked |= running;
                        prop_assert!(running || course.due().is_some_and(|due| due <= now));
                    }
                    4 => {
                        course.reload(times(), now);
                        asked |= running;
                    }
                    _ if !running => {}
                    which => {
                        let end = match which {
                            5 => End::NoMail,
                            6 => End::TryLater,
                            7 => End::Refused,
                            _ => End::Unreachable,
                        };
                        let wait = course.ended(end, now, chance);
                        prop_assert!(wait <= 61 * MINUTE);
                        prop_assert!(wait >= MINUTE || (asked && end != End::Refused));
                        prop_assert_eq!(course.due(), Some(now + wait));
                        (running, asked) = (false, false);
                    }
                }
            }
        }
    }
}
