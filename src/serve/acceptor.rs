//! New connections: each is counted, and served or turned away.

use super::refusal;
use super::session::{self, Begins};
use super::state::State;
use crate::report::Counter;
use crate::smtp::{COMMAND_LIMIT, Reply};
use crate::wire::Wire;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// How long accepting pauses when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until told to stop, then waits for its sessions.
pub(super) async fn accept(listener: TcpListener, begins: Begins, state: Arc<State>) {
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => admit(&mut sessions, &state, stream, begins),
                Err(error) => {
                    // Out of descriptors, usually: the waiting peers are accepted a little later.
                    tracing::warn!(%error, "cannot accept a connection (raise LimitNOFILE if this persists)");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
            () = state.stopped() => break,
        }
    }
    drop(listener);
    while sessions.join_next().await.is_some() {}
}

fn admit(sessions: &mut JoinSet<()>, state: &Arc<State>, stream: TcpStream, begins: Begins) {
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
        let said = said(begins, "554");
        state.ledger.count(Counter::NotInSources);
        tracing::info!(peer = %wire.peer(), "{said}: not in serve.sources");
        turn_away(sessions, state, wire, begins, refusal::not_for_you(&files));
        return;
    }
    let Some(admitted) = state.admit(address) else {
        let said = said(begins, "421");
        state.ledger.count(Counter::TooMany);
        tracing::warn!(peer = %wire.peer(), "{said}: too many connections (see serve.limits)");
        turn_away(sessions, state, wire, begins, refusal::busy(&files));
        return;
    };
    let state = Arc::clone(state);
    sessions.spawn(async move {
        session::serve(state, wire, begins, admitted).await;
    });
}

/// What a connection that is turned away hears. A client that waits for a handshake could not read a reply, and
/// handshakes are not made for those that are too many.
fn said(begins: Begins, code: &'static str) -> &'static str {
    match begins {
        Begins::InClear | Begins::Greeted => code,
        Begins::WithTls => "closed",
    }
}

/// Tells a connection that it is not served, if not too many are being told so.
fn turn_away(
    sessions: &mut JoinSet<()>,
    state: &Arc<State>,
    wire: Wire,
    begins: Begins,
    reply: Reply,
) {
    if begins == Begins::WithTls {
        return;
    }
    let Some(room) = state.may_turn_away() else {
        return;
    };
    sessions.spawn(async move {
        refusal::turn_away(wire, &reply).await;
        drop(room);
    });
}
