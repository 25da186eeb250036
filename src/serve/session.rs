//! One customer's connection, from the greeting to its end: the driver of the provider's
//! machine. The machine decides, this file reads, asks, writes and keeps the time.

use super::asking::{self, Turn};
use super::closing::Closing;
use super::state::{Files, State};
use super::turned;
use crate::odmr::provider::{Action, Provider, SessionSeed, Settings, Verdict};
use crate::report;
use crate::sasl::server::Evidence;
use crate::smtp::Reply;
use crate::wire::{Wire, WireError};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep, timeout, timeout_at};

/// How long a single write may take: a peer that does not read is not waited for.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// Serves one connection to its end and writes its closing line.
pub(super) async fn serve(state: Arc<State>, wire: Wire, id: String) {
    let closing = Closing::new(&id, wire.peer(), state.handoff.name());
    let closing = Session::new(&state, wire, id, closing).run().await;
    closing.write();
}

/// What a session holds until it is turned or ends.
struct Session<'a> {
    state: &'a Arc<State>,
    files: Arc<Files>,
    wire: Wire,
    id: String,
    closing: Closing,
    machine: Provider,
    /// Everything before the login must be over by then (rule C12).
    login_by: Instant,
    /// Made ready before the 250, used behind it.
    turn: Option<Turn>,
}

/// What the driver waits for next.
enum Next {
    Do(Action),
    End(&'static str),
}

impl<'a> Session<'a> {
    fn new(state: &'a Arc<State>, wire: Wire, id: String, closing: Closing) -> Self {
        let files = state.files();
        let serve = &files.serve;
        let machine = Provider::new(Settings {
            hostname: serve.hostname.clone(),
            mechanisms: files.offered(),
            seed: seed(),
            keys: files.accounts.clone(),
            max_bad_commands: serve.limits.bad_commands,
            max_auth_failures: serve.limits.auth_failures,
        });
        let login_by = Instant::now() + serve.limits.login_time;
        Self { state, files, wire, id, closing, machine, login_by, turn: None }
    }

    async fn run(mut self) -> Closing {
        let greeting = self.machine.greeting();
        let mut action = Action::Say(greeting);
        loop {
            let next = match action {
                Action::Say(reply) => self.say_and_listen(reply).await,
                Action::SayAfter(delay, reply) => {
                    sleep(delay).await;
                    self.say_and_listen(reply).await
                }
                Action::Close(reply) => {
                    self.say(&reply).await;
                    self.wire.close().await;
                    self.closing.after_reply(&reply);
                    return self.closing;
                }
                Action::Verify(evidence) => Next::Do(self.verify(evidence).await),
                Action::Access { user } => Next::Do(self.access(&user)),
                Action::Ask(request) => {
                    self.closing.domains(request.domains.to_string());
                    let asked = asking::ask(self.state, &self.files, &self.id, &request).await;
                    self.turn = asked.turn;
                    match self.wire.pending() {
                        Ok(pending) => Next::Do(self.machine.answered(asked.answer, pending)),
                        Err(_) => Next::End("lost before the turn"),
                    }
                }
                Action::Turn(reply, proof) => {
                    let Some(turn) = self.turn.take() else {
                        self.closing.end("turned without a hand-off, closed".to_owned());
                        return self.closing;
                    };
                    self.closing.turned(&proof);
                    if !self.say(&reply).await {
                        self.closing.end("lost at the turn, the mail stays queued".to_owned());
                        return self.closing;
                    }
                    let part = turned::Part { state: self.state, files: &self.files, id: &self.id, proof };
                    return turned::carry(part, self.wire, turn, self.closing).await;
                }
            };
            match next {
                Next::Do(next) => action = next,
                Next::End(how) => {
                    self.closing.end(how.to_owned());
                    return self.closing;
                }
            }
        }
    }

    /// Writes the reply, then waits for the next line and lets the machine decide.
    async fn say_and_listen(&mut self, reply: Reply) -> Next {
        if !self.say(&reply).await {
            return Next::End("lost before the turn");
        }
        self.wire.set_limit(self.machine.line_limit());
        let limits = &self.files.serve.limits;
        let mut by = Instant::now() + limits.command_time;
        if self.machine.user().is_none() {
            by = by.min(self.login_by);
        }
        let mut stopping = self.state.stopping.clone();
        let line = tokio::select! {
            line = timeout_at(by, self.wire.line()) => line,
            _ = stopping.wait_for(|stop| *stop) => {
                return Next::Do(Action::Close(self.machine.shutting_down()));
            }
        };
        match line {
            Err(_) => Next::Do(Action::Close(self.machine.timed_out())),
            Ok(Err(WireError::Closed)) => Next::End("closed by the customer without QUIT"),
            Ok(Err(_)) => Next::End("lost before the turn"),
            Ok(Ok(line)) => match self.wire.pending() {
                Ok(pending) => Next::Do(self.machine.line(line, pending)),
                Err(_) => Next::End("lost before the turn"),
            },
        }
    }

    async fn say(&mut self, reply: &Reply) -> bool {
        tracing::debug!(session = %self.id, code = reply.code, "reply");
        matches!(timeout(WRITE_TIME, self.wire.send(&reply.to_bytes())).await, Ok(Ok(())))
    }

    /// Judges a password or a digest; hashing takes time, so it does not happen on the reactor.
    async fn verify(&mut self, evidence: Evidence) -> Action {
        let (accounts, peer) = (Arc::clone(&self.files.accounts), self.wire.peer().ip());
        let judged = tokio::task::spawn_blocking(move || accounts.verify(&evidence, peer)).await;
        let verdict = match judged {
            Ok(judgement) => self.verdict(judgement),
            Err(_) => {
                tracing::error!(session = %self.id, "cannot verify a password: the check itself failed (please report this)");
                Verdict::Unavailable
            }
        };
        self.machine.verified(verdict)
    }

    /// SCRAM proved the user; what may it fetch?
    fn access(&mut self, user: &str) -> Action {
        let judgement = self.files.accounts.access(user, self.wire.peer().ip());
        let verdict = self.verdict(judgement);
        self.machine.verified(verdict)
    }
}

/// Refuses a connection that is over the limit (RFC 5321 3.8: 421 may come instead of 220).
pub(super) async fn turn_away(mut wire: Wire, hostname: String, why: &'static str, code: u16) {
    let reply = Reply::plain(code, &format!("{hostname} {why}"));
    if timeout(WRITE_TIME, wire.send(&reply.to_bytes())).await.is_ok() {
        wire.close().await;
    }
}

/// What makes this connection's challenges unique (rule B66).
fn seed() -> Option<SessionSeed> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).ok()?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(SessionSeed { unix_time: since.as_secs(), random })
}
