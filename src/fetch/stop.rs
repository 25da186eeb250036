//! Why a conversation came to an end before the turn, in the operator's words.

use super::report::End;
use crate::handoff::HandoffError;
use crate::odmr::customer::Outcome;
use crate::report;
use crate::wire::WireError;

/// Why a conversation stopped before its end: the blame and the sentence.
#[derive(Debug)]
pub(super) struct Stop(pub(super) End, pub(super) String);

pub(super) fn lost(error: &WireError, during: &str) -> Stop {
    Stop(
        End::TryLater,
        format!("connection lost during {during}: {error} (try later)"),
    )
}

/// What a conversation that was not turned means for the operator.
pub(super) fn stop(outcome: Outcome, unready: Option<HandoffError>) -> Stop {
    let end = match &outcome {
        Outcome::NoMail => End::NoMail,
        Outcome::Settings { .. } => End::Configuration,
        Outcome::TlsRefused { reply } if reply.is_transient() => End::TryLater,
        Outcome::Refused { .. }
        | Outcome::AuthFailed { .. }
        | Outcome::NoMechanism { .. }
        | Outcome::NoStartTls
        | Outcome::TlsRefused { .. } => End::Refused,
        Outcome::TryLater { .. } | Outcome::MtaNotReady | Outcome::Abandoned { .. } => {
            End::TryLater
        }
        Outcome::NoAtrn | Outcome::Protocol { .. } => End::Protocol,
    };
    match (outcome, unready) {
        (Outcome::MtaNotReady, Some(error)) => Stop(end, error.to_string()),
        (outcome, _) => Stop(end, report::safe(&outcome.to_string()).to_string()),
    }
}
