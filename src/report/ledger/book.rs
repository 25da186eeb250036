//! What is known of one session: kept by its [`Session`](crate::report::Session), seen through the ledger.

use std::sync::Arc;
use std::time::Instant;

use super::Follow;
use crate::report::outcome::{Outcome, Role, State};

/// One session. Every text in it has been made harmless already.
#[derive(Debug, Clone)]
pub(in crate::report) struct Facts {
    pub(in crate::report) id: Arc<str>,
    pub(in crate::report) started: Instant,
    pub(in crate::report) state: State,
    pub(in crate::report) outcome: Outcome,
    pub(in crate::report) peer: Option<String>,
    pub(in crate::report) provider: Option<String>,
    pub(in crate::report) user: Option<String>,
    /// The user has shown to be who it says, so it is one of the accounts.
    pub(in crate::report) logged_in: bool,
    pub(in crate::report) domains: Option<String>,
    pub(in crate::report) mechanism: Option<String>,
    pub(in crate::report) handoff: Option<String>,
    pub(in crate::report) tls: Option<String>,
    pub(in crate::report) carried: Option<String>,
    /// Once a mail server has the connection.
    pub(in crate::report) follow: Option<Follow>,
    /// Once the session is over: how it ended.
    pub(in crate::report) end: Option<String>,
}

impl Facts {
    pub(in crate::report) fn new(id: Arc<str>) -> Self {
        Self {
            id,
            started: Instant::now(),
            state: State::Greeting,
            outcome: Outcome::Lost,
            peer: None,
            provider: None,
            user: None,
            logged_in: false,
            domains: None,
            mechanism: None,
            handoff: None,
            tls: None,
            carried: None,
            follow: None,
            end: None,
        }
    }

    /// Seconds since the connection began, in thousandths.
    pub(in crate::report) fn seconds(&self) -> f64 {
        (self.started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }

    /// Whose last result this session is: never a name that somebody only tried.
    pub(super) fn key(&self, role: Role) -> Option<&str> {
        match role {
            Role::Serve if self.logged_in => self.user.as_deref(),
            Role::Serve => None,
            Role::Fetch => self.provider.as_deref(),
        }
    }

    /// As it is followed on when its session is over.
    pub(super) fn left(&self, end: &str) -> Self {
        Self {
            state: State::Left,
            end: Some(end.to_owned()),
            ..self.clone()
        }
    }
}
