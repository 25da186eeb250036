//! The provider's process: bind, drop root, read both files, serve until told to stop.
//!
//! Order of the start, and why: the ports are bound as root; then root is given up for good;
//! only then are the accounts read (so a later reload, as the mail server's user, cannot fail
//! where the start succeeded) and the mail server asked for its version and its sockets.

mod asking;
mod failures;
mod listener;
mod privileges;
mod refusal;
mod reload;
mod session;
mod state;
mod turned;

use crate::accounts::{Accounts, Misfit, StandInKey};
use crate::config;
use crate::handoff::provider::ProviderHandoff;
use crate::smtp::{COMMAND_LIMIT, Reply};
use crate::wire::Wire;
use state::{Files, State};
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

pub use listener::ListenError;
pub use privileges::PrivilegeError;

/// How long the sessions that are not turned yet may take to hear 421 and close after SIGTERM.
const STOP_TIME: Duration = Duration::from_secs(20);

/// How long accepting pauses when the system has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
    let listeners = listener::bind(&options.serve.listen)?;
    listener::raise_descriptor_limit();
    let user = match &options.serve.user {
        Some(user) => user.clone(),
        None => ProviderHandoff::default_user(&options.serve)?,
    };
    privileges::drop_to(&user)?;
    let key = StandInKey::draw().map_err(|error| io::Error::other(error.to_string()))?;
    let accounts = Arc::new(Accounts::load(&options.serve.accounts, &key)?);
    fits(&options.serve, &accounts)?;
    // Password hashes may take tens of megabytes each and all of a processor: a few at a time,
    // the others wait.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(processors + 1)
        .build()?;
    let ended = runtime.block_on(serve(options, listeners, accounts, key));
    // What is still in a blocking call (a password hash) is not waited for.
    runtime.shutdown_background();
    ended
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

async fn serve(
    options: Options,
    listeners: Vec<StdListener>,
    accounts: Arc<Accounts>,
    key: StandInKey,
) -> Result<(), ServeError> {
    let Options { config_file, serve } = options;
    let handoff = ProviderHandoff::new(&serve).await?;
    let mut hangup = signal(SignalKind::hangup())?;
    let (stop, stopping) = watch::channel(false);
    let addresses: Vec<String> = listeners
        .iter()
        .filter_map(local)
        .map(|at| at.to_string())
        .collect();
    tracing::info!(
        listen = %addresses.join(","), handoff = handoff.name(), accounts = accounts.len(),
        hostname = %serve.hostname, "ready"
    );
    let state = Arc::new(State::new(
        Files { serve, accounts },
        key,
        handoff,
        stopping,
    ));
    let mut acceptors = JoinSet::new();
    for listener in listeners {
        let listener = TcpListener::from_std(listener)?;
        acceptors.spawn(accept(listener, Arc::clone(&state)));
    }
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    loop {
        tokio::select! {
            _ = hangup.recv() => reload::reload(&config_file, &state),
            name = first(&mut term, &mut int) => {
                tracing::info!(signal = name, "stopping");
                break;
            }
        }
    }
    stop.send_replace(true);
    let sessions = async { while acceptors.join_next().await.is_some() {} };
    if timeout(STOP_TIME, sessions).await.is_err() {
        tracing::warn!("stopped while sessions were still open; their mail stays queued");
    }
    tracing::info!("stopped");
    Ok(())
}

/// Accepts until told to stop, then waits for its sessions.
async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(&mut sessions, &state, stream),
                Err(error) => {
                    // Out of descriptors, usually: the waiting peers are accepted a little later.
                    tracing::warn!(%error, "cannot accept a connection (raise LimitNOFILE if this persists)");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
            () = state.stopped() => break,
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

fn admit(sessions: &mut JoinSet<()>, state: &Arc<State>, stream: TcpStream) {
    let wire = match Wire::new(stream, COMMAND_LIMIT) {
        Ok(wire) => wire,
        Err(error) => {
            tracing::debug!(%error, "gone before it was greeted");
            return;
        }
    };
    let files = state.files();
    let address = wire.peer().ip();
    if !files.admits(address) {
        tracing::info!(peer = %wire.peer(), "554: not in serve.sources");
        turn_away(sessions, state, wire, refusal::not_for_you(&files));
        return;
    }
    let Some(admitted) = state.admit(address) else {
        tracing::warn!(peer = %wire.peer(), "421: too many connections (see serve.limits)");
        turn_away(sessions, state, wire, refusal::busy(&files));
        return;
    };
    let state = Arc::clone(state);
    sessions.spawn(async move {
        session::serve(state, wire).await;
        drop(admitted);
    });
}

/// Tells a connection that it is not served, if not too many are being told so.
fn turn_away(sessions: &mut JoinSet<()>, state: &Arc<State>, wire: Wire, reply: Reply) {
    let Some(room) = state.may_turn_away() else {
        return;
    };
    sessions.spawn(async move {
        refusal::turn_away(wire, &reply).await;
        drop(room);
    });
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
