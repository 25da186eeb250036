//! The life of a lent connection: lend, flush, watch (`looking.rs`), take back, and once more or QUIT (`ending.rs`).
//!
//! Between two messages the connection stands in the cache for a moment. Taking it then would make smtp(8) dial the
//! next hop, be refused, and put off all that is left. So it is asked for only when the line has been quiet for a
//! while *and* the queue manager is at work on none of the granted mail. While Postfix has it, nothing here reads or
//! writes it, whatever happens: two writers on one SMTP connection lose mail.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::client::Client;
use super::labels::{Customer, Labels};
use super::looking::Pause;
use super::rounds::{Next, ONE_BY_ONE, Rounds};
use super::{Ended, HandoffError, Known, Reversed};
use crate::handoff::line::Line;
use crate::queue::Snapshot;

/// The line must be quiet for this long before anything is asked; on a slow line, for two round trips.
pub(super) const QUIET: Duration = Duration::from_millis(200);
/// How long the queue, or a flush, may take to answer.
pub(super) const QUEUE_TIME: Duration = Duration::from_secs(60);
/// How many last looks at the queue there are in a session, so that steady arrivals cannot keep it for ever.
const LAST_LOOKS: u32 = 100;
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
}

/// Lends until there is a reason to stop, and ends the session.
pub(super) async fn run(
    known: Arc<Known>,
    client: Client,
    reversed: Reversed,
    shutdown: watch::Receiver<bool>,
) -> Ended {
    let expires = unix_time().saturating_add(known.settings.total_time.as_secs());
    let customer = Customer {
        name: &reversed.customer,
        address: reversed.released.peer(),
        offer: &reversed.offer,
    };
    let labels = Labels::new(
        known.form,
        &known.settings.service,
        &reversed.next_hops,
        customer,
        expires,
    );
    let lent = Lent {
        known,
        client,
        reversed,
        labels,
        began: Instant::now(),
        remaining: None,
    };
    lent.rounds(shutdown).await
}

impl Lent {
    async fn rounds(mut self, mut shutdown: watch::Receiver<bool>) -> Ended {
        let mut rounds = Rounds::default();
        let mut flush = Next::FlushAll;
        let mut looks = LAST_LOOKS;
        loop {
            let before = Line::look(&self.reversed.released);
            if let Err(error) = self.lend().await {
                // Some part of it may stand in the cache, so it is not ours to speak on.
                return self.left(&format!("lending failed: {error}"), false);
            }
            if let Err(error) = self.flush(&flush).await {
                tracing::error!(session = %self.reversed.session, "{error}");
                return self.finish(format!("nothing flushed: {error}")).await;
            }
            match self
                .watch(before.map_or(0, |line| line.received), &mut shutdown)
                .await
            {
                Pause::Quiet { queue, used } => {
                    self.remaining = Some(!queue.is_empty());
                    if !queue.is_empty() && !used {
                        let idle = self.known.settings.idle_time.as_secs();
                        let how = format!(
                            "Postfix did not use the connection within {idle} s (see its log)"
                        );
                        tracing::warn!(
                            session = %self.reversed.session,
                            domains = %self.reversed.domains,
                            "no mail was delivered: {how}; does transport_maps route these domains to this account's next hop, and is the service in master.cf?"
                        );
                        return self.finish(how).await;
                    }
                    let next = rounds.next(&queue, &self.reversed.next_hops);
                    if !self.take_back().await {
                        return self.not_returned("delivered what could be").await;
                    }
                    flush = match next {
                        Next::Quit { left } => match self.last_look(&queue, &mut looks).await {
                            Some(again) => again,
                            None if left == 0 => {
                                return self.quit("delivered all".to_owned()).await;
                            }
                            None => {
                                return self
                                    .quit(format!(
                                        "delivered what could be, {left} messages put off"
                                    ))
                                    .await;
                            }
                        },
                        again => again,
                    };
                    tracing::debug!(session = %self.reversed.session, left = queue.waiting.len(), "lending again");
                }
                Pause::Closed => return self.closed().await,
                Pause::Shutdown => return self.stop("shutting down").await,
                Pause::TimeUp => return self.stop("the session's total time is over").await,
                Pause::Lost(why) => return self.left(&why, false),
            }
        }
    }

    /// Puts the connection into the cache under all its names.
    pub(super) async fn lend(&mut self) -> Result<(), HandoffError> {
        let ttl = self.known.ttl.as_secs().max(1);
        self.client
            .save(&self.labels, self.reversed.released.as_fd(), ttl)
            .await?;
        tracing::debug!(session = %self.reversed.session, "connection lent to Postfix");
        Ok(())
    }

    async fn flush(&self, what: &Next) -> Result<(), HandoffError> {
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
        self.client = Client::connect(&self.known.socket, self.known.greets).await?;
        Ok(false)
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

fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
