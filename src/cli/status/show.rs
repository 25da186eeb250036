//! The status of a service for a person to read.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::report::{LastResult, NextFetch, SessionStatus, Status, Totals, whole};

/// What stands in the place of nothing.
const NOTHING: &str = "-";

/// One block of lines. Whatever peers have said in it is harmless on a terminal.
pub(super) fn text(status: &Status) -> String {
    let mut out = head(status) + "\n";
    if !status.sessions.is_empty() {
        out.push('\n');
        out.push_str(&sessions(status));
    }
    if !status.last.is_empty() {
        out.push('\n');
        out.push_str(&last(status));
    }
    if !status.next.is_empty() {
        out.push('\n');
        out.push_str(&next(status));
    }
    out.push('\n');
    out.push_str(&totals(&status.totals, &status.since));
    out
}

fn head(status: &Status) -> String {
    let count = status.sessions.len();
    let sessions = match count {
        0 => "no session is open".to_owned(),
        1 => "1 session is open".to_owned(),
        _ => format!("{count} sessions are open"),
    };
    format!(
        "turnabout {} {}, process {}, up {}: {sessions}",
        whole(&status.role),
        whole(&status.version),
        status.pid,
        age(status.seconds)
    )
}

fn sessions(status: &Status) -> String {
    let is_fetch = status.role == "fetch";
    let who = if is_fetch { "PROVIDER" } else { "USER" };
    let mut rows = vec![
        [
            "SESSION", "STATE", "PEER", who, "AGE", "HAND-OFF", "CARRIED", "RECEIVED", "SENT",
            "RTT", "TLS", "DOMAINS",
        ]
        .map(str::to_owned),
    ];
    rows.extend(status.sessions.iter().map(|one| session(one, is_fetch)));
    table(&rows)
}

fn session(one: &SessionStatus, is_fetch: bool) -> [String; 12] {
    let who = if is_fetch { &one.provider } else { &one.user };
    let or_nothing = |text: &Option<String>| text.clone().unwrap_or_else(|| NOTHING.to_owned());
    let count = |octets: Option<u64>| octets.map_or_else(|| NOTHING.to_owned(), size);
    [
        one.session.clone(),
        one.state.clone(),
        or_nothing(&one.peer),
        or_nothing(who),
        age(one.seconds),
        or_nothing(&one.handoff),
        or_nothing(&one.carried),
        count(one.received),
        count(one.sent),
        one.round_trip.map_or_else(
            || NOTHING.to_owned(),
            |time| format!("{:.1} ms", time * 1000.0),
        ),
        or_nothing(&one.tls),
        or_nothing(&one.domains),
    ]
}

fn last(status: &Status) -> String {
    let who = if status.role == "fetch" {
        "PROVIDER"
    } else {
        "USER"
    };
    let mut rows = vec![[who, "LAST", "RESULT", "SECONDS", "SESSION", "HOW"].map(str::to_owned)];
    rows.extend(status.last.iter().map(|one: &LastResult| {
        [
            one.name.clone(),
            format!("{} ago", age(one.ago)),
            one.result.clone(),
            format!("{:.1}", one.seconds),
            one.session.clone(),
            one.end.clone(),
        ]
    }));
    table(&rows)
}

fn next(status: &Status) -> String {
    let mut rows = vec![["PROVIDER", "NEXT", "AT", "WAITS FOR", "FAILURES"].map(str::to_owned)];
    rows.extend(status.next.iter().map(|one: &NextFetch| {
        [
            one.name.clone(),
            one.wait
                .map_or_else(|| NOTHING.to_owned(), |wait| format!("in {}", age(wait))),
            one.at.clone().unwrap_or_else(|| NOTHING.to_owned()),
            one.reason.clone(),
            one.failures.to_string(),
        ]
    }));
    table(&rows)
}

fn totals(totals: &Totals, since: &str) -> String {
    let mut out = format!("since {}: {} sessions over", whole(since), totals.sessions);
    for (what, counts) in [
        ("", &totals.results),
        ("handed over: ", &totals.carried),
        ("logins: ", &totals.logins),
        ("answers to ATRN: ", &totals.atrn),
        ("connections refused: ", &totals.refused),
    ] {
        let counts = listed(counts);
        if !counts.is_empty() {
            // Writing to a string does not fail.
            write!(out, "\n  {what}{counts}").ok();
        }
    }
    if totals.mail_left > 0 {
        write!(out, "\n  ended with mail left: {}", totals.mail_left).ok();
    }
    out + "\n"
}

fn listed(counts: &BTreeMap<String, u64>) -> String {
    let counts = counts.iter().filter(|(_, count)| **count > 0);
    let all: Vec<String> = counts
        .map(|(word, count)| format!("{count} {}", whole(word)))
        .collect();
    all.join(", ")
}

/// Columns, each as wide as it needs to be; the last one ends where it ends.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows
        .iter()
        .map(|row| row.each_ref().map(|cell| whole(cell).to_string()))
        .collect();
    let mut widths = [0; N];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            // Writing to a string does not fail.
            write!(line, "{cell:width$}  ").ok();
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// Two units are enough.
fn age(seconds: f64) -> String {
    let whole = std::time::Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let seconds = whole.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// Octets, in thousands.
fn size(octets: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (1_000_000_000_000, "TB"),
        (1_000_000_000, "GB"),
        (1_000_000, "MB"),
        (1_000, "kB"),
    ];
    let unit = UNITS.into_iter().find(|(unit, _)| octets >= *unit);
    unit.map_or_else(
        || format!("{octets} B"),
        |(unit, name)| {
            let tenths = (octets / (unit / 10)) % 10;
            format!("{}.{tenths} {name}", octets / unit)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::{age, size, table};

    #[test]
    fn ages_and_sizes_are_short() {
        let ages = [0.4, 59.0, 61.0, 3_700.0, 90_000.0].map(age);
        assert_eq!(ages, ["0s", "59s", "1m 1s", "1h 1m", "1d 1h"]);
        let sizes = [0, 999, 1_000, 1_250_000, 3_999_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "1.2 MB", "3.9 GB"]);
    }

    #[test]
    fn nothing_in_a_table_drives_a_terminal() {
        let rows = [["A".to_owned(), "\u{1b}[2J\n".to_owned()]];
        assert_eq!(table(&rows), "A  \\u{1b}[2J\\n\n");
    }
}
