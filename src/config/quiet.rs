//! `quiet_hours`: the times of day at which nobody is dialled unasked.
//!
//! What counts is what the clock on the wall shows. Where it is put forward, the hour that it leaves out is nobody's;
//! where it is put back, the hour that it shows twice is quiet twice.

use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use std::str::FromStr;

use super::error::ConfigError;
use super::keys;
use super::section::Section;
use super::values::{Fault, fault};

/// Minutes of a day.
const DAY: usize = 24 * 60;

/// More minutes than pass between any two times on the wall of which one is quiet and the other is not.
const SEARCH: usize = 3 * DAY;

/// Spans of the day, to the minute, in local time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QuietHours(Vec<Span>);

/// Minutes since midnight: the first that is quiet, and the first that is not any more. If that is not later, the span
/// goes over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    from: usize,
    to: usize,
}

impl Span {
    fn holds(self, minute: usize) -> bool {
        if self.from < self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

impl QuietHours {
    pub(super) fn read(section: &Section<'_>) -> Result<Self, ConfigError> {
        let spans = section.list(&keys::QUIET_HOURS, span)?;
        let quiet = Self(spans.unwrap_or_default());
        if (0..DAY).all(|minute| quiet.hold(minute)) {
            return Err(section.error(
                &keys::QUIET_HOURS,
                "they are the whole day, so nobody would ever be dialled",
                "leave some time between them",
            ));
        }
        Ok(quiet)
    }

    fn hold(&self, minute: usize) -> bool {
        self.0.iter().any(|span| span.holds(minute))
    }

    /// Is this moment within them?
    #[must_use]
    pub fn contain(&self, moment: Timestamp, zone: &TimeZone) -> bool {
        let wall = zone.to_datetime(moment);
        let (hour, minute) = (usize::try_from(wall.hour()), usize::try_from(wall.minute()));
        self.hold(hour.unwrap_or(0) * 60 + minute.unwrap_or(0))
    }

    /// The first moment from this one on that is not within them: the moment itself, or the beginning of a minute.
    #[must_use]
    pub fn end(&self, moment: Timestamp, zone: &TimeZone) -> Timestamp {
        if self.0.is_empty() {
            return moment;
        }
        let mut end = moment;
        // Minute by minute, so that whatever the clock on the wall does in between is seen.
        for _ in 0..SEARCH {
            if !self.contain(end, zone) {
                return end;
            }
            end = next_minute(end, zone).unwrap_or(end);
        }
        end
    }
}

fn next_minute(moment: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let wall = zone.to_datetime(moment);
    let gone = i64::from(wall.second())
        .seconds()
        .nanoseconds(i64::from(wall.subsec_nanosecond()));
    moment.checked_add(1.minute()).ok()?.checked_sub(gone).ok()
}

/// Spans with commas between them.
impl FromStr for QuietHours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let spans = text.split(',').map(span).collect::<Result<_, _>>();
        spans.map(Self).map_err(|fault| fault.cause)
    }
}

/// `22:00-06:00`.
fn span(text: &str) -> Result<Span, Fault> {
    let wrong = |cause: String| fault(cause, "write it as \"22:00-06:00\", in local time");
    let Some((from, to)) = text.split_once('-') else {
        return Err(wrong(format!("{text:?} is not a span of the day")));
    };
    let time = |text: &str| {
        time_of_day(text).ok_or_else(|| wrong(format!("{text:?} is not a time of day")))
    };
    let span = Span {
        from: time(from)?,
        to: time(to)?,
    };
    if span.from == span.to {
        return Err(wrong(format!("{text:?} begins where it ends")));
    }
    // 24:00 is an end as good as 00:00, but there is nothing behind it to begin with.
    if span.from == DAY {
        return Err(wrong(format!("{from:?} cannot be a beginning")));
    }
    Ok(span)
}

