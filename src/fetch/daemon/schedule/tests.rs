//! Waits, as they follow one another.

use super::super::moment::Moment;
use super::Course;
use crate::config::{QuietHours, Schedule};
use crate::fetch::End;
use crate::report::Wait;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
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

fn quiet(spans: &str) -> QuietHours {
    spans.parse().unwrap_or_default()
}

/// This time of the same day, in UTC.
fn at(clock: &str, start: Instant) -> Moment {
    let day: Timestamp = "2026-01-10T00:00:00Z".parse().unwrap_or_default();
    let wall: Timestamp = format!("2026-01-10T{clock}Z").parse().unwrap_or_default();
    let gone = Duration::try_from(wall.duration_since(day)).unwrap_or_default();
    Moment {
        at: start + gone,
        wall,
        zone: TimeZone::UTC,
    }
}

#[test]
fn what_would_be_due_in_quiet_hours_waits_for_their_end_and_keeps_its_jitter() {
    let start = Instant::now();
    let morning = quiet("02:00-06:00");
    let now = at("01:50:00", start);
    let mut course = Course::new(times(), now.at);
    course.keep_quiet(&morning, &now);
    assert!(course.begin(now.at), "it is not quiet yet");
    course.ended(End::NoMail, now.at, 0.5);
    course.keep_quiet(&morning, &now);
    let end = at("06:00:00", start).at + MINUTE / 2;
    assert_eq!(course.due(), Some(end));
    // Looked at again and again, it stays so.
    course.keep_quiet(&morning, &at("03:00:00", start));
    course.keep_quiet(&morning, &at("06:00:01", start));
    assert_eq!(course.due(), Some(end));
    // The jitter leads into the next quiet hours: their end it is.
    let twice = quiet("02:00-06:00,06:00-06:01");
    let mut course = Course::new(times(), now.at);
    course.ended(End::NoMail, now.at, 1.0);
    course.keep_quiet(&twice, &now);
    assert_eq!(course.due(), Some(at("06:02:00", start).at));
}

#[test]
fn a_start_or_new_settings_in_quiet_hours_wait_and_who_asks_does_not() {
    let start = Instant::now();
    let morning = quiet("02:00-06:00");
    let now = at("03:00:00", start);
    let mut course = Course::new(times(), now.at);
    course.keep_quiet(&morning, &now);
    assert!(!course.begin(now.at));
    assert_eq!(course.due(), Some(at("06:00:00", start).at));
    course.want(now.at);
    course.keep_quiet(&morning, &now);
    assert!(course.begin(now.at), "asked for");
    // It fails, and nobody has asked for the next.
    course.ended(End::TryLater, now.at, 0.0);
    course.keep_quiet(&morning, &now);
    assert_eq!(course.due(), Some(at("06:00:00", start).at));
    course.reload(times(), now.at);
    course.keep_quiet(&morning, &now);
    assert_eq!(course.due(), Some(at("06:00:00", start).at));
    // Who asks during a fetch is obeyed as well.
    course.want(now.at);
    assert!(course.begin(now.at));
    course.want(now.at);
    course.ended(End::NoMail, now.at, 0.0);
    course.keep_quiet(&morning, &now);
    assert!(course.begin(now.at));
}

#[test]
fn what_a_fetch_waits_for_is_known_at_any_time() {
    let start = Instant::now();
    let morning = quiet("02:00-06:00");
    let now = at("01:00:00", start);
    let mut course = Course::new(times(), now.at);
    assert!(course.begin(now.at));
    assert_eq!(course.waits_for(), (Wait::Running, 0));
    course.ended(End::NoMail, now.at, 0.0);
    course.keep_quiet(&morning, &now);
    assert_eq!(course.waits_for(), (Wait::Interval, 0));
    let now = at("01:59:30", start);
    course.keep_quiet(&morning, &now);
    assert!(course.begin(now.at));
    course.ended(End::TryLater, now.at, 0.0);
    assert_eq!(course.waits_for(), (Wait::Failure, 1));
    // One minute later it is quiet.
    course.keep_quiet(&morning, &now);
    assert_eq!(course.waits_for(), (Wait::QuietHours, 1));
    // Somebody asks, and it fails again.
    course.want(now.at);
    assert!(course.begin(now.at));
    course.ended(End::TryLater, now.at, 0.0);
    assert_eq!(course.waits_for(), (Wait::Failure, 2));
}

