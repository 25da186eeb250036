//! The customer's process: fetch from one provider, from several, or from all.

mod dial;
mod report;
mod session;

use crate::config;
use crate::handoff::inherited;
use std::io::{self, Write};
use tokio::task::JoinSet;

pub use dial::DialError;
pub use report::{End, Report};

/// What the customer's process is asked to do.
#[derive(Debug)]
pub struct Options {
    /// Each is fetched from once, all at the same time.
    pub providers: Vec<config::Provider>,
    /// Print JSON objects instead of sentences.
    pub json: bool,
}

/// Fetches from all of them at the same time, prints one line each on standard output, in their
/// order, and returns how each ended.
///
/// # Errors
/// When the runtime cannot be started or standard output cannot be written.
pub fn run(options: Options) -> io::Result<Vec<End>> {
    inherited::note();
    // One connection needs no thread pool.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let reports = runtime.block_on(fetch_all(options.providers));
    let mut out = io::stdout().lock();
    for report in &reports {
        if options.json {
            serde_json::to_writer(&mut out, report)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{report}")?;
        }
    }
    Ok(reports.iter().map(|report| report.end).collect())
}

async fn fetch_all(providers: Vec<config::Provider>) -> Vec<Report> {
    let mut fetches = JoinSet::new();
    for (place, provider) in providers.into_iter().enumerate() {
        fetches.spawn(async move { (place, session::fetch(&provider).await) });
    }
    let mut reports = Vec::new();
    while let Some(ended) = fetches.join_next().await {
        reports.extend(ended);
    }
    reports.sort_by_key(|(place, _)| *place);
    reports.into_iter().map(|(_, report)| report).collect()
}
