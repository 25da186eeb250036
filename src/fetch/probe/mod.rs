//! A dry run against a provider: what a fetch would meet, held against the standards. It takes no mail, ever.
//!
//! What is said is what the customer's machine says in a fetch, under the same rules: nothing secret goes to a provider
//! whose certificate is not believed, or that does not begin TLS. A certificate that is not believed gets a second
//! connection that has nothing secret in it at all, for a look at what is offered behind it.

mod finding;
mod judge;
mod report;
mod talk;
mod turned;

use super::session;
use super::stop::Stop;
use crate::config::Provider;
use crate::sasl::Secret;
use crate::tls::ClientTls;
use std::io::{self, Write};
use talk::{Ended, Talk};
use tokio::time::Instant;

pub use finding::{Finding, Kind};
pub use report::{Login, Mail, Report, TlsReport};

/// For the log lines of one probe.
const ID: &str = "probe";

/// What a probe is asked to do.
#[derive(Debug)]
pub struct Options {
    /// The provider. Without mechanisms nobody is logged in.
    pub provider: Provider,
    /// Ask whether mail waits: turn, greet with 421, take nothing.
    pub atrn: bool,
    /// Print a JSON object instead of a page.
    pub json: bool,
}

/// Probes and prints what was found on standard output; gives the exit code that a fetch would have.
///
/// # Errors
/// When the runtime cannot be started or standard output cannot be written.
pub fn run(options: &Options) -> io::Result<u8> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let report = runtime.block_on(probe(&options.provider, options.atrn));
    runtime.shutdown_background();
    let mut out = io::stdout().lock();
    if options.json {
        serde_json::to_writer(&mut out, &report)?;
        writeln!(out)?;
    } else {
        write!(out, "{report}")?;
    }
    Ok(report.exit)
}

async fn probe(provider: &Provider, atrn: bool) -> Report {
    let started = Instant::now();
    let mut report = Report::new(provider, atrn);
    match attempt(provider, atrn, &mut report).await {
        Ok(()) => report.well(),
        Err(stop) => report.failed(stop),
    }
    report.ended(started.elapsed())
}

async fn attempt(provider: &Provider, atrn: bool, report: &mut Report) -> Result<(), Stop> {
    let (tls, secret) = session::own_files(provider).await?;
    match converse(provider, atrn, tls.as_ref(), secret, report).await? {
        Ended::Well => Ok(()),
        Ended::Early(stop) => Err(stop),
        Ended::Distrusted(stop) => {
            look(provider, report).await;
            Err(stop)
        }
    }
}

/// A second connection, for who is not believed: it knows no password and shows no certificate.
async fn look(provider: &Provider, report: &mut Report) {
    let mut stranger = provider.clone();
    stranger.user = String::new();
    stranger.secret = None;
    stranger.certificate = None;
    stranger.mechanisms = Vec::new();
    let tls = ClientTls::for_a_look();
    // What it comes to is told by what it has found; the result is the first connection's.
    let seen = converse(&stranger, false, Some(&tls), None, report).await;
    if let Err(Stop(_, text)) = seen {
        tracing::warn!("cannot look further: {text}");
    }
    if let Some(tls) = &mut report.tls {
        tls.trusted = false;
    }
}

async fn converse(
    provider: &Provider,
    atrn: bool,
    tls: Option<&ClientTls>,
    secret: Option<Secret>,
    report: &mut Report,
) -> Result<Ended, Stop> {
    let wire = session::connect(provider).await?;
    report.peer = Some(wire.peer().to_string());
    let talk = Talk::new(provider, ID, atrn, wire);
    Ok(talk.whole(tls, secret, report).await)
}
