//! One line in and one reply out: how long each is waited for, and what an end came to.

use super::{LOST, Next, Outcome, Session};
use crate::odmr::provider::Action;
use crate::report;
use crate::serve::refusal;
use crate::smtp::Reply;
use crate::wire::WireError;
use tokio::time::{Instant, timeout_at};

/// The phrase for one that was told to leave while it was being written to.
const LEFT: &str = "gave its place to a newcomer (see serve.limits)";

impl Session<'_> {
    /// Writes the reply, then waits for the next line and lets the machine decide.
    pub(super) async fn say_and_listen(&mut self, reply: &Reply) -> Next {
        self.say(reply).await?;
        self.listen().await
    }

    pub(super) async fn listen(&mut self) -> Next {
        self.wire.set_limit(self.machine.line_limit());
        let by = (Instant::now() + self.files.serve.limits.command_time).min(self.turn_by);
        let line = tokio::select! {
            line = timeout_at(by, self.wire.line()) => line,
            () = self.state.stopped() => {
                return Ok(Action::Close(self.machine.shutting_down()));
            }
            () = self.leave.notified() => {
                return Ok(Action::Close(refusal::made_room(self.files)));
            }
        };
        match line {
            Err(_) => Ok(Action::Close(self.machine.timed_out())),
            Ok(Err(WireError::Closed)) => Err("closed by the customer without QUIT"),
            Ok(Err(_)) => Err(LOST),
            Ok(Ok(line)) => {
                // SCRAM judges by itself, and at this line.
                if self.machine.is_proving()
                    && let Err(instead) = Box::pin(self.begin_guess(self.visitor.user())).await
                {
                    return Ok(instead);
                }
                let pending = self.wire.pending().await.map_err(|_| LOST)?;
                let failures = self.machine.auth_failures();
                let action = self.machine.line(line, pending);
                if self.machine.auth_failures() > failures {
                    self.exchange_failed();
                }
                if !matches!(action, Action::Verify(_) | Action::Access { .. }) {
                    self.guess = None;
                }
                Ok(action)
            }
        }
    }

    pub(super) async fn say(&mut self, reply: &Reply) -> Result<(), &'static str> {
        tracing::debug!(session = self.closing.id(), code = reply.code, "reply");
        if reply.code >= 400 {
            self.refused = Some(reply.code);
            // Only ATRN is answered so.
            if matches!(reply.code, 450 | 451 | 453) {
                self.closing.atrn(reply.code);
            }
        }
        // A peer that does not read is not waited for longer than one that does not write.
        let by = Instant::now() + self.files.serve.limits.command_time;
        let octets = reply.to_bytes();
        let sent = tokio::select! {
            sent = timeout_at(by, self.wire.send(&octets)) => sent,
            () = self.leave.notified() => return Err(LEFT),
        };
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(LOST),
            Err(_) => Err("the customer does not read"),
        }
    }

    pub(super) async fn close(mut self, reply: &Reply) -> (report::Session, Outcome) {
        if let Err(end) = self.say(reply).await {
            return (self.closing, Outcome::Over(end.to_owned()));
        }
        self.closing.outcome(self.came_to(reply.code));
        let end = match reply.code {
            221 => self.before_quit(),
            code => format!("closed with {code}: {}", reply.text()),
        };
        self.wire.close().await;
        (self.closing, Outcome::Over(end))
    }

    /// What a session came to that ends with this reply.
    fn came_to(&self, code: u16) -> report::Outcome {
        match code {
            _ if *self.state.stopping.borrow() => report::Outcome::Stopped,
            421 if self.machine.auth_failures() > 0 => report::Outcome::LoginFailed,
            // Too slow, or too many bad commands.
            421 => report::Outcome::Lost,
            _ => report::Outcome::of_refusal(self.refused),
        }
    }

    /// What a session that was not turned came to, by the last thing it was refused.
    fn before_quit(&self) -> String {
        match self.refused {
            Some(453) => "no mail".to_owned(),
            Some(code) => format!("refused with {code}, then QUIT"),
            None => "QUIT before the turn".to_owned(),
        }
    }
}
