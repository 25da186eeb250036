//! TLS on a customer's connection: at its beginning, or at STARTTLS.

use super::state::State;
use crate::report::{Outcome, safe};
use crate::tls::{ServerTls, TlsError, TlsErrorKind};
use crate::wire::Wire;
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
/// # Errors
/// The phrase for the closing line; the wire is good for closing only.
pub(super) async fn handshake(
    state: &State,
    wire: &mut Wire,
    tls: &ServerTls,
    id: &str,
    by: Instant,
) -> Result<(), &'static str> {
    let limit = state.files().serve.limits.handshake_time;
    let by = by.min(Instant::now() + limit);
    let peer = wire.peer();
    let done = tokio::select! {
        done = timeout_at(by, wire.accept_tls(tls)) => {
            done.unwrap_or_else(|_| Err(TlsError::timeout(limit)))
        }
        // Nothing can be said in the middle of a handshake.
        () = state.stopped() => return Err("stopped by the operator during the TLS handshake"),
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
