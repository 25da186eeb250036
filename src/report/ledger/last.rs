//! How each customer, or provider, fared the last time.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::Facts;
use crate::report::outcome::Outcome;

#[derive(Debug)]
pub(super) struct Last {
    pub(super) at: SystemTime,
    pub(super) outcome: Outcome,
    pub(super) seconds: f64,
    /// When it last went well, this time included.
    pub(super) succeeded: Option<SystemTime>,
    session: Arc<str>,
    peer: Option<String>,
    domains: Option<String>,
    carried: Option<String>,
    end: String,
}

/// What a file from before the start of this process says.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Past {
    pub(super) at: Option<SystemTime>,
    pub(super) succeeded: Option<SystemTime>,
    pub(super) seconds: Option<f64>,
    pub(super) good: Option<bool>,
}

/// The last session of a customer or with a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastResult {
    /// The user, or the name of the provider.
    pub name: String,
    /// When it ended, as in RFC 3339.
    pub at: String,
    /// How many seconds ago that was.
    pub ago: f64,
    /// The name of its [`Outcome`].
    pub result: String,
    /// The phrase of its closing line.
    pub end: String,
    /// Its id in the log.
    pub session: String,
    /// Address and port of the peer, where one was reached.
    pub peer: Option<String>,
    /// The domains it was about.
    pub domains: Option<String>,
    /// Who carried the octets after the turn.
    pub carried: Option<String>,
    /// How many seconds it took.
    pub seconds: f64,
    /// When one last went well since the start of the service, as in RFC 3339.
    pub succeeded: Option<String>,
}

impl Last {
    pub(super) fn of(facts: &Facts, end: &str) -> Self {
        let at = SystemTime::now();
        Self {
            at,
            outcome: facts.outcome,
            seconds: facts.seconds(),
            succeeded: facts.outcome.is_good().then_some(at),
            session: Arc::clone(&facts.id),
            peer: facts.peer.clone(),
            domains: facts.domains.clone(),
            carried: facts.carried.clone(),
            end: end.to_owned(),
        }
    }

    /// One that follows others, the last of which went well then.
    pub(super) fn after(self, past: Option<SystemTime>) -> Self {
        Self {
            succeeded: self.succeeded.or(past),
            ..self
        }
    }

    pub(super) fn result(&self, name: &str) -> LastResult {
        LastResult {
            name: name.to_owned(),
            at: rfc_3339(self.at),
            ago: self.at.elapsed().unwrap_or_default().as_secs_f64().round(),
            result: self.outcome.name().to_owned(),
            end: self.end.clone(),
            session: self.session.to_string(),
            peer: self.peer.clone(),
            domains: self.domains.clone(),
            carried: self.carried.clone(),
            seconds: self.seconds,
            succeeded: self.succeeded.map(rfc_3339),
        }
    }
}

pub(super) fn rfc_3339(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}

/// Seconds since 1970.
pub(super) fn unix(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_secs_f64().round()
}
