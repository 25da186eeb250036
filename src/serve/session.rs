//! One customer's connection, from the greeting to its end: the driver of the provider's
//! machine. The machine decides; this file reads, asks, writes and keeps the time.

use super::asking::{self, Turn};
use super::refusal;
use super::state::{Files, State};
use super::turned;
use crate::accounts::{Outcome as Judged, Visitor};
use crate::odmr::Turned;
use crate::odmr::provider::{
    Access, Action, Identity, Provider, Request, SessionSeed, Settings, Verdict,
};
use crate::report::{self, safe};
use crate::sasl::server::{Evidence, ScramKeys};
use crate::smtp::{DomainList, Reply};
use crate::wire::{Wire, WireError};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

/// The pause between two questions to the queue on one connection.
const ASK_PAUSE: Duration = Duration::from_secs(1);

/// The phrase for a connection that broke or was dropped.
const LOST: &str = "lost before the turn";

/// Serves one connection to its end and writes its closing line.
pub(super) async fn serve(state: Arc<State>, wire: Wire) {
    let closing = report::Session::serve(wire.peer());
    tracing::debug!(session = closing.id(), peer = %wire.peer(), "connected");
    let files = state.files();
    let Some(seed) = seed() else {
        tracing::error!(
            session = closing.id(),
            "cannot draw random octets: the system gives none"
        );
        Box::pin(refusal::turn_away(wire, &refusal::busy(&files))).await;
        return closing.close("no random octets, answered 421");
    };
    let session = Session::new(&state, &files, wire, closing, seed);
    let (mut closing, outcome) = session.until_the_turn().await;
    let end = match outcome {
        Outcome::Over(end) => end,
        Outcome::Turned(turned) => {
            let (wire, turn, proof) = *turned;
            closing.handoff(state.handoff.name());
            let part = turned::Part {
                state: &state,
                files: &files,
                id: closing.id(),
                proof,
            };
            // In a box of its own, as all that most sessions never come to: the room for the
            // largest part is taken for as long as a connection is open, thousands at once.
            Box::pin(turned::carry(part, wire, turn)).await
        }
    };
    closing.close(end);
}

/// What a session holds until it is turned or ends.
struct Session<'a> {
    state: &'a Arc<State>,
    files: &'a Files,
    wire: Wire,
    closing: report::Session,
    machine: Provider,
    /// What SCRAM asks for this peer; it knows why a login failed.
    visitor: Arc<Visitor>,
    /// The login, and after it the turn, must have come by then: NOOP keeps nobody here (rule C12).
    turn_by: Instant,
    /// Before this time the queue is not asked again.
    ask_after: Instant,
    /// What a failed login has to wait for, beyond what this connection alone deserves (rule C11).
    penalty: Duration,
    /// The last code of 400 and above that the customer heard.
    refused: Option<u16>,
    /// Made ready before the 250, used behind it.
    turn: Option<Turn>,
}

/// How the part before the turn ended.
enum Outcome {
    Turned(Box<(Wire, Turn, Turned)>),
    Over(String),
}

/// What the machine wants next, or the phrase for an end that it has no part in.
type Next = Result<Action, &'static str>;

impl<'a> Session<'a> {
    fn new(
        state: &'a Arc<State>,
        files: &'a Files,
        wire: Wire,
        closing: report::Session,
        seed: SessionSeed,
    ) -> Self {
        let serve = &files.serve;
        let visitor = files.accounts.visitor(wire.peer().ip());
        let keys: Arc<dyn ScramKeys> = Arc::<Visitor>::clone(&visitor);
        let machine = Provider::new(Settings {
            hostname: serve.hostname.clone(),
            mechanisms: files.offered(),
            seed,
            keys,
            max_bad_commands: serve.limits.bad_commands,
            max_auth_failures: serve.limits.auth_failures,
        });
        let turn_by = Instant::now() + serve.limits.login_time;
        Self {
            state,
            files,
            wire,
            closing,
            machine,
            visitor,
            turn_by,
            ask_after: Instant::now(),
            penalty: Duration::ZERO,
            refused: None,
            turn: None,
        }
    }

