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

use crate::sasl::server::{ScramKeys, ServerExchange};
use crate::sasl::{ChannelBinding, Mechanism, SaslError};
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
    /// How this connection stands to TLS, as it is now.
    pub starttls: Starttls,
    /// The mechanisms that may be used on this connection as it is now (rule B35), in the order of the offer. The -PLUS
    /// forms among them are offered when there is a binding, and once.
    pub mechanisms: Vec<Mechanism>,
    /// With implicit TLS: the binding of the connection, if its TLS gives one.
    pub binding: Option<ChannelBinding>,
    /// What is unique about this connection.
    pub seed: SessionSeed,
    /// Where the keys for SCRAM come from.
    pub keys: Arc<dyn ScramKeys>,
    /// How many commands may be unknown, malformed or out of place; the next is answered 421 (rule C12). Usually 10.
    pub max_bad_commands: u32,
    /// How many AUTH exchanges may fail or be cancelled; the next AUTH is answered 421 (rules B40, C11). 3 or more.
    pub max_auth_failures: u32,
}

/// How a connection stands to TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starttls {
    /// There is no TLS for it.
    No,
    /// It may begin TLS.
    Offered,
    /// It has to begin TLS before anything of use (rule B44).
    Required,
    /// It is under TLS: implicit TLS from the first octet, or after STARTTLS.
    Active,
}

/// What a handshake has brought: everything before it is forgotten (rule B45).
#[derive(Debug, Clone)]
pub struct Secured {
    /// The mechanisms that may be used under TLS, in the order of the offer; as in [`Settings::mechanisms`].
    pub mechanisms: Vec<Mechanism>,
    /// The binding of the connection, if its TLS gives one (TLS 1.3, rule B72).
    pub binding: Option<ChannelBinding>,
}

/// Where the session stands (RFC 2645 5): each state owns what is known in it.
#[derive(Debug)]
enum State {
    /// Before authentication; `greeted` after an EHLO.
    Initial {
        greeted: bool,
    },
    /// STARTTLS was taken: a handshake comes next, or a refusal.
    StartingTls,
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
    /// A bound exchange was begun on this TLS connection, and there is no second (rule B73, conflict X7).
    plus_spent: bool,
    /// Why the last exchange failed, if it was the mechanism that found out.
    exchange_error: Option<SaslError>,
}

/// The first words on a connection, where they are said before there is a session (rule B7).
#[must_use]
pub fn greeting(hostname: &str) -> Reply {
    replies::greeting(hostname)
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
            plus_spent: false,
            exchange_error: None,
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
            State::Initial { greeted } => self.initial_line(greeted, first, line, pending),
            State::Authenticated(authenticated) => {
                self.authenticated_line(authenticated, line, pending)
            }
            // The driver reads no line while an answer is due, nor after the end.
            State::StartingTls | State::Judging(_) | State::Asking(..) | State::Over => self.lost(),
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

    /// The handshake after [`Action::StartTls`] has succeeded: read on, nothing is said first. Everything that was said
    /// before is forgotten (rule B45); what is counted against rudeness and guessing goes on, for it is counted by
    /// connection (rules B40, C11, C12).
    pub fn tls_started(&mut self, secured: Secured) {
        if !matches!(self.state, State::StartingTls) {
            self.state = State::Over;
            return;
        }
        let Secured {
            mechanisms,
            binding,
        } = secured;
        self.settings.mechanisms = mechanisms;
        self.settings.binding = binding;
        self.settings.starttls = Starttls::Active;
        self.plus_spent = false;
        self.ehlo_name = None;
        // Whoever said STARTTLS in the clear need not be who speaks now: a browser can be led here (rule C14).
        self.first_line = true;
        self.state = State::Initial { greeted: false };
    }

    /// No certificate can be shown at present, instead of the handshake after [`Action::StartTls`]: 454, and the
    /// connection stays as it was (rule B43).
    pub fn tls_unavailable(&mut self) -> Action {
        match std::mem::replace(&mut self.state, State::Over) {
            State::StartingTls => {
                self.stay(State::Initial { greeted: true }, replies::tls_unavailable())
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

    /// Whether the next line may prove who the customer is without the accounts being asked: an exchange of SCRAM.
    #[must_use]
    pub fn is_proving(&self) -> bool {
        matches!(&self.state, State::Exchange(exchange) if exchange.mechanism().is_scram())
    }

    /// How many AUTH exchanges have failed or were cancelled.
    #[must_use]
    pub fn auth_failures(&self) -> u32 {
        self.auth_failures
    }

    /// Why the last AUTH exchange failed, if its mechanism found out: for the log. Channel binding that does not fit may
    /// mean that somebody stands in between.
    #[must_use]
    pub fn exchange_error(&self) -> Option<SaslError> {
        self.exchange_error
    }

    /// The mechanisms of the offer, as it is now.
    fn offered(&self) -> Vec<Mechanism> {
        let bound = self.settings.binding.is_some() && !self.plus_spent;
        let under_tls = self.settings.starttls == Starttls::Active;
        self.settings
            .mechanisms
            .iter()
            .copied()
            .filter(|mechanism| bound || !mechanism.is_plus())
            // Nothing but TLS says who the client is (rule B75).
            .filter(|mechanism| under_tls || *mechanism != Mechanism::External)
            .collect()
    }

    /// The binding, if -PLUS was offered at any time on this connection: so also when it is spent.
    fn binding(&self) -> Option<&ChannelBinding> {
        let plus = self.settings.mechanisms.iter().any(|one| one.is_plus());
        self.settings.binding.as_ref().filter(|_| plus)
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
