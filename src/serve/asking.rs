//! Between ATRN and its reply: may this customer be served now, is there mail, and does the
//! mail server stand ready? All of it before the 250, while 450, 451 and 453 are still possible.

use super::state::{Files, NotNow, Reserved, State};
use crate::accounts::GrantError;
use crate::handoff::provider::Ready;
use crate::odmr::provider::{QueueAnswer, Request};
use crate::report;
use crate::smtp::next_hop::NextHop;
use std::sync::Arc;
use tokio::time::timeout;

/// What stands ready for the turn.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) ready: Ready,
    /// Of the mail server: it can be given a connection that a relay carries.
    pub(super) takes_relay: bool,
    /// Of the mail server: a session under TLS in the kernel comes to its end in good order.
    pub(super) kernel_tls_is_whole: bool,
    pub(super) reserved: Reserved,
    pub(super) next_hops: Vec<NextHop>,
}

/// The answer for the machine and, only with [`QueueAnswer::Mail`], what the turn needs.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) answer: QueueAnswer,
    pub(super) turn: Option<Turn>,
}

/// Answers an ATRN that is allowed. Whatever cannot be found out is 451, never 453.
pub(super) async fn ask(state: &Arc<State>, files: &Files, id: &str, request: &Request) -> Asked {
    match prepare(state, files, id, request).await {
        Ok(turn) => Asked {
            answer: QueueAnswer::Mail,
            turn: Some(turn),
        },
        Err(answer) => Asked { answer, turn: None },
    }
}

async fn prepare(
    state: &Arc<State>,
    files: &Files,
    id: &str,
    request: &Request,
) -> Result<Turn, QueueAnswer> {
    let serve = &files.serve;
    let user = report::safe(&request.user);
    let unavailable = |why: String| {
        tracing::error!(session = id, %user, domains = %request.domains, "451: {why}");
        QueueAnswer::Unavailable
    };
    let later = |not_now: NotNow| {
        let answer = match not_now {
            NotNow::Busy => QueueAnswer::Busy,
            NotNow::TooSoon => QueueAnswer::TooSoon,
            NotNow::Unknown(error) => return unavailable(error.to_string()),
        };
        tracing::info!(session = id, %user, "450: {}", not_now.reason());
        answer
    };
    let mut reserved = state
        .reserve(&request.user, serve.retry_interval)
        .map_err(later)?;
    // By the accounts as they are now, not as they were at the login: what the operator has taken away since then
    // does not travel (rule R18).
    let accounts = Arc::clone(&state.files().accounts);
    let next_hops =
        accounts
            .grant(&request.user, &request.domains)
            .map_err(|error| match error {
                GrantError::UnknownUser | GrantError::Foreign(_) => {
                    tracing::warn!(session = id, %user, domains = %request.domains, "450: {error}");
                    QueueAnswer::Refused
                }
                GrantError::SharedNextHop { .. } => unavailable(error.to_string()),
            })?;
    reserved.hold(&next_hops).map_err(later)?;
    let handoff = state.mail_server.handoff(serve).await;
    let handoff = handoff.map_err(|error| unavailable(error.to_string()))?;
    let asked = async {
        let waiting = handoff
            .waiting(&request.domains, serve.limits.queue_time)
            .await;
        match waiting {
            Ok(true) => {}
            Ok(false) => return Err(QueueAnswer::NoMail),
            Err(error) => return Err(unavailable(error.to_string())),
        }
        let ready = handoff.prepare(&request.domains, &next_hops).await;
        ready.map_err(|error| unavailable(error.to_string()))
    };
    let Ok(ready) = timeout(serve.limits.queue_time, asked).await else {
        let seconds = serve.limits.queue_time.as_secs();
        return Err(unavailable(format!(
            "the mail server's queue gave no answer in {seconds} s (is it very large? see serve.limits.queue_time)"
        )));
    };
    Ok(Turn {
        ready: ready?,
        takes_relay: handoff.takes_relay(),
        kernel_tls_is_whole: handoff.kernel_tls_is_whole(),
        reserved,
        next_hops,
    })
}