    async fn until_the_turn(mut self) -> (report::Session, Outcome) {
        let mut next: Next = Ok(Action::Say(self.machine.greeting()));
        loop {
            next = match next {
                Err(end) => return (self.closing, Outcome::Over(end.to_owned())),
                Ok(Action::Say(reply)) => self.say_and_listen(&reply).await,
                Ok(Action::SayAfter(delay, reply)) => tokio::select! {
                    () = sleep(delay.max(self.penalty)) => self.say_and_listen(&reply).await,
                    () = self.state.stopped() => Ok(Action::Close(self.machine.shutting_down())),
                },
                Ok(Action::Close(reply)) => return Box::pin(self.close(&reply)).await,
                Ok(Action::Verify(evidence)) => Ok(self.verify(evidence).await),
                Ok(Action::Access { user }) => Ok(self.access(&user)),
                Ok(Action::Ask(request)) => {
                    self.closing.domains(&request.domains);
                    Box::pin(self.ask(&request)).await
                }
                Ok(Action::Turn(reply, proof)) => return Box::pin(self.turn(&reply, proof)).await,
            };
            // Whatever stood ready is let go unless the machine turns the connection now.
            if !matches!(next, Ok(Action::Turn(..))) {
                self.turn = None;
            }
        }
    }

    /// Is there mail, and is the mail server ready? Told to stop meanwhile, nobody waits for that.
    async fn ask(&mut self, request: &Request) -> Next {
        let ask = async {
            // Over and over again on one connection is made slow, not refused: nobody has to wait the first time.
            sleep_until(self.ask_after).await;
            asking::ask(self.state, self.files, self.closing.id(), request).await
        };
        let asked = tokio::select! {
            asked = ask => asked,
            () = self.state.stopped() => return Ok(Action::Close(self.machine.shutting_down())),
        };
        self.ask_after = Instant::now() + ASK_PAUSE;
        self.turn = asked.turn;
        let pending = self.wire.pending().await.map_err(|_| LOST)?;
        Ok(self.machine.answered(asked.answer, pending))
    }

    /// Writes the reply, then waits for the next line and lets the machine decide.
    async fn say_and_listen(&mut self, reply: &Reply) -> Next {
        self.say(reply).await?;
        self.wire.set_limit(self.machine.line_limit());
        let by = (Instant::now() + self.files.serve.limits.command_time).min(self.turn_by);
        let line = tokio::select! {
            line = timeout_at(by, self.wire.line()) => line,
            () = self.state.stopped() => {
                return Ok(Action::Close(self.machine.shutting_down()));
            }
        };
        match line {
            Err(_) => Ok(Action::Close(self.machine.timed_out())),
            Ok(Err(WireError::Closed)) => Err("closed by the customer without QUIT"),
            Ok(Err(_)) => Err(LOST),
            Ok(Ok(line)) => {
                let pending = self.wire.pending().await.map_err(|_| LOST)?;
                let failures = self.machine.auth_failures();
                let action = self.machine.line(line, pending);
                if self.machine.auth_failures() > failures {
                    self.exchange_failed();
                }
                Ok(action)
            }
        }
    }

