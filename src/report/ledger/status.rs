//! The ledger as `turnabout status` shows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::last::rfc_3339;
use super::{Facts, Follow, LastResult, Ledger, Next, NextFetch, lock};
use crate::report::outcome::{Counter, Outcome};

/// A service at one moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `serve` or `fetch`.
    pub role: String,
    /// The version of the program that runs.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// When it was started, as in RFC 3339.
    pub since: String,
    /// For how many seconds it has been running.
    pub seconds: f64,
    /// The sessions that are open, the oldest first.
    pub sessions: Vec<SessionStatus>,
    /// The last result of each customer or provider, by name.
    pub last: Vec<LastResult>,
    /// When a standing customer fetches from each provider next, by name.
    #[serde(default)]
    pub next: Vec<NextFetch>,
    /// What was counted since the start.
    pub totals: Totals,
}

/// One open session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionStatus {
    /// Its id in the log.
    pub session: String,
    /// The name of its [`State`](crate::report::State).
    pub state: String,
    /// Address and port of the peer.
    pub peer: Option<String>,
    /// The provider's name, where this is the customer.
    pub provider: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The domains.
    pub domains: Option<String>,
    /// The mechanism of the login.
    pub mechanism: Option<String>,
    /// Version and cipher suite.
    pub tls: Option<String>,
    /// The kind of hand-off.
    pub handoff: Option<String>,
    /// `plain`, `kernel` or `relay`.
    pub carried: Option<String>,
    /// For how many seconds it has been open.
    pub seconds: f64,
    /// Octets from the peer, once the mail server has the connection.
    pub received: Option<u64>,
    /// Octets that the peer has taken, likewise.
    pub sent: Option<u64>,
    /// The time to the peer and back in seconds, likewise.
    pub round_trip: Option<f64>,
    /// For how many seconds nothing has moved, likewise.
    pub quiet: Option<f64>,
    /// How the part of it that was ours ended, where only the mail server still has it.
    pub end: Option<String>,
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Sessions that are over.
    pub sessions: u64,
    /// The same by the names of their [`Outcome`], those that occurred.
    pub results: BTreeMap<String, u64>,
    /// Connections that a mail server was given, by who carries them.
    pub carried: BTreeMap<String, u64>,
    /// Logins: `accepted`, `failed`.
    pub logins: BTreeMap<String, u64>,
    /// Connections that were not served, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Answers to ATRN, by code.
    pub atrn: BTreeMap<String, u64>,
    /// Turned sessions that ended with mail left in the queue.
    pub mail_left: u64,
}

impl Ledger {
    /// What there is to show now.
    #[must_use]
    pub fn status(&self) -> Status {
        let (mut sessions, last, totals) = self.copied();
        let next = self.rows().next_fetches.iter().map(Next::shown).collect();
        sessions.sort_by_key(|facts| facts.started);
        Status {
            role: self.0.role.name().to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            since: rfc_3339(self.0.since),
            seconds: self.0.began.elapsed().as_secs_f64().round(),
            sessions: sessions.iter().filter_map(shown).collect(),
            last,
            next,
            totals,
        }
    }

    fn copied(&self) -> (Vec<Facts>, Vec<LastResult>, Totals) {
        let mut rows = self.rows();
        rows.forget_closed();
        let open: Vec<_> = rows.open.values().map(Arc::clone).collect();
        let mut all: Vec<Facts> = rows.left.iter().cloned().collect();
        let last = rows.last.iter().map(|(name, last)| last.result(name));
        let last = last.collect();
        let totals = Totals::of(&rows.totals);
        drop(rows);
        all.extend(open.iter().map(|facts| lock(facts).clone()));
        (all, last, totals)
    }
}

/// A session that the mail server had and that is over is not shown, even if nobody here has noticed yet.
fn shown(facts: &Facts) -> Option<SessionStatus> {
    let flow = facts.follow.as_ref().map(Follow::look);
    let flow = match flow {
        Some(None) if facts.end.is_some() => return None,
        Some(seen) => seen,
        None => None,
    };
    Some(SessionStatus {
        session: facts.id.to_string(),
        state: facts.state.name().to_owned(),
        peer: facts.peer.clone(),
        provider: facts.provider.clone(),
        user: facts.user.clone(),
        domains: facts.domains.clone(),
        mechanism: facts.mechanism.clone(),
        tls: facts.tls.clone(),
        handoff: facts.handoff.clone(),
        carried: facts.carried.clone(),
        seconds: facts.seconds(),
        received: flow.map(|flow| flow.received),
        sent: flow.map(|flow| flow.sent),
        round_trip: flow.map(|flow| flow.round_trip.as_secs_f64()),
        quiet: flow.map(|flow| flow.quiet.as_secs_f64()),
        end: facts.end.clone(),
    })
}

impl Totals {
    fn of(totals: &super::Totals) -> Self {
        let by_outcome = totals.by_outcome();
        let counted = |label: fn(Counter) -> Option<&'static str>| {
            let labels = Counter::ALL
                .into_iter()
                .filter_map(|one| Some((one, label(one)?)));
            labels
                .map(|(one, label)| (label.to_owned(), totals.counter(one)))
                .collect()
        };
        let name = |(outcome, count): (&Outcome, &u64)| (outcome.name().to_owned(), *count);
        Self {
            sessions: by_outcome.values().sum(),
            results: by_outcome.iter().map(name).collect(),
            carried: totals.by_carriage(),
            logins: counted(Counter::login),
            refused: counted(Counter::refusal),
            atrn: totals
                .atrn
                .iter()
                .map(|(code, count)| (code.to_string(), *count))
                .collect(),
            mail_left: totals.mail_left,
        }
    }
}
