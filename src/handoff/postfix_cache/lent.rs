//! What can be done with a connection while it is lent: put it into the cache, flush, ask for it back.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::Client;
use super::labels::Labels;
use super::rounds::{Next, ONE_BY_ONE};
use super::{HandoffError, Known, Reversed};
use crate::handoff::line::Line;
use crate::queue::Snapshot;

/// The line must be quiet for this long before anything is asked; on a slow line, for two round trips.
pub(super) const QUIET: Duration = Duration::from_millis(200);
/// How long the queue, or a flush, may take to answer.
pub(super) const QUEUE_TIME: Duration = Duration::from_secs(60);
/// How many messages we remember by id.
pub(super) const MESSAGES: usize = 100_000;
/// How long smtp(8) may take to put the connection back after its last message is done with.
const RETURN_TIME: Duration = Duration::from_secs(5);

/// A session while its connection is lent.
pub(super) struct Lent {
    pub(super) known: Arc<Known>,
    pub(super) client: Client,
    pub(super) reversed: Reversed,
    pub(super) labels: Labels,
    pub(super) began: Instant,
    /// What is known to be left, from the last look at the queue.
    pub(super) remaining: Option<bool>,
    /// Postfix was reloaded in this session.
    pub(super) reloaded: bool,
}

impl Lent {
    /// Puts the connection into the cache under all its names.
    pub(super) async fn lend(&mut self) -> Result<(), HandoffError> {
        let ttl = self.known.ttl.as_secs().max(1);
        self.client
            .save(&self.labels, self.reversed.released.as_fd(), ttl)
            .await?;
        tracing::debug!(session = %self.reversed.session, "connection lent to Postfix");
        Ok(())
    }

    pub(super) async fn flush(&self, what: &Next) -> Result<(), HandoffError> {
        if let Next::Flush(messages) = what {
            for message in messages {
                self.known.queue.flush_message(message, QUEUE_TIME).await?;
            }
            return Ok(());
        }
        for domain in &self.reversed.domains {
            self.known.queue.flush(domain, QUEUE_TIME).await?;
        }
        Ok(())
    }

    /// Asks for the connection until Postfix has put it back.
    pub(super) async fn take_back(&mut self) -> bool {
        let started = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            match self.ask_back().await {
                Ok(true) => return true,
                Ok(false) if started.elapsed() < RETURN_TIME => tokio::time::sleep(pause).await,
                Ok(false) => return false,
                Err(error) => {
                    tracing::warn!(session = %self.reversed.session, "{error}");
                    return false;
                }
            }
            if Line::look(&self.reversed.released).is_none_or(|line| !line.open) {
                return false;
            }
            pause = (pause * 2).min(QUIET);
        }
    }

    /// Asks once. When Postfix is reloaded the cache ends at once, the deliveries at their leisure: they bring the
    /// connection to the next cache, which is asked from then on.
    pub(super) async fn ask_back(&mut self) -> Result<bool, HandoffError> {
        let connection = self.reversed.released.as_fd();
        let error = match self.client.take_back(&self.labels, connection).await {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        tracing::debug!(session = %self.reversed.session, "{error}, connecting again");
        self.follow_cache().await?;
        Ok(false)
    }

    /// Turns to the cache that has come after the one that ended: Postfix was reloaded.
    pub(super) async fn follow_cache(&mut self) -> Result<(), HandoffError> {
        self.client = Client::connect(&self.known.socket, self.known.greets).await?;
        self.reloaded = true;
        Ok(())
    }

    /// A queue manager that ends with a reload can swallow the call that was for its successor. Nobody is at the queue
    /// until the next call, in master.cf's 300 s or when mail comes in, and the customer waits; so it is called again.
    pub(super) async fn call_queue_manager(&mut self) {
        if self.client.is_gone()
            && let Err(error) = self.follow_cache().await
        {
            // Stopped, or just starting.
            tracing::debug!(session = %self.reversed.session, "{error}");
        }
        if self.reloaded
            && let Err(error) = self.known.queue.wake(QUEUE_TIME).await
        {
            tracing::debug!(session = %self.reversed.session, "{error}");
        }
    }

    /// The connection is ours again, and nothing was left to do. A message that came in this moment, or that changed
    /// from one queue directory to another while they were listed, is seen now.
    pub(super) async fn last_look(&self, before: &Snapshot, looks: &mut u32) -> Option<Next> {
        *looks = looks.checked_sub(1)?;
        let now = self
            .known
            .queue
            .snapshot(&self.reversed.domains, MESSAGES, QUEUE_TIME)
            .await
            .ok()?;
        let new: Vec<String> = now
            .waiting
            .keys()
            .filter(|id| !before.waiting.contains_key(*id))
            .cloned()
            .collect();
        if now.running == 0 && new.is_empty() {
            return None;
        }
        // What is running finds the connection lent again, or is put off and flushed in the round after this.
        Some(if new.len() > ONE_BY_ONE {
            Next::FlushAll
        } else {
            Next::Flush(new)
        })
    }
}