    async fn say(&mut self, reply: &Reply) -> Result<(), &'static str> {
        tracing::debug!(session = self.closing.id(), code = reply.code, "reply");
        if reply.code >= 400 {
            self.refused = Some(reply.code);
        }
        // A peer that does not read is not waited for longer than one that does not write.
        let by = Instant::now() + self.files.serve.limits.command_time;
        match timeout_at(by, self.wire.send(&reply.to_bytes())).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(LOST),
            Err(_) => Err("the customer does not read"),
        }
    }

    async fn close(mut self, reply: &Reply) -> (report::Session, Outcome) {
        if let Err(end) = self.say(reply).await {
            return (self.closing, Outcome::Over(end.to_owned()));
        }
        let end = match reply.code {
            221 => self.before_quit(),
            code => format!("closed with {code}: {}", reply.text()),
        };
        self.wire.close().await;
        (self.closing, Outcome::Over(end))
    }

    /// What a session that was not turned came to, by the last thing it was refused.
    fn before_quit(&self) -> String {
        match self.refused {
            Some(453) => "no mail".to_owned(),
            Some(code) => format!("refused with {code}, then QUIT"),
            None => "QUIT before the turn".to_owned(),
        }
    }

    async fn turn(mut self, reply: &Reply, proof: Turned) -> (report::Session, Outcome) {
        let end = match (self.turn.take(), self.say(reply).await) {
            (Some(turn), Ok(())) => {
                tracing::info!(
                    session = self.closing.id(), user = %safe(proof.user()),
                    domains = %proof.domains().map_or_else(String::new, ToString::to_string), "turned"
                );
                return (
                    self.closing,
                    Outcome::Turned(Box::new((self.wire, turn, proof))),
                );
            }
            (Some(_), Err(end)) => format!("{end}, the mail stays queued"),
            (None, _) => "turned without a hand-off, the mail stays queued".to_owned(),
        };
        (self.closing, Outcome::Over(end))
    }

    /// Judges a password or a digest; hashing takes time, so it does not happen on the reactor.
    async fn verify(&mut self, evidence: Evidence) -> Action {
        let (accounts, peer) = (Arc::clone(&self.files.accounts), self.wire.peer().ip());
        let name = match &evidence {
            Evidence::Password { authcid, .. } => authcid.clone(),
            Evidence::CramMd5 { user, .. } => user.clone(),
        };
        let judged = tokio::task::spawn_blocking(move || accounts.verify(&evidence, peer)).await;
        let verdict = match judged.map(|judgement| judgement.outcome) {
            Ok(Judged::Accepted { user, domains }) => self.accepted(user, &domains),
            Ok(Judged::Rejected(reason)) => self.rejected(&name, &reason),
            Err(_) => {
                tracing::error!(
                    session = self.closing.id(),
                    "cannot verify a password: the check itself failed (please report this)"
                );
                Verdict::Unavailable
            }
        };
        self.judged(verdict)
    }

    /// SCRAM proved the user; what may it fetch?
    fn access(&mut self, user: &str) -> Action {
        let files = self.files;
        let verdict = match files.accounts.access(user, self.wire.peer().ip()) {
            Ok(domains) => self.accepted(user.to_owned(), domains),
            Err(reason) => self.rejected(user, &reason),
        };
        self.judged(verdict)
    }

    fn judged(&mut self, verdict: Verdict) -> Action {
        let action = self.machine.verified(verdict);
        if let Some(mechanism) = self.machine.mechanism() {
            self.closing.mechanism(mechanism.name());
            self.turn_by = Instant::now() + self.files.serve.limits.login_time;
        }
        action
    }

    /// An AUTH exchange failed inside the machine: SCRAM, a cancel, or nonsense.
    fn exchange_failed(&mut self) {
        let (user, reason) = (self.visitor.user(), self.visitor.reason());
        self.penalty = self
            .state
            .login_failed(self.wire.peer().ip(), user.as_deref());
        let reason = reason.map_or_else(
            || "wrong password, or the exchange was broken off".to_owned(),
            |it| it.to_string(),
        );
        tracing::warn!(
            session = self.closing.id(), peer = %self.wire.peer(),
            user = user.map(|user| safe(&user).to_string()),
            "login refused: {reason}"
        );
    }

    fn accepted(&mut self, user: String, domains: &DomainList) -> Verdict {
        self.closing.user(&user);
        tracing::info!(session = self.closing.id(), user = %safe(&user), "logged in");
        let access = Access::Domains(domains.iter().cloned().collect());
        Verdict::Accepted(Identity { user, access })
    }

    /// The peer hears 535 whatever the reason; the log tells the operator (rule B74).
    fn rejected(&mut self, user: &str, reason: &dyn std::fmt::Display) -> Verdict {
        self.penalty = self.state.login_failed(self.wire.peer().ip(), Some(user));
        tracing::warn!(
            session = self.closing.id(), peer = %self.wire.peer(), user = %safe(user),
            "login refused: {reason}"
        );
        Verdict::Rejected
    }
}

/// What makes this connection's challenges unique (rule B66).
fn seed() -> Option<SessionSeed> {
    let mut random = [0_u8; 16];
    getrandom::fill(&mut random).ok()?;
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Some(SessionSeed {
        unix_time: since.as_secs(),
        random,
    })
}