#[test]
fn a_clock_that_is_put_back_into_quiet_hours_is_believed() {
    let start = Instant::now();
    let morning = quiet("02:00-06:00");
    let now = at("06:30:00", start);
    let mut course = Course::new(times(), now.at);
    let mut set_back = now.clone();
    set_back.wall = at("05:30:00", start).wall;
    course.keep_quiet(&morning, &set_back);
    assert!(!course.begin(set_back.at));
    assert_eq!(course.due(), Some(now.at + 30 * MINUTE));
}

#[test]
fn a_clock_that_is_put_forward_out_of_quiet_hours_is_believed_at_the_next_look() {
    let start = Instant::now();
    let morning = quiet("02:00-06:00");
    let now = at("02:24:00", start);
    let mut course = Course::new(times(), now.at);
    course.ended(End::NoMail, now.at, 0.5);
    course.keep_quiet(&morning, &now);
    assert_eq!(course.waits_for().0, Wait::QuietHours);
    // As when a machine without a clock of its own hears the time: half a minute later it is morning.
    let mut right = at("02:24:30", start);
    right.wall = at("07:24:30", start).wall;
    course.keep_quiet(&morning, &right);
    assert_eq!(course.due(), Some(right.at + MINUTE / 2), "its jitter");
    course.keep_quiet(&morning, &right);
    assert!(course.begin(right.at + MINUTE / 2));
}

#[test]
fn new_settings_during_a_fetch_that_fails_try_again_but_not_in_quiet_hours() {
    let start = Instant::now();
    for (clock, due) in [("03:00:00", "06:00:00"), ("09:00:00", "09:00:00")] {
        let now = at(clock, start);
        let mut course = Course::new(times(), now.at);
        course.want(now.at);
        assert!(course.begin(now.at));
        course.ended(End::TryLater, now.at, 0.0);
        course.want(now.at);
        assert!(course.begin(now.at));
        course.reload(times(), now.at);
        course.ended(End::TryLater, now.at, 0.0);
        course.keep_quiet(&quiet("02:00-06:00"), &now);
        assert_eq!(course.due(), Some(at(due, start).at), "{clock}");
    }
}

#[test]
fn what_became_due_while_the_machine_slept_is_due_at_waking() {
    let now = Instant::now() + 600 * MINUTE;
    let mut course = Course::new(times(), now);
    course.ended(End::NoMail, now, 0.0);
    course.slept(5 * MINUTE);
    assert_eq!(course.due(), Some(now + 10 * MINUTE));
    course.slept(60 * MINUTE);
    assert!(course.begin(now));
}

proptest! {
    /// Whenever a fetch that nobody asked for begins, it is not quiet, in any zone; and it does begin some day.
    #[test]
    fn no_fetch_begins_by_itself_in_quiet_hours(
        (from, long) in (0_u32..1440, 1_u32..1400),
        second in 1_767_225_600_i64..1_798_761_600,
        ends in proptest::collection::vec((0_u8..4, 0.0_f64..=1.0), 1..60),
        rule in prop_oneof![
            Just("CET-1CEST,M3.5.0,M10.5.0/3"),
            Just("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"),
            Just("UTC0"),
        ],
    ) {
        let to = (from + long) % 1440;
        let hours = quiet(&format!("{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60));
        prop_assert_ne!(&hours, &QuietHours::default());
        let mut now = Moment {
            at: Instant::now(),
            wall: Timestamp::from_second(second).unwrap_or_default(),
            zone: TimeZone::posix(rule).unwrap_or(TimeZone::UTC),
        };
        let mut course = Course::new(times(), now.at);
        for (end, chance) in ends {
            course.keep_quiet(&hours, &now);
            let due = course.due().unwrap_or(now.at);
            let wait = due.saturating_duration_since(now.at);
            prop_assert!(wait <= 27 * 60 * MINUTE, "{:?}", wait);
            now.at += wait;
            now.wall += wait;
            course.keep_quiet(&hours, &now);
            prop_assert!(!hours.contain(now.wall, &now.zone), "{}", now.wall);
            prop_assert!(course.begin(now.at));
            now.at += MINUTE;
            now.wall += 1.minute();
            let end = match end {
                0 => End::NoMail,
                1 => End::TryLater,
                2 => End::Refused,
                _ => End::Fetched,
            };
            course.ended(end, now.at, chance);
        }
    }

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
