//! The provider's process, of which there are two kinds: one that stands and listens ([`run`]), on addresses of the
//! configuration or on sockets that it was started with, and one that was started for a connection ([`run_one`]).
//! Sessions are the same in both.

mod acceptor;
mod activation;
mod admission;
mod asking;
mod certificates;
mod confine;
mod crowd;
mod failures;
mod guesses;
mod handshake;
pub mod keys;
mod listener;
mod mail_server;
mod one;
mod origin;
mod places;
mod privileges;
mod pulse;
mod refusal;
mod reload;
mod session;
mod standing;
mod state;
mod turned;

use crate::accounts::{Accounts, Misfit};
use crate::config;
use crate::tls::{HandoffTls, ServerTls};
use crate::wire::KernelTls;
use certificates::Certificates;
use keys::KeyReader;
use state::State;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

pub use activation::NoCertificate;
pub use certificates::CertificateError;
pub use listener::ListenError;
pub use one::{run_one, turn_away};
pub use privileges::PrivilegeError;
pub use standing::run;

/// How long the sessions that are not turned yet may take to hear 421 and close after SIGTERM.
const STOP_TIME: Duration = Duration::from_secs(20);

/// What the provider's process needs to know at the start.
#[derive(Debug)]
pub struct Options {
    /// The file that SIGHUP reads again.
    pub config_file: PathBuf,
    /// The `[serve]` table as first read.
    pub serve: config::Serve,
}

/// Why the provider did not start, or did not go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A socket that we were started with has TLS, and there is none.
    #[error(transparent)]
    NoCertificate(#[from] NoCertificate),
    /// Root could not be given up.
    #[error(transparent)]
    Privileges(#[from] PrivilegeError),
    /// The accounts file.
    #[error(transparent)]
    Accounts(#[from] crate::accounts::AccountsError),
    /// The accounts do not go with the rest of the configuration.
    #[error(transparent)]
    Misfit(#[from] Misfit),
    /// The certificates.
    #[error(transparent)]
    Certificates(#[from] CertificateError),
    /// The mail server.
    #[error(transparent)]
    Handoff(#[from] crate::handoff::HandoffError),
    /// The address for metrics is not to be had.
    #[error("cannot listen on {0} for metrics: {1} (correct serve.metrics)")]
    Metrics(SocketAddr, io::Error),
    /// The runtime or the signals.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Reads the certificates once and says whether they can be used: for a check of the configuration.
///
/// # Errors
/// When one cannot be read or used.
pub fn check_certificates(
    serve: &config::Serve,
    accounts: &Accounts,
) -> Result<Option<ServerTls>, CertificateError> {
    Certificates::new(KeyReader::own()).load(serve, accounts)
}

/// Whether the accounts go with the mail server, whose next hops are each one customer's, and with `client_ca`.
///
/// # Errors
/// Two next hops that Exim would take for one, or a certificate's name for which nobody vouches.
pub fn fits(serve: &config::Serve, accounts: &Accounts) -> Result<(), Misfit> {
    if serve.client_ca.is_none() {
        accounts.need_no_authority()?;
    }
    match serve.handoff {
        config::ProviderHandoff::PostfixCache => Ok(()),
        config::ProviderHandoff::EximContinue => accounts.differ_in_address(),
    }
}

/// No value behind the locks of this room is ever left half-changed, so a panic elsewhere spoils nothing.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the kernel can do, asked only if somebody will want it.
fn kernel(serve: &config::Serve) -> KernelTls {
    if serve.has_tls() && serve.handoff_tls != HandoffTls::Relay {
        KernelTls::probe()
    } else {
        KernelTls::none()
    }
}

/// The signals that end the process.
#[derive(Debug)]
struct Stops {
    term: Signal,
    int: Signal,
}

impl Stops {
    fn new() -> io::Result<Self> {
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one, and says which.
    async fn first(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

/// Those who say that the process ends: at once, and when the sessions that the relay carries have had their time.
#[derive(Debug)]
struct Ends {
    stop: watch::Sender<bool>,
    give_up: watch::Sender<bool>,
}

/// Those who hear it.
#[derive(Debug)]
struct Told {
    stopping: watch::Receiver<bool>,
    giving_up: watch::Receiver<bool>,
}

fn ends() -> (Ends, Told) {
    let (stop, stopping) = watch::channel(false);
    let (give_up, giving_up) = watch::channel(false);
    let told = Told {
        stopping,
        giving_up,
    };
    (Ends { stop, give_up }, told)
}

/// Sees the sessions out. Those that our relay carries go on to their end, if it comes in time; the others end now.
async fn last_sessions(state: &State, mut sessions: JoinSet<()>, ends: &Ends) {
    let limit = state.files().serve.limits.stop_time;
    let deadline = Instant::now() + limit;
    let running = state.relays.running();
    if running > 0 {
        tracing::info!(
            relays = running,
            seconds = limit.as_secs(),
            "waiting for connections that go through the relay (serve.limits.stop_time)"
        );
        timeout_at(deadline, all(&mut sessions))
            .await
            .unwrap_or_default();
    }
    ends.give_up.send_replace(true);
    if timeout(STOP_TIME, all(&mut sessions)).await.is_err() {
        tracing::warn!("stopped while sessions were still open; their mail stays queued");
    }
    // What was left with the mail server.
    if timeout_at(deadline, state.relays.ended()).await.is_err() {
        tracing::warn!(
            relays = state.relays.running(),
            "stopped while the relay was in use; what was not acknowledged stays queued"
        );
    }
}

async fn all(sessions: &mut JoinSet<()>) {
    while sessions.join_next().await.is_some() {}
}
