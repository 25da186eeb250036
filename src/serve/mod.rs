//! The provider's process: bind, drop root, read its files, serve until told to stop.
//!
//! Order of the start, and why: the ports are bound as root, and a child that stays root is started to read
//! certificates and keys ([`keys`]); then root is given up for good; only then are the accounts read (so a later
//! reload, as the mail server's user, cannot fail where the start succeeded) and the mail server asked for its
//! version and its sockets.

mod acceptor;
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
mod privileges;
mod refusal;
mod reload;
mod session;
mod state;
mod turned;

use crate::accounts::{Accounts, Misfit, StandInKey};
use crate::config;
use crate::handoff::inherited;
use crate::handoff::provider::ProviderHandoff;
use crate::tls::{HandoffTls, ServerTls};
use crate::wire::KernelTls;
use acceptor::Begins;
use certificates::Certificates;
use keys::KeyReader;
use nix::unistd::geteuid;
use state::{Files, State};
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};

pub use certificates::CertificateError;
pub use listener::ListenError;
pub use privileges::PrivilegeError;

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
    /// The runtime or the signals.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever makes a start impossible; see [`ServeError`].
pub fn run(options: Options) -> Result<(), ServeError> {
    // Whoever started us has no descriptor of its own in a process of root's, or in a mail server.
    inherited::note();
    inherited::close();
    let listeners = Listeners {
        in_clear: listener::bind(&options.serve.listen)?,
        with_tls: listener::bind(&options.serve.listen_tls)?,
    };
    listener::raise_descriptor_limit();
    let user = match &options.serve.user {
        Some(user) => user.clone(),
        None => ProviderHandoff::default_user(&options.serve)?,
    };
    let mut certificates = Certificates::new(key_reader(&options.serve)?);
    privileges::drop_to(&user)?;
    if let Err(error) = File::open(&options.config_file) {
        tracing::warn!(
            config = %options.config_file.display(), %user, %error,
            "SIGHUP will not reload: this user cannot read the configuration (chgrp it to the user's group, and chmod g+r)"
        );
    }
    let key = StandInKey::draw().map_err(|error| io::Error::other(error.to_string()))?;
    let accounts = Arc::new(Accounts::load(&options.serve.accounts, &key)?);
    fits(&options.serve, &accounts)?;
    let tls = certificates.load(&options.serve, &accounts)?;
    confine::confine(&options.serve, &options.config_file);
    // Password hashes may take tens of megabytes each and all of a processor: a few at a time,
    // the others wait.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(processors + 1)
        .build()?;
    let files = Files {
        serve: options.serve,
        accounts,
        tls,
    };
    let started = Started {
        config_file: options.config_file,
        listeners,
        certificates,
        key,
    };
    let ended = runtime.block_on(serve(started, files));
    // What is still in a blocking call (a password hash) is not waited for.
    runtime.shutdown_background();
    ended
}

/// What was made ready before there were threads.
struct Started {
    config_file: PathBuf,
    listeners: Listeners,
    certificates: Certificates,
    key: StandInKey,
}

/// By how a connection on them begins.
struct Listeners {
    in_clear: Vec<StdListener>,
    with_tls: Vec<StdListener>,
}

/// As root, a child that can read the files after root is given up; otherwise we read them as any other.
fn key_reader(serve: &config::Serve) -> io::Result<KeyReader> {
    let files = Certificates::files(serve);
    if geteuid().is_root() && !files.is_empty() {
        return KeyReader::with_root(files);
    }
    Ok(KeyReader::own())
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

async fn serve(started: Started, files: Files) -> Result<(), ServeError> {
    let Started {
        config_file,
        listeners,
        mut certificates,
        key,
    } = started;
    let handoff = ProviderHandoff::new(&files.serve).await?;
    let kernel = kernel(&files.serve);
    let mut hangup = signal(SignalKind::hangup())?;
    let (stop, stopping) = watch::channel(false);
    let (give_up, giving_up) = watch::channel(false);
    tracing::info!(
        listen = addresses(&listeners.in_clear), listen_tls = addresses(&listeners.with_tls),
        tls = files.serve.tls.name(), handoff_tls = files.serve.has_tls().then(|| files.serve.handoff_tls.name()), handoff = handoff.name(), accounts = files.accounts.len(),
        hostname = %files.serve.hostname, "ready"
    );
    let state = Arc::new(State::new(files, key, handoff, kernel, stopping, giving_up));
    let mut acceptors = JoinSet::new();
    for (listeners, begins) in [
        (listeners.in_clear, Begins::InClear),
        (listeners.with_tls, Begins::WithTls),
    ] {
        for listener in listeners {
            let listener = TcpListener::from_std(listener)?;
            acceptors.spawn(acceptor::accept(listener, begins, Arc::clone(&state)));
        }
    }
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let mut look = interval_at(Instant::now() + certificates::LOOK, certificates::LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = hangup.recv() => reload::reload(&config_file, &state, &mut certificates),
            _ = look.tick() => reload::renew(&state, &mut certificates),
            name = first(&mut term, &mut int) => {
                tracing::info!(signal = name, "stopping");
                break;
            }
        }
    }
    stop.send_replace(true);
    last_sessions(&state, acceptors, &give_up).await;
    tracing::info!("stopped");
    Ok(())
}

/// What the kernel can do, asked only if somebody will want it.
fn kernel(serve: &config::Serve) -> KernelTls {
    if serve.has_tls() && serve.handoff_tls != HandoffTls::Relay {
        KernelTls::probe()
    } else {
        KernelTls::none()
    }
}

/// Sees the sessions out. Those that our relay carries go on to their end, if it comes in time; the others end now.
async fn last_sessions(state: &State, mut acceptors: JoinSet<()>, give_up: &watch::Sender<bool>) {
    let limit = state.files().serve.limits.stop_time;
    let deadline = Instant::now() + limit;
    let running = state.relays.running();
    if running > 0 {
        tracing::info!(
            relays = running,
            seconds = limit.as_secs(),
            "waiting for connections that go through the relay (serve.limits.stop_time)"
        );
        timeout_at(deadline, all(&mut acceptors))
            .await
            .unwrap_or_default();
    }
    give_up.send_replace(true);
    if timeout(STOP_TIME, all(&mut acceptors)).await.is_err() {
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

async fn all(acceptors: &mut JoinSet<()>) {
    while acceptors.join_next().await.is_some() {}
}

/// Where they listen, for the log; nothing if there are none.
fn addresses(listeners: &[StdListener]) -> Option<String> {
    let all: Vec<String> = listeners
        .iter()
        .filter_map(local)
        .map(|at| at.to_string())
        .collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn local(listener: &StdListener) -> Option<SocketAddr> {
    listener.local_addr().ok()
}

async fn first(term: &mut Signal, int: &mut Signal) -> &'static str {
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = int.recv() => "SIGINT",
    }
}
