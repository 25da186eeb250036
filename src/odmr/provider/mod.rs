//! The provider as server: greeting, EHLO, AUTH, ATRN, QUIT, and nothing else (RFC 2645 4 and 5, rules R5 to R25).
//!
//! The driver gives each line with whether more bytes already wait behind it, does what the [`Action`] says, and
//! gives the answers back. It reads no further line while an answer is due. Commands are taken in `commands`,
//! the AUTH exchange in `auth`, the words of the replies stand in `replies`.

mod action;
mod auth;
mod commands;
mod replies;

pub use action::{Access, Action, Identity, QueueAnswer, Request, Verdict};

use crate::sasl::Mechanism;
use crate::sasl::server::{ScramKeys, ServerExchange};
use crate::smtp::{COMMAND_LIMIT, EXCHANGE_LIMIT, Line, LineError, Reply};
use std::fmt;
use std::sync::Arc;

/// What is unique about one connection. It makes challenges unique (rule B66).
#[derive(Clone, Copy)]
pub struct SessionSeed {
    /// When the connection came, in seconds since 1970.
    pub unix_time: u64,
    /// Octets from the system's random source, drawn for this connection.
    pub random: [u8; 16],
}

impl fmt::Debug for SessionSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionSeed({}, ..)", self.unix_time)
    }
}

/// What the provider's half of a session depends on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The fully qualified name of the provider: greeting, EHLO reply, challenges.
    pub hostname: String,
    /// The mechanisms that may be offered on this connection as it is now (rule B35), in the order of the offer.
    pub mechanisms: Vec<Mechanism>,
    /// What is unique about this connection.
    pub seed: SessionSeed,
    /// Where the keys for SCRAM come from.
    pub keys: Arc<dyn ScramKeys>,
    /// How many commands may be unknown, malformed or out of place; the next is answered 421 (rule C12). Usually 10.
    pub max_bad_commands: u32,
    /// How many AUTH exchanges may fail or be cancelled; the next AUTH is answered 421 (rules B40, C11). 3 or more.
    pub max_auth_failures: u32,
}

/// Where the session stands (RFC 2645 5): each state owns what is known in it.
#[derive(Debug)]
enum State {
    /// Before authentication; `greeted` after an EHLO.
    Initial {
        greeted: bool,
    },
    /// A 334 was sent.
    Exchange(ServerExchange),
    /// The accounts are being asked.
    Judging(Mechanism),
    Authenticated(Authenticated),
    /// The queue is being asked.
    Asking(Authenticated, Request),
    /// Turned or closed: nothing more is for this machine.
    Over,
}

#[derive(Debug)]
struct Authenticated {
    identity: Identity,
    mechanism: Mechanism,
}

/// The provider's half of one session, until it turns or ends.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    state: State,
    ehlo_name: Option<String>,
    /// Nothing has been read yet: HTTP is told from SMTP by the first line (rule C14).
    first_line: bool,
    bad_commands: u32,
    auth_failures: u32,
    exchanges: u32,
}

impl Provider {
    /// A session that has just been accepted.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            state: State::Initial { greeted: false },
            ehlo_name: None,
            first_line: true,
            bad_commands: 0,
            auth_failures: 0,
            exchanges: 0,
        }
    }

    /// The first words on the connection (rule B7).
    #[must_use]
    pub fn greeting(&self) -> Reply {
        replies::greeting(&self.settings.hostname)
    }

    /// Takes a line. `pending` says that more bytes had come before this line was answered.
    pub fn line(&mut self, line: Result<Line, LineError>, pending: bool) -> Action {
        let first = std::mem::replace(&mut self.first_line, false);
        match std::mem::replace(&mut self.state, State::Over) {
            State::Exchange(exchange) => self.exchange_line(exchange, line),
            State::Initial { greeted } => self.initial_line(greeted, first, line),
            State::Authenticated(authenticated) => {
                self.authenticated_line(authenticated, line, pending)
            }
            // The driver reads no line while an answer is due, nor after the end.
            State::Judging(_) | State::Asking(..) | State::Over => self.lost(),
        }
    }

    /// Takes the accounts' answer to [`Action::Verify`] or [`Action::Access`].
    pub fn verified(&mut self, verdict: Verdict) -> Action {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Judging(mechanism) => self.judged(mechanism, verdict),
            _ => self.lost(),
        }
    }

    /// Takes the answer to [`Action::Ask`]. `pending` says that bytes have come since ATRN: whoever sends them does
    /// not know yet who speaks next, so they must not be taken for a greeting (rules B59, C4).
    pub fn answered(&mut self, answer: QueueAnswer, pending: bool) -> Action {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Asking(authenticated, request) => {
                self.decided(authenticated, request, answer, pending)
            }
            _ => self.lost(),
        }
    }

    /// The longest line that is in order now, CRLF included: 512 octets, or 12290 in an AUTH exchange (rules B4, B31).
    #[must_use]
    pub fn line_limit(&self) -> usize {
        match self.state {
            State::Exchange(_) => EXCHANGE_LIMIT,
            _ => COMMAND_LIMIT,
        }
    }

    /// The customer was silent or slow for too long: the last words before closing (rules B12, C12).
    pub fn timed_out(&mut self) -> Reply {
        self.state = State::Over;
        replies::timed_out()
    }

    /// This process goes away: the last words before closing (rules B12, B13).
    #[must_use]
    pub fn shutting_down(&self) -> Reply {
        replies::shutting_down()
    }

    /// The user, once authenticated and until the session turned or ended.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.authenticated()
            .map(|authenticated| authenticated.identity.user.as_str())
    }

    /// The mechanism of the authentication, as long as [`user`](Self::user) is known.
    #[must_use]
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.authenticated()
            .map(|authenticated| authenticated.mechanism)
    }

    /// The name the customer gave in its last EHLO: for logs, never for decisions (rules B11, R23).
    #[must_use]
    pub fn ehlo_name(&self) -> Option<&str> {
        self.ehlo_name.as_deref()
    }

    /// How many AUTH exchanges have failed or were cancelled.
    #[must_use]
    pub fn auth_failures(&self) -> u32 {
        self.auth_failures
    }

    fn authenticated(&self) -> Option<&Authenticated> {
        match &self.state {
            State::Authenticated(authenticated) | State::Asking(authenticated, _) => {
                Some(authenticated)
            }
            _ => None,
        }
    }

    /// A call out of turn: the session cannot be trusted any more, and ends politely.
    fn lost(&mut self) -> Action {
        self.state = State::Over;
        Action::Close(replies::internal())
    }

    /// Goes on in a state with a reply.
    fn stay(&mut self, state: State, reply: Reply) -> Action {
        self.state = state;
        Action::Say(reply)
    }

    /// Answers something that was not in order, unless there have been too many such things (rule C12).
    fn bad(&mut self, state: State, reply: Reply) -> Action {
        self.bad_commands = self.bad_commands.saturating_add(1);
        if self.bad_commands > self.settings.max_bad_commands {
            return Action::Close(replies::too_many_errors());
        }
        self.stay(state, reply)
    }
}
