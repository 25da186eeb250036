//! The life of a lent connection: lend, flush, watch, take back, and once more or QUIT.
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
use super::rounds::{Next, ONE_BY_ONE, Rounds};
use super::{Ended, HandoffError, Known, Reversed};
use crate::handoff::line::Line;
use crate::handoff::{quit::quit, told};
use crate::queue::Snapshot;

/// The line must be quiet for this long before anything is asked; on a slow line, for two round trips.
const QUIET: Duration = Duration::from_millis(200);
/// The longest pause that a round trip time can make of it.
const QUIET_LIMIT: Duration = Duration::from_secs(3);
/// How long the queue, or a flush, may take to answer.
const QUEUE_TIME: Duration = Duration::from_secs(60);
/// How many last looks at the queue there are in a session, so that steady arrivals cannot keep it for ever.
const LAST_LOOKS: u32 = 100;
/// How many messages we remember by id.
const MESSAGES: usize = 100_000;
/// How long smtp(8) may take to put the connection back after its last message is done with.
const RETURN_TIME: Duration = Duration::from_secs(5);
/// Postfix waits ten minutes for the answer to a message (`smtp_data_done_timeout`); after that the connection is lost.
const LOST_TIME: Duration = Duration::from_secs(11 * 60);

/// A session while its connection is lent.
struct Lent {
    known: Arc<Known>,
    client: Client,
    reversed: Reversed,
    labels: Labels,
    began: Instant,
    /// What is known to be left, from the last look at the queue.
    remaining: Option<bool>,
}

