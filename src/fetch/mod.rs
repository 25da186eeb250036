//! The customer's process: fetch from one provider, from several, or from all; once, or again and again.

mod daemon;
mod dial;
mod hand_over;
mod heard;
mod hook;
mod memory;
pub mod probe;
mod report;
mod secure;
mod session;
mod stop;
mod stopping;
mod talk;

use crate::config;
use crate::control::write_last;
use crate::report::{Ledger, Role};
use crate::tls::HandoffTls;
use crate::wire::{KernelTls, Relays};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use stopping::Stopping;
use tokio::task::JoinSet;

pub use daemon::{Answer, DaemonError, DaemonOptions, daemon};
pub use dial::DialError;
pub use report::{End, Report};

/// How long nothing may move on a connection that our relay carries: longer than SMTP waits for anything
/// (RFC 5321 4.5.3.2).
const RELAY_IDLE: Duration = Duration::from_secs(20 * 60);

/// What the customer's process is asked to do.
#[derive(Debug)]
pub struct Options {
    /// Each is fetched from once, all at the same time.
    pub providers: Vec<config::Provider>,
    /// Print JSON objects instead of sentences.
    pub json: bool,
    /// Where to write how each provider fared, for the node exporter.
    pub metrics_file: Option<PathBuf>,
}

/// Fetches from all of them at the same time, prints one line each on standard output, in their
/// order, and returns how each ended.
///
/// # Errors
/// When the runtime cannot be started or standard output cannot be written.
pub fn run(options: Options) -> io::Result<Vec<End>> {
    // One connection needs no thread pool.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ledger = Ledger::new(Role::Fetch);
    let reports = runtime.block_on(fetch_all(options.providers, ledger.clone()))?;
    if let Some(file) = &options.metrics_file {
        write_last(&ledger, file);
    }
    // A password that is still being typed, or computed, is not waited for.
    runtime.shutdown_background();
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

/// What all fetches of this process share.
#[derive(Debug)]
struct Shared {
    ledger: Ledger,
    kernel: KernelTls,
    relays: Relays,
    stopping: Stopping,
}

async fn fetch_all(providers: Vec<config::Provider>, ledger: Ledger) -> io::Result<Vec<Report>> {
    let shared = Arc::new(Shared {
        ledger,
        kernel: kernel(&providers),
        relays: Relays::new(RELAY_IDLE),
        stopping: Stopping::listen()?,
    });
    let mut fetches = JoinSet::new();
    for (place, provider) in providers.into_iter().enumerate() {
        let shared = Arc::clone(&shared);
        fetches.spawn(async move { (place, session::fetch(&provider, &shared).await) });
    }
    let mut reports = Vec::new();
    while let Some(ended) = fetches.join_next().await {
        reports.extend(ended);
    }
    reports.sort_by_key(|(place, _)| *place);
    Ok(reports.into_iter().map(|(_, report)| report).collect())
}

/// What the kernel can do, asked only if anybody will want it.
fn kernel(providers: &[config::Provider]) -> KernelTls {
    let wanted = providers.iter().any(|provider| {
        provider.tls != config::ProviderTls::None && provider.handoff_tls != HandoffTls::Relay
    });
    if wanted {
        KernelTls::probe()
    } else {
        KernelTls::none()
    }
}
