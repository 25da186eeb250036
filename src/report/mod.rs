//! What happened, for the operator: one event, one line, on standard error, in syslog or in the journal.
//!
//! Other rooms write `tracing` events with fields; this room decides how they look. Whatever a peer
//! said goes through [`safe`] where the event is written, and through the same escaping again where
//! the line is made, so that no peer can forge a line or drive a terminal. Standard output is never
//! written to: it may be the connection itself.
//!
//! Every connection stands in the [`Ledger`] as long as it is open and ends in one closing line made by
//! [`Session`], where it is counted.

mod escape;
mod journal;
mod ledger;
mod line;
mod outcome;
mod session;
mod syslog;
mod target;

use std::io;
use std::path::Path;

use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

use journal::Journal;
use line::Reader;
use target::{Stderr, Target};

pub use escape::{Safe, safe, whole};
pub use ledger::{
    Flow, Follow, LastResult, Ledger, Next, NextFetch, SessionStatus, Status,
    StatusTotals as Totals, Wait,
};
pub use outcome::{Counter, Outcome, Role, State};
pub use session::{Session, session_id};
pub use syslog::Syslog;
pub use target::LogTo;

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// `LEVEL message key=value ...`, with the time in front unless the journal or a person reads it.
    #[default]
    Text,
    /// One JSON object: time, level, message, and every field under its name.
    Json,
}

/// Sends all events of `level` and above to where the operator wants them, or where it is right; a second call changes
/// nothing. A `service` runs without somebody who looks on.
pub fn init(format: LogFormat, to: LogTo, level: Level, service: bool) {
    let stderr = Stderr::look();
    let target = Target::choose(to, stderr, format, service);
    if stderr == Stderr::Socket {
        target::silence();
    }
    // A panic is a fault that must be seen, but standard error may be nothing.
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("a part of the program failed: {panic} (please report this)");
    }));
    // Set already means that somebody else, a test perhaps, listens: theirs to decide.
    match target {
        Target::Journal => match Journal::connect() {
            Ok(journal) => {
                let subscriber = tracing_subscriber::registry()
                    .with(LevelFilter::from_level(level))
                    .with(journal);
                tracing::subscriber::set_global_default(subscriber).ok();
            }
            // A stream of the journal that came from outside, in a container for instance.
            Err(_) if stderr == Stderr::Journal => to_stderr(format, level, Reader::Journal),
            Err(error) => {
                to_syslog(format, level);
                tracing::warn!(%error, "there is no journal here, syslog is used (correct --log-to)");
            }
        },
        Target::Syslog => to_syslog(format, level),
        Target::Stderr(reader) => to_stderr(format, level, reader),
    }
}

fn to_stderr(format: LogFormat, level: Level, reader: Reader) {
    let subscriber = subscriber(format, level, reader, io::stderr);
    tracing::subscriber::set_global_default(subscriber).ok();
}

fn to_syslog(format: LogFormat, level: Level) {
    let subscriber = to_syslog_at(format, level, &Syslog::at(Path::new(syslog::DEV_LOG)));
    tracing::subscriber::set_global_default(subscriber).ok();
}

/// The lines as a syslog daemon gets them.
pub fn to_syslog_at(
    format: LogFormat,
    level: Level,
    syslog: &Syslog,
) -> impl Subscriber + Send + Sync + use<> {
    subscriber(format, level, Reader::Daemon, syslog.clone())
}

/// The same lines to a place of the caller's choice, always with the time in front: for tests.
pub fn to_writer<W>(format: LogFormat, level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    subscriber(format, level, Reader::File, writer)
}

fn subscriber<W>(
    format: LogFormat,
    level: Level,
    reader: Reader,
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
