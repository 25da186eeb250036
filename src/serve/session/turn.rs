//! From the queue's answer to the 250 behind which the customer speaks: which way can the connection go, and who
//! encrypts from then on.

use super::{LOST, Next, Outcome, Session};
use crate::odmr::Turned;
use crate::odmr::provider::{Action, QueueAnswer, Request};
use crate::report::{self, State as Doing, safe};
use crate::serve::asking::{self, Turn};
use crate::smtp::Reply;
use crate::tls::HandoffTls;
use crate::wire::{Way, Wire};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// The pause between two questions to the queue on one connection.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// What becomes of the mail when a turn fails.
const STAYS: &str = "the mail stays queued";

impl Session<'_> {
    /// Is there mail, and is the mail server ready? Told to stop meanwhile, nobody waits for that.
    pub(super) async fn ask(&mut self, request: &Request) -> Next {
        let ask = async {
            // Over and over again on one connection is made slow, not refused: nobody has to wait the first time.
            sleep_until(self.ask_after).await;
            asking::ask(self.state, self.files, self.closing.id(), request).await
        };
        let mut asked = tokio::select! {
            asked = ask => asked,
            () = self.state.stopped() => return Ok(Action::Close(self.machine.shutting_down())),
        };
        self.ask_after = Instant::now() + ASK_PAUSE;
        if let Some(turn) = &asked.turn {
            self.way = self.find_way(&request.user, turn).await;
            if let Some(why) = self.blocked(turn) {
                tracing::error!(
                    session = self.closing.id(), user = %safe(&request.user), domains = %request.domains,
                    "451: {why}"
                );
                asked.answer = QueueAnswer::Unavailable;
                asked.turn = None;
            }
        }
        self.turn = asked.turn;
        let pending = self.wire.pending().await.map_err(|_| LOST)?;
        let action = self.machine.answered(asked.answer, pending);
        if matches!(action, Action::Say(_)) {
            self.closing.state(Doing::LoggedIn);
        }
        Ok(action)
    }

    /// How the connection can go, and why not through the kernel.
    async fn find_way(&mut self, user: &str, turn: &Turn) -> Way {
        let wish = self.files.serve.handoff_tls;
        let auto = wish == HandoffTls::Auto;
        let reason = if auto && self.state.is_relay_only(user) {
            Some("the kernel could not serve this customer before")
        } else if auto && !turn.kernel_tls_is_whole && turn.takes_relay {
            Some("in the kernel the mail server's QUIT would be lost")
        } else {
            None
        };
        let asked = reason.map_or(wish, |_| HandoffTls::Relay);
        let kernel = self.state.mail_server.kernel(&self.files.serve);
        match (self.wire.way(asked, kernel).await, reason) {
            (Way::Relay(_), Some(reason)) => Way::Relay(reason),
            (way, _) => way,
        }
    }

    /// What forbids the way that was found.
    fn blocked(&self, turn: &Turn) -> Option<String> {
        let Way::Relay(why) = self.way else {
            return None;
        };
        if self.files.serve.handoff_tls == HandoffTls::Kernel {
            return Some(format!(
                "cannot hand over in the kernel: {why} (set serve.handoff_tls = \"auto\", or load the kernel's module tls)"
            ));
        }
        (!turn.takes_relay).then(|| cannot_relay(self.files.serve.handoff.name()))
    }

    /// The keys go to the kernel first, then the 250 is said: so nothing of the customer's can be under way while they
    /// move. What fails before the 250 leaves the mail where it is.
    pub(super) async fn turn(mut self, reply: &Reply, proof: Turned) -> (report::Session, Outcome) {
        let Some(turn) = self.turn.take() else {
            let end = format!("turned without a hand-off, {STAYS}");
            return (self.closing, Outcome::Over(end));
        };
        let (mut wire, why) = match self.way {
            Way::Plain => (self.wire, None),
            Way::Relay(why) => (self.wire, Some(why.to_owned())),
            Way::Kernel => match self.wire.into_kernel().await {
                Ok(wire) => (wire, None),
                Err(failed) => {
                    let why = failed.to_string();
                    let relay =
                        self.files.serve.handoff_tls != HandoffTls::Kernel && turn.takes_relay;
                    match failed.wire {
                        Some(wire) if relay => (wire, Some(why)),
                        wire => {
                            tracing::error!(session = self.closing.id(), "no turn: {why}");
                            say_421(wire, &self.files.serve.hostname).await;
                            let end = format!("cannot hand over in the kernel: {why}, {STAYS}");
                            return (self.closing, Outcome::Over(end));
                        }
                    }
                }
            },
        };
        let carried = match self.way {
            // It was not to be, after all.
            Way::Kernel if !wire.is_in_kernel() => "relay",
            way => way.name(),
        };
        let limit = self.files.serve.limits.command_time;
        let end = match timeout(limit, wire.send(&reply.to_bytes())).await {
            Ok(Ok(())) => {
                self.closing.atrn(reply.code);
                self.closing.state(Doing::Turned);
                tracing::info!(
                    session = self.closing.id(), user = %safe(proof.user()),
                    domains = %proof.domains().map_or_else(String::new, ToString::to_string),
                    carried, why, "turned"
                );
                return (self.closing, Outcome::Turned(Box::new((wire, turn, proof))));
            }
            Ok(Err(_)) => LOST,
            Err(_) => "the customer does not read",
        };
        (self.closing, Outcome::Over(format!("{end}, {STAYS}")))
    }
}

/// In the place of the 250, where there can be no turn after all (RFC 5321 3.8).
async fn say_421(wire: Option<Wire>, hostname: &str) {
    let Some(mut wire) = wire else { return };
    let reply = Reply::enhanced(421, 3, 0, &format!("{hostname} cannot turn now, try later"));
    let said = async {
        wire.send(&reply.to_bytes()).await.ok()?;
        wire.close().await;
        Some(())
    };
    timeout(Duration::from_secs(30), said).await.ok();
}

fn cannot_relay(handoff: &str) -> String {
    format!(
        "{handoff} cannot be given a connection that our relay carries (a newer mail server can, or kernel TLS)"
    )
}
