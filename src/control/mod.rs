//! Asking a running service: a Unix socket, one JSON object each way, then it closes.
//!
//! ```text
//! turnabout status --ask--> Listener --Asker, Asked--> whoever serves it: Desk, or the fetch daemon
//! ```
//!
//! * **Only who may.** The socket's mode lets its owner and its group connect, and of those that do only root, the
//!   service's own user and members of that group are listened to (`SO_PEERCRED`).
//! * **Bounded.** A request is one short line, and must have come in [`TIME`]; so many are heard at the same time that a
//!   slow one is in nobody's way.
//! * **Harmless.** `status` changes nothing. What else may be asked for is the service's to decide.
//!
//! Beside it stand what shows the same to Prometheus, a port and a file, and how a connection is followed that a
//! mail server has.

mod ask;
mod desk;
mod error;
mod follow;
mod listener;
mod metrics;
mod peer;
mod textfile;

pub use ask::ask;
pub use desk::{Desk, DeskSettings, write_last};
pub use error::ControlError;
pub use follow::follow;
pub use listener::{Asked, Asker, Listener};
pub use metrics::MetricsListener;

use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a request, and its answer, may take.
pub const TIME: Duration = Duration::from_secs(5);

/// The longest request, in octets.
const REQUEST: u64 = 4096;

/// How many are answered at the same time; the others wait, no longer than a few of these take.
const AT_ONCE: usize = 32;

/// Starts to answer one more, as soon as fewer than [`AT_ONCE`] are being answered.
async fn answer_beside(
    others: &mut JoinSet<()>,
    answer: impl Future<Output = ()> + Send + 'static,
) {
    while others.try_join_next().is_some() {}
    if others.len() >= AT_ONCE {
        others.join_next().await;
    }
    others.spawn(answer);
}

/// What a service can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// What is going on? The answer is a [`Status`](crate::report::Status).
    Status,
    /// Fetch from this provider now.
    Now {
        /// Its name in the configuration.
        provider: String,
    },
}

/// The answer to what cannot be answered: an object with this one field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Why, in one sentence.
    pub error: String,
}