/// Two digits, a colon, two digits; up to 24:00.
fn time_of_day(text: &str) -> Option<usize> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| -> Option<usize> {
        let digits = text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_digit());
        if digits { text.parse().ok() } else { None }
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let at = hour * 60 + minute;
    (minute < 60 && at <= DAY).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::{DAY, QuietHours, span};
    use jiff::Timestamp;
    use jiff::tz::TimeZone;
    use proptest::prelude::*;

    /// Germany, without the system's files: forward at 02:00 on 2026-03-29, back at 03:00 on 2026-10-25.
    const BERLIN: &str = "CET-1CEST,M3.5.0,M10.5.0/3";

    fn zone(rule: &str) -> TimeZone {
        TimeZone::posix(rule).unwrap_or(TimeZone::UTC)
    }

    fn quiet(spans: &[&str]) -> QuietHours {
        spans.join(",").parse().unwrap_or_default()
    }

    /// When the quiet of these spans ends in Germany, both in UTC.
    fn end(spans: &[&str], at: &str) -> String {
        let moment: Timestamp = at.parse().unwrap_or_default();
        quiet(spans).end(moment, &zone(BERLIN)).to_string()
    }

    #[test]
    fn a_span_over_midnight_ends_in_the_morning() {
        let night = ["22:00-06:00"];
        // In January 22:00 there is 21:00 UTC.
        assert_eq!(end(&night, "2026-01-10T20:59:59Z"), "2026-01-10T20:59:59Z");
        assert_eq!(end(&night, "2026-01-10T21:00:00Z"), "2026-01-11T05:00:00Z");
        assert_eq!(
            end(&night, "2026-01-11T02:30:01.5Z"),
            "2026-01-11T05:00:00Z"
        );
        assert_eq!(end(&night, "2026-01-11T05:00:00Z"), "2026-01-11T05:00:00Z");
        // In July it is 20:00 UTC.
        assert_eq!(end(&night, "2026-07-10T20:00:00Z"), "2026-07-11T04:00:00Z");
    }

    #[test]
    fn spans_that_touch_are_one_and_midnight_has_two_names() {
        let spans = ["20:00-24:00", "00:00-01:00", "01:00-02:00"];
        assert_eq!(end(&spans, "2026-01-10T20:00:00Z"), "2026-01-11T01:00:00Z");
        assert_eq!(
            end(&["12:00-00:00"], "2026-01-10T12:00:00Z"),
            "2026-01-10T23:00:00Z"
        );
        assert_eq!(end(&[], "2026-01-10T12:00:00Z"), "2026-01-10T12:00:00Z");
    }

    #[test]
    fn a_night_in_which_the_clock_is_put_forward_or_back_is_shorter_or_longer() {
        let night = ["22:00-06:00"];
        assert_eq!(end(&night, "2026-03-28T21:00:00Z"), "2026-03-29T04:00:00Z");
        assert_eq!(end(&night, "2026-10-24T20:00:00Z"), "2026-10-25T05:00:00Z");
    }

    #[test]
    fn an_hour_that_is_left_out_is_never_quiet_and_one_that_comes_twice_is_so_twice() {
        // The clock goes from 02:00 to 03:00 at 01:00 UTC.
        assert_eq!(
            end(&["02:00-03:00"], "2026-03-29T01:00:00Z"),
            "2026-03-29T01:00:00Z"
        );
        // One that begins in what is left out begins late, one that ends there ends early.
        assert_eq!(
            end(&["02:30-04:00"], "2026-03-29T01:00:00Z"),
            "2026-03-29T02:00:00Z"
        );
        assert_eq!(
            end(&["01:00-02:30"], "2026-03-29T00:30:00Z"),
            "2026-03-29T01:00:00Z"
        );
        // It goes from 03:00 back to 02:00 at 01:00 UTC.
        assert_eq!(
            end(&["02:00-03:00"], "2026-10-25T00:00:00Z"),
            "2026-10-25T02:00:00Z"
        );
        assert_eq!(
            end(&["01:00-02:30"], "2026-10-24T23:00:00Z"),
            "2026-10-25T00:30:00Z"
        );
        assert_eq!(
            end(&["01:00-02:30"], "2026-10-25T01:00:00Z"),
            "2026-10-25T01:30:00Z"
        );
    }

    #[test]
    fn what_is_not_a_span_is_refused() {
        let bad = [
            "",
            "22:00",
            "22-06",
            "22:00-6:00",
            "22:60-06:00",
            "24:01-06:00",
            "24:00-06:00",
            "22:00-22:00",
            "22:00-06:00:00",
            "+2:00-06:00",
            "22:00 - 06:00",
            "22:00-06:00-07:00",
        ];
        for text in bad {
            assert!(span(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        /// The end is not quiet, is not before the moment, and everything between them is quiet.
        #[test]
        fn the_end_is_the_first_moment_that_is_not_quiet(
            spans in proptest::collection::vec((0..DAY, 1..DAY / 3), 0..3),
            second in 1_767_225_600_i64..1_830_297_600,
            rule in prop_oneof![
                Just(BERLIN),
                Just("<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"),
                Just("EST5EDT,M3.2.0,M11.1.0"),
                Just("UTC0"),
            ],
        ) {
            let zone = zone(rule);
            let spans = spans.into_iter().map(|(from, long)| super::Span { from, to: (from + long) % DAY });
            let quiet = QuietHours(spans.collect());
            let moment = Timestamp::from_second(second).unwrap_or_default();
            let end = quiet.end(moment, &zone);
            prop_assert!(end >= moment);
            prop_assert!(!quiet.contain(end, &zone), "{} {}", moment, end);
            for second in (moment.as_second()..end.as_second()).step_by(60) {
                let between = Timestamp::from_second(second).unwrap_or_default();
                prop_assert!(quiet.contain(between, &zone));
            }
        }
    }
}
