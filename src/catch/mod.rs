//! The mail server's end of a hand-off between containers: listen, receive connections, run the mail server on each.
//!
//! The sender is `handoff = "catch"` ([`crate::handoff::catch`]), what the two say to each other stands in
//! turnabout-handoff(7). This process believes nobody whose user it was not told ([`allow`]), holds the descriptor
//! against what is said of it ([`crate::wire::received`]), and starts a mail server under the very rules of
//! [`crate::handoff::exec`]: one that cannot learn its peer's address would relay anything for it (rule C9).
//!
//! The sessions need nothing from this process once their mail server runs, except under kernel TLS, where the last
//! word is said here. It may be the first process of its container: then it also buries the orphans.

mod allow;
mod caller;
mod listener;
mod orphans;
mod session;

pub use allow::{AllowError, Allowed};
pub use listener::ListenError;

use crate::config::{CommandPeer, is_postfix_sendmail_bs};
use crate::handoff::HandoffError;
use crate::handoff::exec::Exec;
use crate::service::{self, StartError, inherited, notify};
use caller::Caller;
use listener::Listener;
use orphans::Orphans;
use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

/// The pause after the system gave no descriptor for a new connection.
const PAUSE: Duration = Duration::from_millis(200);

/// What the receiver is told at its start.
#[derive(Debug)]
pub struct Options {
    /// Where to listen.
    pub socket: PathBuf,
    /// The mail server and its arguments.
    pub command: Vec<String>,
    /// The user to run it as; `None` is our own.
    pub command_user: Option<String>,
    /// How it learns the provider's address behind a relay; `None` is told from the program's name.
    pub command_peer: Option<CommandPeer>,
    /// Who may send connections.
    pub allowed: Allowed,
    /// Whether the peer of a connection may be a loopback address.
    pub allow_loopback: bool,
    /// How many may be waiting or running at the same time.
    pub most: usize,
    /// How long sessions may go on after SIGTERM.
    pub stop_time: Duration,
}

/// Why the receiver does not start.
#[derive(Debug, thiserror::Error)]
pub enum CatchError {
    /// The command cannot be run, or must not.
    #[error(transparent)]
    Command(#[from] HandoffError),
    /// What a service manager has opened is not what is needed.
    #[error(transparent)]
    Started(#[from] StartError),
    /// The socket is not to be had.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The runtime or the signals.
    #[error("cannot start: {0}")]
    Start(#[from] io::Error),
}

/// What all sessions share.
struct Shared {
    exec: Exec,
    allowed: Allowed,
    allow_loopback: bool,
    slots: Arc<Semaphore>,
    orphans: Orphans,
    stopping: watch::Receiver<bool>,
}

/// Receives until SIGTERM or SIGINT, then sees the sessions out; a second signal leaves them to themselves.
///
/// # Errors
/// Whatever makes a start impossible; see [`CatchError`].
pub fn run(options: Options) -> Result<(), CatchError> {
    inherited::note();
    let given = service::unix_listener()?;
    let exec = command(&options)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    // One thread: a question to the mail server's program and the burial of orphans never happen at the same time.
    LocalSet::new().block_on(&runtime, receive(options, given, exec))
}

/// Whether the mail server can be run, as far as that is known before anybody calls.
fn command(options: &Options) -> Result<Exec, HandoffError> {
    if is_postfix_sendmail_bs(&options.command) {
        return Err(HandoffError::new(
            "cannot use this command: it is Postfix's sendmail -bs, which takes the provider for a local user and relays \
             anything for it (let turnabout fetch pass to Postfix's own socket with handoff = \"postfix-pass\", or use \
             Postfix's smtpd -S as its mail_owner)",
        ));
    }
    let user = options.command_user.as_deref();
    let exec = Exec::new(&options.command, user, options.command_peer)?;
    exec.prepare(false)?;
    if let Err(error) = exec.prepare(true) {
        tracing::warn!(%error, "connections that come through a relay will be refused");
    }
    Ok(exec)
}

async fn receive(
    options: Options,
    given: Option<UnixListener>,
    exec: Exec,
) -> Result<(), CatchError> {
    let listener = match given {
        Some(given) => Listener::given(given, &options.socket)?,
        None => Listener::bind(&options.socket, &options.allowed)?,
    };
    let (mut term, mut int) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let mut told = async || {
        tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
        }
    };
    let (stop, stopping) = watch::channel(false);
    let shared = Rc::new(Shared {
        exec,
        allowed: options.allowed,
        allow_loopback: options.allow_loopback,
        slots: Arc::new(Semaphore::new(options.most)),
        orphans: Orphans::watch()?,
        stopping,
    });
    tracing::info!(
        socket = %options.socket.display(), command = %options.command.join(" "),
        allowed = %shared.allowed, most = options.most, "ready"
    );
    notify::ready("waiting for connections");
    let mut sessions = JoinSet::new();
    let signal = tokio::select! {
        () = accept(&listener, &shared, &mut sessions) => "none",
        signal = told() => signal,
    };
    drop(listener);
    tracing::info!(signal, "stopping");
    notify::stopping(options.stop_time);
    // Who waits with an offer hears that it is off; the provider's mail stays where it is.
    stop.send_replace(true);
    tokio::select! {
        () = async { while sessions.join_next().await.is_some() {} } => {}
        () = sleep(options.stop_time) => {
            tracing::warn!(sessions = sessions.len(), "stopped while sessions were open, they go on if nobody ends them");
        }
        signal = told() => {
            tracing::warn!(signal, sessions = sessions.len(), "stopped at once, sessions go on if nobody ends them");
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Takes callers as they come, for ever.
async fn accept(listener: &Listener, shared: &Rc<Shared>, sessions: &mut JoinSet<()>) {
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted.and_then(Caller::new) {
                Ok(caller) => {
                    sessions.spawn_local(session::serve(caller, Rc::clone(shared)));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(PAUSE).await;
                }
            },
            Some(_) = sessions.join_next() => {}
        }
    }
}
