//! One customer's connection, from the greeting to its end: the driver of the provider's
//! machine. The machine decides; this file does in its order what it wants, with `line.rs` for
//! reading and writing, `login.rs` and `turn.rs` for what is asked of others.

mod line;
mod login;
mod turn;

use super::admission::Admitted;
use super::asking::Turn;
use super::guesses::Guess;
use super::handshake::{self, handshake};
use super::refusal;
use super::state::{Files, State};
use super::turned;
use crate::accounts::Visitor;
use crate::config::ServeTls;
use crate::odmr::Turned;
use crate::odmr::provider::{Action, Provider, Secured, SessionSeed, Settings, Starttls};
use crate::report::{self, State as Doing};
use crate::sasl::ChannelBinding;
use crate::sasl::server::ScramKeys;
use crate::smtp::Reply;
use crate::tls::Facts;
use crate::wire::{Way, Wire};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

/// The phrase for a connection that broke or was dropped.
const LOST: &str = "lost before the turn";

/// How a connection begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Begins {
    /// With our greeting in the clear.
    InClear,
    /// In the clear, and our greeting has been said.
    Greeted,
    /// With a TLS handshake (RFC 8314 3).
    WithTls,
}

/// Serves one connection to its end and writes its closing line.
///
/// `admitted` is its place among all connections, which a relay that outlives the session takes along.
pub(super) async fn serve(state: Arc<State>, mut wire: Wire, begins: Begins, admitted: Admitted) {
    let leave = admitted.leave();
    let mut admitted = Some(admitted);
    let closing = report::Session::serve(&state.ledger, wire.peer());
    tracing::debug!(session = closing.id(), peer = %wire.peer(), "connected");
    let files = state.files();
    if begins == Begins::WithTls
        && let Err(end) = Box::pin(secured_at_once(
            &state,
            &files,
            &mut wire,
            &leave,
            closing.id(),
        ))
        .await
    {
        closing.outcome(handshake::outcome(&state));
        Box::pin(wire.close()).await;
        return closing.close(end);
    }
    if let Some(facts) = wire.facts() {
        closing.tls(facts);
    }
    let Some(seed) = seed() else {
        tracing::error!(
            session = closing.id(),
            "cannot draw random octets: the system gives none"
        );
        closing.outcome(report::Outcome::Internal);
        Box::pin(refusal::turn_away(wire, &refusal::busy(&files))).await;
        return closing.close("no random octets, answered 421");
    };
    // Boxed: what a future takes by value it holds twice.
    let place = (&mut admitted, leave);
    let session = Box::new(Session::new(&state, &files, wire, place, closing, seed));
    let (mut closing, outcome) = session.until_the_turn(begins).await;
    let end = match outcome {
        Outcome::Over(end) => end,
        Outcome::Turned(turned) => {
            let (wire, turn, proof) = *turned;
            closing.handoff(files.serve.handoff.name());
            let part = turned::Part {
                state: &state,
                files: &files,
                closing: &mut closing,
                admitted: &mut admitted,
                proof,
            };
            // In a box of its own, as all that most sessions never come to: the room for the
            // largest part is taken for as long as a connection is open, thousands at once.
            Box::pin(turned::carry(part, wire, turn)).await
        }
    };
    closing.close(end);
}

/// TLS before the first word (RFC 8314 3).
async fn secured_at_once(
    state: &State,
    files: &Files,
    wire: &mut Wire,
    leave: &Notify,
    id: &str,
) -> Result<(), &'static str> {
    let Some(tls) = &files.tls else {
        tracing::error!(
            session = id,
            "there is no certificate for TLS (please report this)"
        );
        return Err(handshake::FAILED);
    };
    let by = Instant::now() + files.serve.limits.login_time;
    handshake(state, wire, tls, leave, id, by).await
}

