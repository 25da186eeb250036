//! Log lines: one event, one line, and no peer can forge one.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use tracing::Level;
use turnabout::report::{Ledger, LogFormat, Role, Session, safe, session_id, to_writer};

/// Collects what is logged.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `events` log, one string a line, the time cut off the text format.
fn logged(format: LogFormat, events: impl FnOnce()) -> Vec<String> {
    let sink = Sink::default();
    let writer = sink.clone();
    let subscriber = to_writer(format, Level::INFO, move || writer.clone());
    tracing::subscriber::with_default(subscriber, events);
    let bytes = sink.0.lock().unwrap().clone();
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text:?}");
    let cut = |line: &str| match format {
        LogFormat::Text => line.split_once(' ').unwrap().1.to_owned(),
        LogFormat::Json => line.to_owned(),
    };
    text.lines().map(cut).collect()
}

const NASTY: &str =
    "a\u{1b}[31m\r\nINFO forged session=1\u{9b}2J\u{202e}\u{2028}\0\u{7f}\"quoted\"";

/// Rules: C15
#[test]
fn a_peer_can_neither_forge_a_line_nor_drive_a_terminal() {
    for format in [LogFormat::Text, LogFormat::Json] {
        let lines = logged(format, || {
            tracing::info!(raw = NASTY, display = %NASTY, debug = ?NASTY, safe = %safe(NASTY), "{NASTY}");
        });
        assert_eq!(lines.len(), 1, "{lines:?}");
        for c in lines[0].chars() {
            assert!(
                c == '"' || c == '\'' || c == '\\' || c.escape_debug().len() == 1,
                "{c:?}"
            );
        }
    }
}

#[test]
fn a_text_line_is_level_message_and_fields() {
    let lines = logged(LogFormat::Text, || {
        tracing::info!(
            user = "alice",
            count = 3,
            fine = true,
            empty = "",
            "all well"
        );
        tracing::warn!(end = "queue empty, quit", "closed");
        tracing::debug!("not seen");
    });
    assert_eq!(
        lines,
        [
            "INFO all well user=alice count=3 fine=true empty=\"\"",
            "WARN closed end=\"queue empty, quit\"",
        ]
    );
}

/// Rules: C15
#[test]
fn a_quoted_value_ends_where_it_ends() {
    let lines = logged(LogFormat::Text, || {
        tracing::info!(user = "a\\\" end=\"b", "closed");
    });
    assert_eq!(lines, [r#"INFO closed user="a\\u{22} end=\u{22}b""#]);
}

#[test]
fn a_json_line_is_one_object_that_means_the_same() {
    let lines = logged(LogFormat::Json, || {
        let span = tracing::info_span!("session", session = "k3-1", user = tracing::field::Empty);
        let _entered = span.enter();
        span.record("user", NASTY);
        tracing::info!(seconds = 1.5, count = -3, "all \"well\"");
    });
    let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!(value["level"], "INFO");
    assert_eq!(value["message"], "all \"well\"");
    assert_eq!(value["seconds"], 1.5);
    assert_eq!(value["count"], -3);
    assert_eq!(value["session"], "k3-1");
    assert_eq!(value["user"], NASTY);
    assert!(value["time"].as_str().unwrap().ends_with('Z'));
}

#[test]
fn the_fields_of_a_span_are_in_each_of_its_events() {
    let lines = logged(LogFormat::Text, || {
        let span = tracing::info_span!("session", session = "k3-1", user = tracing::field::Empty);
        let _entered = span.enter();
        tracing::info!("one");
        span.record("user", "alice");
        tracing::info!(more = 1, "two");
    });
    assert_eq!(
        lines,
        [
            "INFO one session=k3-1",
            "INFO two more=1 session=k3-1 user=alice"
        ]
    );
}

/// Rules: C13, C15
#[test]
fn a_long_text_from_a_peer_is_cut() {
    let shown = safe(&"x".repeat(10_000)).to_string();
    assert_eq!(shown, "x".repeat(200) + "...");
    let exact = "y".repeat(200);
    assert_eq!(safe(&exact).to_string(), exact);
    let lines = logged(LogFormat::Text, || {
        tracing::info!(raw = "z".repeat(1_000_000), "m");
    });
    assert!(lines[0].len() < 3000);
}

#[test]
fn safe_twice_is_safe_once() {
    let once = safe(NASTY).to_string();
    assert_eq!(safe(&once).to_string(), once);
}

#[test]
fn a_session_closes_with_one_line_that_says_all() {
    let lines = logged(LogFormat::Text, || {
        let session = Session::serve(&Ledger::new(Role::Serve), "192.0.2.7:50112");
        session.user("alice");
        session.domains("example.org,example.com");
        session.mechanism("SCRAM-SHA-256");
        session.handoff("postfix-cache");
        session.close("queue empty, quit");
    });
    assert_eq!(lines.len(), 1, "{lines:?}");
    let (head, tail) = lines[0].split_once(" peer=").unwrap();
    assert!(head.starts_with("INFO session closed session="), "{head}");
    let (before, after) = tail.split_once(" seconds=0").unwrap();
    assert_eq!(
        before,
        "192.0.2.7:50112 user=alice domains=example.org,example.com \
         mechanism=SCRAM-SHA-256 handoff=postfix-cache"
    );
    assert!(after.ends_with(" end=\"queue empty, quit\""), "{after}");
}

#[test]
fn a_session_that_is_dropped_still_gets_its_line() {
    let lines = logged(LogFormat::Text, || {
        drop(Session::fetch(&Ledger::new(Role::Fetch), "home"));
    });
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains(" provider=home "), "{lines:?}");
    assert!(lines[0].ends_with(" end=abandoned"), "{lines:?}");
}

#[test]
fn session_ids_are_short_and_differ() {
    let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| session_id()).collect();
    assert_eq!(ids.len(), 1000);
    for id in ids {
        assert!(id.len() <= 12, "{id}");
        assert!(
            id.bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        );
    }
}
