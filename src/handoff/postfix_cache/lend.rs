//! The life of a lent connection: lend, flush, watch (`looking.rs`), take back, and once more or QUIT (`ending.rs`).
//!
//! Between two messages the connection stands in the cache for a moment. Taking it then would make smtp(8) dial the
//! next hop, be refused, and put off all that is left. So it is asked for only when the line has been quiet for a
//! while *and* the queue manager is at work on none of the granted mail. While Postfix has it, nothing here reads or
//! writes it, whatever happens: two writers on one SMTP connection lose mail.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;

use super::client::Client;
use super::labels::{Customer, Labels};
use super::lent::Lent;
use super::looking::Pause;
use super::rounds::{Next, Rounds};
use super::{Ended, Known, Reversed};
use crate::handoff::line::Line;

/// How many last looks at the queue there are in a session, so that steady arrivals cannot keep it for ever.
const LAST_LOOKS: u32 = 100;

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
        reloaded: false,
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
}

fn unix_time() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}
