//! Looking at a lent connection without touching it, until there is something to decide.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::lent::{Lent, MESSAGES, QUEUE_TIME, QUIET};
use crate::handoff::line::Line;
use crate::handoff::told;
use crate::queue::Snapshot;

/// The longest pause that a round trip time can make of it.
const QUIET_LIMIT: Duration = Duration::from_secs(3);
/// After so much quiet it is seen to that a reloaded Postfix goes on: what ended with its reload has ended by then.
const RELOADED: Duration = Duration::from_secs(1);
/// Postfix waits ten minutes for the answer to a message (`smtp_data_done_timeout`); after that the connection is lost.
const LOST_TIME: Duration = Duration::from_secs(11 * 60);

/// Why watching came to its end.
pub(super) enum Pause {
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

impl Lent {
    /// Looks on until there is something to decide.
    pub(super) async fn watch(
        &mut self,
        received: u64,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Pause {
        let started = Instant::now();
        let mut ask_at = started;
        let mut renewed = started;
        let mut call_at = started;
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
            if line.quiet >= RELOADED && Instant::now() >= call_at {
                self.call_queue_manager().await;
                // Less and less often: the last one that ended may have swallowed this call, too.
                call_at = Instant::now() + line.quiet;
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
    pub(super) async fn renew(&mut self, line: Line, quiet: Duration, used: bool) -> Option<Pause> {
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
}