/// Why watching came to its end.
enum Pause {
    /// Postfix is done with what was flushed, or idle for too long; what is left; whether it used the connection.
    Quiet { queue: Snapshot, used: bool },
    /// The customer has closed the connection, or Postfix ended it with QUIT.
    Closed,
    /// This process is to end.
    Shutdown,
    /// The session's total time is over.
    TimeUp,
    /// Nobody will give the connection back.
    Lost(String),
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
    async fn lend(&mut self) -> Result<(), HandoffError> {
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

    /// Looks on until there is something to decide.
    async fn watch(&mut self, received: u64, shutdown: &mut watch::Receiver<bool>) -> Pause {
        let started = Instant::now();
        let mut ask_at = started;
        let mut renewed = started;
        // Well before its time in the cache is over, and as soon as it counts as idle.
        let renewal = (self.known.ttl / 2)
            .min(self.known.settings.idle_time)
            .max(QUIET);
        loop {
            let Some(line) = Line::look(&self.reversed.released) else {
                return Pause::Lost("not a TCP connection".to_owned());
            };
            if !line.open {
                return Pause::Closed;
            }
            if *shutdown.borrow() {
                return Pause::Shutdown;
            }
            if self.began.elapsed() >= self.known.settings.total_time {
                return Pause::TimeUp;
            }
            let used = line.received != received;
            let quiet_enough = QUIET.max(line.round_trip * 2).min(QUIET_LIMIT);
            // On a new round the line is quiet from before: count from the flush.
            let quiet = line.quiet.min(started.elapsed());
            if line.quiet >= quiet_enough && Instant::now() >= ask_at {
                let asked = Instant::now();
                match self
                    .known
                    .queue
                    .snapshot(&self.reversed.domains, MESSAGES, QUEUE_TIME)
                    .await
                {
                    Ok(queue) if queue.is_empty() => return Pause::Quiet { queue, used },
                    Ok(queue)
                        if queue.running == 0
                            && (used || quiet >= self.known.settings.idle_time) =>
                    {
                        return Pause::Quiet { queue, used };
                    }
                    Ok(_) => {}
                    Err(error) => tracing::warn!(session = %self.reversed.session, "{error}"),
                }
                // A long queue is not asked all the time, nor a line that has been quiet for long.
                ask_at = Instant::now()
                    + (asked.elapsed() * 4)
                        .max(quiet / 4)
                        .clamp(QUIET / 2, Duration::from_secs(5));
            }
            if quiet >= renewal && renewed.elapsed() >= renewal {
                if let Some(pause) = self.renew(line, quiet, used).await {
                    return pause;
                }
                renewed = Instant::now();
            }
            let pause = quiet_enough
                .saturating_sub(line.quiet)
                .max(Duration::from_millis(25));
            tokio::select! {
                () = tokio::time::sleep(pause.min(QUIET)) => {}
                () = told(shutdown) => {}
            }
        }
    }

    /// Long quiet: puts the connection back into the cache before its time there is over, unless Postfix has it.
    async fn renew(&mut self, line: Line, quiet: Duration, used: bool) -> Option<Pause> {
        match self.ask_back().await {
            Ok(true) if quiet >= self.known.settings.idle_time => {
                // Lent, and Postfix has other things to do.
                let renewed = self.lend().await;
                let queue = self
                    .known
                    .queue
                    .snapshot(&self.reversed.domains, MESSAGES, QUEUE_TIME)
                    .await;
                match (renewed, queue) {
                    (Ok(()), Ok(queue)) => Some(Pause::Quiet { queue, used }),
                    (Err(error), _) => Some(Pause::Lost(error.to_string())),
                    (_, Err(error)) => Some(Pause::Lost(error.to_string())),
                }
            }
            Ok(true) => self
                .lend()
                .await
                .err()
                .map(|error| Pause::Lost(error.to_string())),
            Ok(false) if line.quiet >= LOST_TIME => {
                Some(Pause::Lost("Postfix has lost the connection".to_owned()))
            }
            Ok(false) => None,
            Err(error) => Some(Pause::Lost(error.to_string())),
        }
    }

    /// Asks for the connection until Postfix has put it back.
    async fn take_back(&mut self) -> bool {
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
    async fn ask_back(&mut self) -> Result<bool, HandoffError> {
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
    async fn last_look(&self, before: &Snapshot, looks: &mut u32) -> Option<Next> {
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

    /// Takes the connection back and says QUIT.
    async fn finish(mut self, how: String) -> Ended {
        if self.take_back().await {
            return self.quit(how).await;
        }
        self.not_returned(&how).await
    }

    /// Says QUIT on the connection, which is ours.
    async fn quit(self, how: String) -> Ended {
        let remaining = self.remaining;
        let clean = quit(self.reversed.released.into_fd()).await;
        let how = if clean {
            how
        } else {
            format!("{how}; no answer to QUIT")
        };
        Ended {
            how,
            clean,
            remaining,
        }
    }

    /// The cache has not given the connection back in time.
    async fn not_returned(self, how: &str) -> Ended {
        if Line::look(&self.reversed.released).is_none_or(|line| !line.open) {
            return self.closed().await;
        }
        self.left(&format!("{how}; the connection did not come back"), false)
    }

    /// Ends early: QUIT if the connection is idle, otherwise Postfix keeps it.
    async fn stop(mut self, why: &str) -> Ended {
        let idle = Line::look(&self.reversed.released).is_some_and(|line| line.quiet >= QUIET);
        let connection = self.reversed.released.as_fd();
        if idle
            && self
                .client
                .take_back(&self.labels, connection)
                .await
                .unwrap_or(false)
        {
            return self.quit(why.to_owned()).await;
        }
        self.left(&format!("{why}, left with Postfix"), true)
    }

    /// The customer has closed, or Postfix has said QUIT: which of them, only the queue tells.
    async fn closed(self) -> Ended {
        // First let go, so that the customer sees the end as soon as Postfix closes its own descriptor.
        drop(self.reversed.released);
        let remaining = self
            .known
            .queue
            .waiting(&self.reversed.domains, QUEUE_TIME)
            .await
            .ok();
        match remaining {
            Some(false) => Ended {
                how: "delivered all, ended by Postfix".to_owned(),
                clean: true,
                remaining,
            },
            _ => Ended {
                how: "closed before the queue was empty".to_owned(),
                clean: false,
                remaining,
            },
        }
    }

    fn left(self, why: &str, clean: bool) -> Ended {
        Ended {
            how: why.to_owned(),
            clean,
            remaining: self.remaining,
        }
    }
}

fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
