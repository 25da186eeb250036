//! Giving a turned connection to Exim, which goes on with it as if it had just delivered a message there.
//!
//! `exim -MC` is how one Exim process passes an open SMTP connection to the next: the socket on descriptor 0, the first
//! message in the arguments, and all further messages from the list of those that wait for the same host. Exim ends
//! with QUIT by itself. What the operator prepares stands in `contrib/exim/provider.conf`.

mod arguments;
mod carry;
mod first;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub use arguments::{Form, Proxied, arguments};
pub use first::Order;

use super::{Ended, HandoffError, Reversed};
use crate::queue::QueueError;
use crate::queue::exim::Queue;
use crate::queue::together::Together;
use crate::smtp::domain::DomainList;
use crate::smtp::next_hop::NextHop;

/// How long Exim may take to say who it is.
const VERSION_TIME: Duration = Duration::from_secs(20);
/// How long the run that notes the waiting messages may take: the customer waits for its 250 meanwhile.
const PRIME_TIME: Duration = Duration::from_secs(30);

/// How long Exim may take to list its queue.
const QUEUE_TIME: Duration = Duration::from_secs(60);
/// How many messages one session is about at most.
const MESSAGES: usize = 10_000;

/// What the operator says about his Exim.
#[derive(Debug, Clone)]
pub struct EximSettings {
    /// Exim's binary.
    pub command: PathBuf,
    /// The transport which is for on-demand domains.
    pub transport: String,
    /// After this long nobody here looks on any more; Exim ends the session itself.
    pub total_time: Duration,
}

/// An Exim whose interface is known.
#[derive(Debug, Clone)]
pub struct EximContinue(Arc<Known>);

/// What was found out about it at the start.
#[derive(Debug)]
struct Known {
    settings: EximSettings,
    queue: Queue,
    /// Sessions that ask it at the same time share one look.
    together: Together,
    form: Form,
    /// It can be told of TLS that a relay does for it.
    proxied: bool,
    /// Exim's spool directory.
    spool: String,
    order: Mutex<Order>,
}

/// A hand-off that is prepared: the waiting messages are noted.
#[derive(Debug)]
pub struct Ready {
    known: Arc<Known>,
    next_hop: NextHop,
}

impl EximContinue {
    /// Asks Exim who it is and how it takes a connection.
    ///
    /// # Errors
    /// Exim cannot be run, or takes connections in a way that is not known.
    pub async fn new(settings: EximSettings) -> Result<Self, HandoffError> {
        let transport = &settings.transport;
        let is_plain =
            |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
        if transport.starts_with('-') || transport.is_empty() || !transport.chars().all(is_plain) {
            let cause = "the transport's name may hold letters, digits, _ and - only".to_owned();
            return Err(HandoffError::Configuration { mta: "Exim", cause });
        }
        let queue = Queue {
            command: settings.command.clone(),
        };
        let version = queue.version(VERSION_TIME).await?;
        let form = carry::form(&queue, transport, VERSION_TIME).await?.ok_or(
            HandoffError::UnknownVersion {
                mta: "Exim",
                version,
                known: "Exim whose -MC takes five or six arguments",
            },
        )?;
        let proxied = carry::is_proxied(&queue, transport, form, VERSION_TIME).await?;
        if !proxied {
            tracing::warn!(
                command = %settings.command.display(),
                "this Exim is built without TLS: sessions under TLS cannot be handed to it through a relay"
            );
        }
        let spool = queue.spool_directory(VERSION_TIME).await?;
        Ok(Self(Arc::new(Known {
            settings,
            queue,
            together: Together::default(),
            form,
            proxied,
            spool,
            order: Mutex::default(),
        })))
    }

    /// Whether it can be given a connection that a relay carries.
    #[must_use]
    pub fn takes_relay(&self) -> bool {
        self.0.proxied
    }

    /// Whether a message waits for one of these domains.
    ///
    /// # Errors
    /// The queue could not be asked within `limit`: answer 451 and never "no mail".
    pub async fn waiting(&self, domains: &DomainList, limit: Duration) -> Result<bool, QueueError> {
        let known = Arc::clone(&self.0);
        let asked = self.0.together.ask(domains, move |mut askers| {
            let known = Arc::clone(&known);
            async move {
                let read = known.queue.answer(&mut askers, limit).await;
                (askers, read)
            }
        });
        asked.await
    }

    /// Has Exim try the mail while no connection is there, so that each message is noted as waiting for the next hop.
    ///
    /// # Errors
    /// Exim cannot be run, or the domains have more than one next hop: Exim serves one in a session.
    pub async fn prepare(
        &self,
        domains: &DomainList,
        next_hops: &[NextHop],
    ) -> Result<Ready, HandoffError> {
        let [next_hop] = next_hops else {
            let cause = format!(
                "the requested domains have {} next hops, and Exim can serve one in a session (give the account one next_hop)",
                next_hops.len()
            );
            return Err(HandoffError::Configuration { mta: "Exim", cause });
        };
        let queue = self.0.queue.snapshot(domains, MESSAGES, QUEUE_TIME).await?;
        let order = self.0.order().to_note(next_hop, &queue);
        let (transport, host) = (&self.0.settings.transport, next_hop.ip().to_string());
        if let Err(error) = self
            .0
            .queue
            .forget(&self.0.spool, transport, &host, QUEUE_TIME)
            .await
        {
            // Only the order suffers: a message that is put off may come early and end the session.
            tracing::debug!("{error}");
        }
        match self.0.queue.prime(&order, PRIME_TIME).await {
            Ok(()) => {}
            // What is noted by now can be delivered; the rest is for the next session.
            Err(QueueError::Slow { .. }) => {
                tracing::warn!(%next_hop, messages = order.len(), "a long queue: not all waiting mail is noted in time");
            }
            Err(error) => return Err(error.into()),
        }
        Ok(Ready {
            known: Arc::clone(&self.0),
            next_hop: next_hop.clone(),
        })
    }
}

impl Known {
    fn order(&self) -> MutexGuard<'_, Order> {
        // No change to it can be left half made.
        self.order.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ready {
    /// Gives the connection to Exim and looks on until the session is over.
    ///
    /// When `shutdown` becomes true, Exim is left alone with it.
    pub async fn run(self, reversed: Reversed, shutdown: watch::Receiver<bool>) -> Ended {
        carry::run(&self.known, &self.next_hop, reversed, shutdown).await
    }
}