/// What a session holds until it is turned or ends.
struct Session<'a> {
    state: &'a Arc<State>,
    files: &'a Files,
    wire: Wire,
    /// The connection's place among all.
    admitted: &'a mut Option<Admitted>,
    /// Says that somebody else is given that place; never again after the login.
    leave: Arc<Notify>,
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
    /// The login that is being looked at.
    guess: Option<Guess>,
    /// The last code of 400 and above that the customer heard.
    refused: Option<u16>,
    /// Made ready before the 250, used behind it.
    turn: Option<Turn>,
    /// How the connection can go, as it was found when that was made ready.
    way: Way,
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
        (admitted, leave): (&'a mut Option<Admitted>, Arc<Notify>),
        closing: report::Session,
        seed: SessionSeed,
    ) -> Self {
        let serve = &files.serve;
        let visitor = files.accounts.visitor(wire.peer().ip());
        let keys: Arc<dyn ScramKeys> = Arc::<Visitor>::clone(&visitor);
        let machine = Provider::new(Settings {
            hostname: serve.hostname.clone(),
            starttls: match (wire.facts(), serve.tls) {
                (Some(_), _) => Starttls::Active,
                (None, ServeTls::Required) => Starttls::Required,
                (None, ServeTls::Offered) => Starttls::Offered,
                (None, ServeTls::None) => Starttls::No,
            },
            mechanisms: match wire.facts() {
                Some(facts) => files.offered_in_tls(facts),
                None => files.offered_in_clear(),
            },
            binding: wire.facts().and_then(binding),
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
            admitted,
            leave,
            closing,
            machine,
            visitor,
            turn_by,
            ask_after: Instant::now(),
            penalty: Duration::ZERO,
            guess: None,
            refused: None,
            turn: None,
            way: Way::Plain,
        }
    }

    async fn until_the_turn(mut self: Box<Self>, begins: Begins) -> (report::Session, Outcome) {
        self.closing.state(Doing::Login);
        let mut next: Next = match begins {
            Begins::InClear | Begins::WithTls => Ok(Action::Say(self.machine.greeting())),
            Begins::Greeted => self.listen().await,
        };
        loop {
            next = match next {
                Err(end) => return (self.closing, Outcome::Over(end.to_owned())),
                Ok(Action::Say(reply)) => self.say_and_listen(&reply).await,
                Ok(Action::SayAfter(delay, reply)) => tokio::select! {
                    () = sleep(delay.max(self.penalty)) => self.say_and_listen(&reply).await,
                    () = self.state.stopped() => Ok(Action::Close(self.machine.shutting_down())),
                    () = self.leave.notified() => Ok(Action::Close(refusal::made_room(self.files))),
                },
                Ok(Action::Close(reply)) => return Box::pin(self.close(&reply)).await,
                Ok(Action::StartTls(reply)) => match Box::pin(self.start_tls(&reply)).await {
                    Ok(next) => next,
                    Err(end) => {
                        self.closing.outcome(handshake::outcome(self.state));
                        Box::pin(self.wire.close()).await;
                        return (self.closing, Outcome::Over(end.to_owned()));
                    }
                },
                // Never asked for while STARTTLS is not offered.
                Ok(Action::Verify(evidence)) => Ok(self.verify(evidence).await),
                Ok(Action::Access { user }) => Ok(self.access(&user)),
                Ok(Action::Ask(request)) => {
                    self.closing.domains(&request.domains);
                    self.closing.state(Doing::Asking);
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

    /// Says 220 and handshakes; the next word is the customer's, and nothing before it counts (rule B45).
    ///
    /// # Errors
    /// The phrase for the end of a session whose connection is good for closing only.
    async fn start_tls(&mut self, reply: &Reply) -> Result<Next, &'static str> {
        let Some(tls) = &self.files.tls else {
            return Ok(Ok(self.machine.tls_unavailable()));
        };
        self.say(reply).await?;
        let id = self.closing.id();
        let by = self.turn_by;
        handshake(self.state, &mut self.wire, tls, &self.leave, id, by).await?;
        let Some(facts) = self.wire.facts() else {
            return Err(handshake::FAILED);
        };
        self.closing.tls(facts);
        self.machine.tls_started(Secured {
            mechanisms: self.files.offered_in_tls(facts),
            binding: binding(facts),
        });
        Ok(self.listen().await)
    }
}

/// What a login can be bound to (rule B72).
fn binding(facts: &Facts) -> Option<ChannelBinding> {
    facts
        .binding
        .as_ref()
        .map(|binding| ChannelBinding::from(binding.0))
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
