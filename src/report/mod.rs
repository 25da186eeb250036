//! What happened, for the operator: one event, one line on standard error.
//!
//! Other rooms write `tracing` events with fields; this room decides how they look. Whatever a peer
//! said goes through [`safe`] where the event is written, and through the same escaping again where
//! the line is made, so that no peer can forge a line or drive a terminal. Standard output is never
//! written to: it may be the connection itself.
//!
//! Every connection stands in the [`Ledger`] as long as it is open and ends in one closing line made by
//! [`Session`], where it is counted.

mod escape;
mod ledger;
mod line;
mod outcome;
mod session;

use std::io::{self, IsTerminal};

use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;

pub use escape::{Safe, safe, whole};
pub use ledger::{Flow, Follow, LastResult, Ledger, SessionStatus, Status, StatusTotals as Totals};
pub use outcome::{Counter, Outcome, Role, State};
pub use session::{Session, session_id};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// `LEVEL message key=value ...`, with the time in front unless the journal or a person reads it.
    #[default]
    Text,
    /// One JSON object: time, level, message, and every field under its name.
    Json,
}

/// Sends all events of `level` and above to standard error; a second call changes nothing.
pub fn init(format: LogFormat, level: Level) {
    let reader = if line::is_journal() {
        line::Reader::Journal
    } else if io::stderr().is_terminal() {
        line::Reader::Person
    } else {
        line::Reader::File
    };
    let subscriber = subscriber(format, level, reader, io::stderr);
    // Set already means that somebody else, a test perhaps, listens: theirs to decide.
    tracing::subscriber::set_global_default(subscriber).ok();
}

/// The same lines to a place of the caller's choice, always with the time in front: for tests.
pub fn to_writer<W>(format: LogFormat, level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    subscriber(format, level, line::Reader::File, writer)
}

fn subscriber<W>(
    format: LogFormat,
    level: Level,
    reader: line::Reader,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(writer)
        .with_ansi(false)
        .fmt_fields(line::Fields(format))
        .event_format(line::Lines { format, reader })
        .finish()
}
