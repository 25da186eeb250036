//! Lending a turned connection to a running Postfix, through its connection cache, scache(8).
//!
//! An smtp(8) process that has delivered a message puts the open connection into the cache, and the next one finds it
//! there by the name of the next hop. This module does what such a process does: it puts the customer's connection
//! into the cache under the next hop to which Postfix routes the customer's mail, has Postfix flush that mail, and
//! asks for the connection back when it has gone quiet, to say QUIT. Postfix delivers over the customer's connection
//! itself; no octet of mail passes through here, and if this process dies, the delivery goes on.
//!
//! What the operator prepares stands in `contrib/postfix/provider-main.cf` and `provider-master.cf`.

mod client;
mod ending;
mod labels;
mod lend;
mod lent;
mod looking;
mod rounds;
mod version;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

pub use labels::{Customer, Labels};
pub use rounds::{Next, Rounds};
pub use version::{Form, time};

use self::client::Client;
use super::{Ended, HandoffError, Reversed};
use crate::queue::QueueError;
use crate::queue::postfix::Queue;
use crate::queue::showq::Showq;
use crate::queue::together::Together;
use crate::smtp::domain::DomainList;
use crate::smtp::next_hop::NextHop;

/// How long `postconf` may take.
const CONFIGURATION_TIME: Duration = Duration::from_secs(20);
/// Below this time in the cache a lent connection is in danger of being closed before it is used.
const SHORT_TTL: Duration = Duration::from_secs(10);

/// What the operator says about his Postfix.
#[derive(Debug, Clone)]
pub struct PostfixSettings {
    /// Where `postqueue` and `postconf` are.
    pub command_directory: PathBuf,
    /// The instance's configuration; `None` is Postfix's own default.
    pub config_directory: Option<PathBuf>,
    /// The smtp(8) service in master.cf which is for on-demand domains.
    pub service: String,
    /// A lent connection that Postfix does not use for this long is taken back.
    pub idle_time: Duration,
    /// After this long the session ends at the next pause.
    pub total_time: Duration,
}

/// A Postfix whose interface is known.
#[derive(Debug, Clone)]
pub struct PostfixCache(Arc<Known>);

/// What was found out about it at the start.
#[derive(Debug)]
struct Known {
    settings: PostfixSettings,
    queue: Queue,
    /// The quick way to ask it.
    showq: Showq,
    /// Sessions that ask it at the same time share one look.
    together: Together,
    form: Form,
    greets: bool,
    socket: PathBuf,
    /// How long the cache keeps an unused connection.
    ttl: Duration,
}

/// A hand-off that is prepared: the cache is there.
#[derive(Debug)]
pub struct Ready {
    known: Arc<Known>,
    client: Client,
}

impl PostfixCache {
    /// Asks Postfix for its version and settings.
    ///
    /// # Errors
    /// `postconf` cannot be asked, the version is unknown, or the settings do not allow the hand-off.
    pub async fn new(settings: PostfixSettings) -> Result<Self, HandoffError> {
        let wrong = |cause: String| HandoffError::Configuration {
            mta: "Postfix",
            cause,
        };
        let service_is_plain =
            |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        if settings.service.is_empty() || !settings.service.chars().all(service_is_plain) {
            return Err(wrong(
                "the service's name may hold letters, digits, - _ and . only".to_owned(),
            ));
        }
        let queue = Queue {
            command_directory: settings.command_directory.clone(),
            config_directory: settings.config_directory.clone(),
        };
        let names = [
            "mail_version",
            "queue_directory",
            "connection_cache_ttl_limit",
            "connection_cache_service_name",
        ];
        let values = queue.parameters(&names, CONFIGURATION_TIME).await?;
        let [mail_version, queue_directory, ttl, cache] = values.as_slice() else {
            return Err(wrong("postconf gives no values".to_owned()));
        };
        let form = Form::of(mail_version)?;
        let ttl = time(ttl).ok_or_else(|| {
            wrong(format!(
                "connection_cache_ttl_limit = {ttl} is no time (say 60s)"
            ))
        })?;
        if ttl.is_zero() {
            return Err(wrong(
                "connection_cache_ttl_limit = 0 switches the cache off (say 60s)".to_owned(),
            ));
        }
        if ttl < SHORT_TTL {
            tracing::warn!(
                seconds = ttl.as_secs(),
                "connection_cache_ttl_limit is short: a lent connection may be closed before Postfix uses it (60s is better)"
            );
        }
        let greets = form.greets(mail_version);
        let showq = Showq::new(queue_directory.as_ref());
        let socket = PathBuf::from(queue_directory).join("private").join(cache);
        Ok(Self(Arc::new(Known {
            settings,
            queue,
            showq,
            together: Together::default(),
            form,
            greets,
            socket,
            ttl,
        })))
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
                let mut read = known.showq.answer(&mut askers, limit).await;
                if let Err(error) = &read {
                    tracing::debug!("{error}; asking postqueue");
                    read = known.queue.answer(&mut askers, limit).await;
                }
                (askers, read)
            }
        });
        asked.await
    }

    /// Connects to the cache, before the point of no return.
    ///
    /// # Errors
    /// The cache cannot be reached, or there is no next hop to lend for.
    pub async fn prepare(
        &self,
        _domains: &DomainList,
        next_hops: &[NextHop],
    ) -> Result<Ready, HandoffError> {
        if next_hops.is_empty() {
            let cause = "no next hop is known for these domains (see the accounts file)".to_owned();
            return Err(HandoffError::Configuration {
                mta: "Postfix",
                cause,
            });
        }
        let client = Client::connect(&self.0.socket, self.0.greets).await?;
        Ok(Ready {
            known: Arc::clone(&self.0),
            client,
        })
    }
}

impl Ready {
    /// Lends the connection until the mail for the granted domains is delivered, and ends it with QUIT.
    ///
    /// When `shutdown` becomes true, an idle connection is taken back and ended, and one that Postfix is using is
    /// left with it.
    pub async fn run(self, reversed: Reversed, shutdown: watch::Receiver<bool>) -> Ended {
        lend::run(self.known, self.client, reversed, shutdown).await
    }
}
