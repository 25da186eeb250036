//! TLS on a customer's connection: at its beginning, or at STARTTLS.

use super::state::State;
use crate::report::{Counter, Outcome, safe};
use crate::tls::{ServerTls, TlsError, TlsErrorKind};
use crate::wire::Wire;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// The phrase for a session that ends with its handshake.
pub(super) const FAILED: &str = "the TLS handshake failed";

/// What a session came to whose handshake did not come to its end.
pub(super) fn outcome(state: &State) -> Outcome {
    if *state.stopping.borrow() {
        Outcome::Stopped
    } else {
        Outcome::NoTls
    }
}

/// Handshakes within `serve.limits.handshake_time`, and by `by` at the latest (rule C12). What came of it is one line.
///
/// Only so many are under way at one time: with one more, one of the others ends, as a [crowd](super::crowd) decides.
/// So the work that peers can have waiting for the processor is bounded. It ends as well when somebody else is given
/// the connection's place, which `leave` says.
///
/// # Errors
/// The phrase for the closing line; the wire is good for closing only.
pub(super) async fn handshake(
    state: &State,
    wire: &mut Wire,
    tls: &ServerTls,
    leave: &Notify,
    id: &str,
    by: Instant,
) -> Result<(), &'static str> {
    let limits = state.files().serve.limits;
    let limit = limits.handshake_time;
    let by = by.min(Instant::now() + limit);
    let peer = wire.peer();
    let shaking = state.handshakes.begin(peer.ip(), limits.handshakes);
    let crowded = shaking.leave();
    let done = tokio::select! {
        done = timeout_at(by, wire.accept_tls(tls)) => {
            done.unwrap_or_else(|_| Err(TlsError::timeout(limit)))
        }
        // Nothing can be said in the middle of a handshake.
        () = state.stopped() => return Err("stopped by the operator during the TLS handshake"),
        () = leave.notified() => return Err("gave its place to a newcomer during the TLS handshake (see serve.limits)"),
        () = crowded.notified() => {
            state.ledger.count(Counter::MadeRoom);
            return Err("too many TLS handshakes at once (see serve.limits)");
        }
    };
    match done {
        Ok(()) => {
            let facts = wire.facts();
            tracing::debug!(
                session = id,
                tls = facts.map(tracing::field::display),
                name = facts
                    .and_then(|facts| facts.server_name.as_deref())
                    .map(|name| safe(name).to_string()),
                certificate = facts
                    .and_then(|facts| facts.peer.as_ref())
                    .map(|peer| peer.fingerprint.to_string()),
                "TLS started"
            );
            Ok(())
        }
        Err(error) => {
            let why = error.to_string();
            // Advice for a customer; a provider has nothing to try.
            let why = why.trim_end_matches(" (try later)");
            if error.kind() == TlsErrorKind::Lost {
                tracing::info!(session = id, %peer, "{}", safe(why));
            } else {
                tracing::warn!(session = id, %peer, "{}", safe(why));
            }
            Err(FAILED)
        }
    }
}
