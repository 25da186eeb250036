//! When a standing customer fetches from each provider next, and what it waits for until then.

use std::time::{Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::Ledger;
use super::last::rfc_3339;

/// What a provider's next fetch waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The one that runs.
    Running,
    /// The usual time between two.
    Interval,
    /// Some time after a failure.
    Failure,
    /// The end of the quiet hours.
    QuietHours,
}

impl Wait {
    /// Its word in the status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Interval => "interval",
            Self::Failure => "failure",
            Self::QuietHours => "quiet-hours",
        }
    }
}

/// One provider in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Next {
    /// Its name, made harmless.
    pub name: String,
    /// When it is its turn; not known while a fetch runs.
    pub due: Option<Instant>,
    /// What for.
    pub wait: Wait,
    /// Failures since the last success.
    pub failures: u32,
}

/// A provider's next fetch, as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NextFetch {
    /// The name of the provider.
    pub name: String,
    /// When it begins, as in RFC 3339; nothing while one runs.
    pub at: Option<String>,
    /// In how many seconds that is.
    pub wait: Option<f64>,
    /// The name of its [`Wait`].
    pub reason: String,
    /// How many fetches in a row have failed.
    pub failures: u32,
}

impl Next {
    pub(super) fn shown(&self) -> NextFetch {
        let wait = self
            .due
            .map(|due| due.saturating_duration_since(Instant::now()));
        NextFetch {
            name: self.name.clone(),
            // The clock on the wall may have been set since it was planned.
            at: wait
                .and_then(|wait| SystemTime::now().checked_add(wait))
                .map(rfc_3339),
            wait: wait.map(|wait| wait.as_secs_f64().round()),
            reason: self.wait.name().to_owned(),
            failures: self.failures,
        }
    }
}

impl Ledger {
    /// What is planned from now on, in the place of what was.
    pub fn plan(&self, mut next: Vec<Next>) {
        next.sort_by(|one, other| one.name.cmp(&other.name));
        self.rows().next_fetches = next;
    }
}
