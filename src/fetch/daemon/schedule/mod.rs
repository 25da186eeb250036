//! When to fetch from one provider. Time and chance come in from outside, so that every course can be tested.

use super::moment::Moment;
use crate::config::{QuietHours, Schedule};
use crate::fetch::End;
use crate::report::Wait;
use std::time::{Duration, Instant};

/// How one provider's fetches have gone so far, and when the next is due.
#[derive(Debug, Clone)]
pub(super) struct Course {
    times: Schedule,
    /// Failures since the last success.
    failures: u32,
    /// When it would be due if no hour were quiet.
    wanted: Instant,
    /// What is due was put off until then: the quiet hours are over, and its jitter.
    put_off: Option<Instant>,
    running: bool,
    /// Somebody asked for a fetch while one was running, which may have come too early for the mail that is meant.
    again: bool,
    /// New settings came while one was running that they may have been for.
    anew: bool,
    /// The fetch that is due was asked for: it does not wait for the end of the quiet hours.
    asked: bool,
    /// What chance has added to the wait.
    jitter: Duration,
}

impl Course {
    /// The first fetch is due at once.
    pub(super) fn new(times: Schedule, now: Instant) -> Self {
        Self {
            times,
            failures: 0,
            wanted: now,
            put_off: None,
            running: false,
            again: false,
            anew: false,
            asked: false,
            jitter: Duration::ZERO,
        }
    }

    /// When to fetch next; not known while a fetch runs.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.running).then(|| self.put_off.unwrap_or(self.wanted))
    }

    /// What the next fetch waits for, and how many have failed since the last success.
    pub(super) fn waits_for(&self) -> (Wait, u32) {
        let wait = if self.running {
            Wait::Running
        } else if self.put_off.is_some() {
            Wait::QuietHours
        } else if self.failures > 0 {
            Wait::Failure
        } else {
            Wait::Interval
        };
        (wait, self.failures)
    }

    /// Sooner, if it is not sooner already.
    fn hasten(&mut self, due: Instant) {
        if due < self.put_off.unwrap_or(self.wanted) {
            self.wanted = due;
            self.put_off = None;
        }
    }

    /// Takes the turn if it is time; never while a fetch runs.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = self.due().is_some_and(|due| due <= now);
        if begins {
            self.running = true;
            self.asked = false;
            self.put_off = None;
        }
        begins
    }

    /// A fetch is wanted now: if one is running, once more when it has ended.
    pub(super) fn want(&mut self, now: Instant) {
        if self.running {
            self.again = true;
        } else {
            self.hasten(now);
            self.asked = true;
        }
    }

    /// Puts off what nobody has asked for until the quiet hours are over, and then by its jitter, so that not all come
    /// at that moment. To be called now and then and before anything begins: the clock on the wall may have been set
    /// meanwhile, into the quiet hours or out of them.
    pub(super) fn keep_quiet(&mut self, quiet: &QuietHours, now: &Moment) {
        if self.asked || self.running {
            return;
        }
        let due = match now.end_of_quiet(quiet, self.wanted.max(now.at)) {
            Some(end) => Some(end + self.jitter),
            // They are over, sooner than was thought if the clock was put forward; the jitter stands.
            None => self.put_off.map(|due| due.min(now.at + self.jitter)),
        };
        // The jitter may have led into the next quiet hours; then there is nothing left to spread.
        self.put_off = due.map(|due| now.end_of_quiet(quiet, due).unwrap_or(due));
    }

    /// The machine slept this long, which no wait has noticed.
    pub(super) fn slept(&mut self, time: Duration) {
        for due in self.put_off.iter_mut().chain([&mut self.wanted]) {
            *due = due.checked_sub(time).unwrap_or(*due);
        }
    }

    /// A fetch has ended: says how long the wait is. `chance` is from 0 to 1.
    pub(super) fn ended(&mut self, end: End, now: Instant, chance: f64) -> Duration {
        self.running = false;
        let (again, anew) = (
            std::mem::take(&mut self.again),
            std::mem::take(&mut self.anew),
        );
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
        self.jitter = self.times.jitter.mul_f64(chance.clamp(0.0, 1.0));
        let refused = matches!(end, End::Refused | End::Configuration);
        self.asked = again && !refused;
        let wait = if self.asked || (anew && !refused) {
            Duration::ZERO
        } else {
            base + self.jitter
        };
        self.wanted = now + wait;
        self.put_off = None;
        wait
    }

    /// New settings: what failed is tried at once, since that is what they may be for; otherwise no wait becomes longer
    /// than the new interval.
    pub(super) fn reload(&mut self, times: Schedule, now: Instant) {
        self.times = times;
        if self.running {
            self.anew |= self.failures > 0;
        } else if self.failures > 0 {
            self.hasten(now);
        } else {
            self.hasten(now + times.interval);
        }
    }

    fn back_off(&self) -> Duration {
        let doubled = 2_u32.saturating_pow(self.failures.saturating_sub(1));
        let wait = self.times.retry_first.saturating_mul(doubled);
        wait.min(self.times.retry_longest)
    }
}

#[cfg(test)]
mod tests;
