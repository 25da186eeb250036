//! The customer as client: greeting, EHLO, AUTH, ATRN, and a QUIT before every other end (RFC 2645 5, rules R9, B16, B17).
//!
//! The driver gives each reply and does what the [`Step`] says. The MTA is made ready between AUTH and ATRN: after
//! ATRN's 2yz it has to speak at once, and there is no way back (rule R26).

mod auth;
mod outcome;

use super::{Direction, Turned};
use crate::sasl::client::{ClientExchange, Means};
use crate::sasl::{Channel, ChannelBinding, Mechanism, Secret};
use crate::smtp::{COMMAND_LIMIT, Command, DomainList, Offer, Reply};
use auth::Login;
pub use outcome::Outcome;
use outcome::unexpected;
use std::fmt;
use zeroize::Zeroizing;

/// What the customer's half of a session depends on.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name for EHLO: this machine's own, or an address in brackets (rule B8).
    pub ehlo_name: String,
    /// The user at the provider.
    pub user: String,
    /// Its password; without one only EXTERNAL can be used.
    pub password: Option<Secret>,
    /// The domains to ask for; `None` asks for all there are with a bare ATRN (rule R17).
    pub domains: Option<DomainList>,
    /// The mechanisms that may be used.
    pub mechanisms: Vec<Mechanism>,
    /// Whether mechanisms in which the password itself travels may be used without TLS (rule B35). Under TLS they may.
    pub allow_plaintext: bool,
    /// How TLS comes to this connection.
    pub tls: Tls,
    /// With implicit TLS: the binding of the connection, if its TLS gives one.
    pub binding: Option<ChannelBinding>,
    /// A certificate of ours is shown in the handshake: EXTERNAL may be used (rule B75).
    pub external: bool,
}

/// How TLS comes to the connection. Whatever the provider says, none of it is given up for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    /// With STARTTLS; without it nothing is said but QUIT (rules B49, C3).
    Starttls,
    /// Not at all.
    None,
    /// The connection is under TLS from the first octet.
    Implicit,
}

/// What the driver has to do.
pub enum Step {
    /// Send these octets, a whole line, then wait for a reply. They may hold a password.
    Send(Zeroizing<Vec<u8>>),
    /// The provider is ready for TLS. If anything lies behind its reply, end with [`Outcome::early_octets`] (rule C2);
    /// otherwise do the handshake and say [`Customer::tls_started`]. If that fails, close.
    StartTls,
    /// Make the MTA ready and say how that went with [`Customer::prepared`].
    Prepare,
    /// The connection has turned: hand it over. Nothing more may have come from the provider (rule C5).
    Turned(Turned),
    /// Close the connection. The QUIT has been answered, or there is nobody to send it to.
    End(Outcome),
}

/// What is to be sent may be a password, so that only its length is shown.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Send(octets) => write!(f, "Send({} octets)", octets.len()),
            Self::StartTls => f.write_str("StartTls"),
            Self::Prepare => f.write_str("Prepare"),
            Self::Turned(turned) => write!(f, "Turned({turned:?})"),
            Self::End(outcome) => write!(f, "End({outcome:?})"),
        }
    }
}

/// What the driver waits for: the choice of its timer (rules B14, R16).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// The provider's first words.
    Greeting,
    /// The reply to EHLO.
    Ehlo,
    /// The reply to STARTTLS.
    StartTls,
    /// A reply in the AUTH exchange.
    Auth,
    /// The reply to ATRN: 10 minutes or more (rule R16).
    Atrn,
    /// The reply to QUIT, or nothing any more.
    Quit,
}

#[derive(Debug)]
enum State {
    Greeting,
    Ehlo,
    StartTls,
    /// The handshake is under way; no reply is due.
    Handshake,
    Auth(Login),
    /// The MTA is being made ready; no reply is due.
    Preparing(Mechanism),
    Atrn(Mechanism),
    /// QUIT was sent; what the session has come to is known already.
    Quit(Outcome),
    Over,
}

/// The customer's half of one session, until it turns or ends.
#[derive(Debug)]
pub struct Customer {
    settings: Settings,
    state: State,
    /// The connection is under TLS.
    secure: bool,
    provider: Option<String>,
    mechanism: Option<Mechanism>,
}

impl Customer {
    /// A session on a connection that has just been made. The provider speaks first.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            secure: settings.tls == Tls::Implicit,
            settings,
            state: State::Greeting,
            provider: None,
            mechanism: None,
        }
    }

    /// Takes a reply. 421 may come at any time and ends the session: the provider has gone (rule B13).
    pub fn reply(&mut self, reply: Reply) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        match state {
            State::Quit(outcome) => Step::End(outcome),
            State::Over => Step::End(unexpected(&reply)),
            _ if reply.code == 421 => Step::End(Outcome::TryLater { reply }),
            State::Greeting => self.greeted(reply),
            State::Ehlo => self.offered(reply),
            State::StartTls => self.tls_answered(reply),
            State::Auth(login) => self.login(login, reply),
            // Nobody asked: whatever this is an answer to, it was not ours (rule C2).
            State::Handshake | State::Preparing(_) => Step::End(unexpected(&reply)),
            State::Atrn(mechanism) => self.atrn_answered(mechanism, reply),
        }
    }

    /// The handshake after [`Step::StartTls`] has succeeded, with this binding if there is one. Nothing that was learnt
    /// before counts (rules B45, C2): the provider is asked again.
    pub fn tls_started(&mut self, binding: Option<ChannelBinding>) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Handshake => {
                self.secure = true;
                self.settings.binding = binding;
                self.provider = None;
                self.ehlo()
            }
            _ => Step::End(Outcome::Protocol {
                what: "TLS was started although nobody asked".to_owned(),
            }),
        }
    }

    /// The answer to [`Step::Prepare`]: is the MTA ready?
    pub fn prepared(&mut self, ready: bool) -> Step {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Preparing(mechanism) if ready => {
                self.state = State::Atrn(mechanism);
                Step::Send(self.atrn())
            }
            State::Preparing(_) => self.quit(Outcome::MtaNotReady),
            _ => Step::End(Outcome::Protocol {
                what: "the mail server was made ready although nobody asked".to_owned(),
            }),
        }
    }

    /// Ends the session in order for a reason of the driver's: sends QUIT, and the session ends as said. Not for
    /// connections on which nothing can be sent any more.
    pub fn abandon(&mut self, outcome: Outcome) -> Step {
        self.quit(outcome)
    }

    /// What the driver waits for.
    #[must_use]
    pub fn waiting_for(&self) -> Wait {
        match self.state {
            State::Greeting => Wait::Greeting,
            State::Ehlo => Wait::Ehlo,
            State::StartTls | State::Handshake => Wait::StartTls,
            State::Auth(_) => Wait::Auth,
            State::Preparing(_) | State::Atrn(_) => Wait::Atrn,
            State::Quit(_) | State::Over => Wait::Quit,
        }
    }

    /// The mechanism in use, from the first AUTH on: for logs.
    #[must_use]
    pub fn mechanism(&self) -> Option<Mechanism> {
        self.mechanism
    }

    /// The name in the provider's EHLO reply: for logs, unchecked.
    #[must_use]
    pub fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    fn greeted(&mut self, reply: Reply) -> Step {
        if !reply.is_positive() {
            return self.turned_down(reply);
        }
        if self.atrn().len() > COMMAND_LIMIT {
            // A longer line may be cut or refused, and a bare ATRN would ask for more than was wanted (grammar A4).
            return self.quit(Outcome::Settings {
                what: "the list of domains does not fit into one ATRN command of 512 octets (ask for all \
                       domains, or for fewer at a time)"
                    .to_owned(),
            });
        }
        self.ehlo()
    }

    fn ehlo(&mut self) -> Step {
        self.state = State::Ehlo;
        Step::Send(Command::Ehlo(self.settings.ehlo_name.clone()).to_bytes())
    }

    /// The reply to STARTTLS. Not 2yz but 220: any other is the answer to something else (rule B43). What is refused ends
    /// the session, there is no going on in the clear (rules B49, C3).
    fn tls_answered(&mut self, reply: Reply) -> Step {
        if reply.code == 220 {
            self.state = State::Handshake;
            return Step::StartTls;
        }
        let outcome = if reply.is_transient() || reply.is_permanent() {
            Outcome::TlsRefused { reply }
        } else {
            unexpected(&reply)
        };
        self.quit(outcome)
    }

    /// Only this offer counts: no password goes to somebody who cannot turn the connection (rules R9, C16).
    fn offered(&mut self, reply: Reply) -> Step {
        let clear = self.settings.tls == Tls::Starttls && !self.secure;
        if clear && matches!(reply.code, 500 | 502 | 504) {
            return self.quit(Outcome::NoStartTls);
        }
        if matches!(reply.code, 500 | 502 | 504) {
            // No EHLO, so no ATRN: an old server, or something in between that allows no extensions.
            return self.quit(Outcome::NoAtrn);
        }
        if !reply.is_positive() {
            return self.turned_down(reply);
        }
        // A greeting that nobody waits for must not be taken for an offer: under TLS the customer speaks first after
        // STARTTLS (rule C2).
        if self.secure && reply.code != 250 {
            return self.quit(unexpected(&reply));
        }
        let offer = Offer::parse(&reply);
        self.provider = Some(offer.domain);
        if clear {
            if !offer.starttls {
                return self.quit(Outcome::NoStartTls);
            }
            self.state = State::StartTls;
            return Step::Send(Command::Starttls.to_bytes());
        }
        if !offer.atrn {
            return self.quit(Outcome::NoAtrn);
        }
        let means = Means {
            allowed: &self.settings.mechanisms,
            password: self.settings.password.is_some(),
            plaintext: self.secure || self.settings.allow_plaintext,
            certificate: self.secure && self.settings.external,
            binding: self.secure && self.settings.binding.is_some(),
        };
        match ClientExchange::strongest(&offer.auth, &means) {
            Some(mechanism) => {
                let channel = self.channel(mechanism, &offer.auth);
                self.start_login(mechanism, &channel)
            }
            None => self.quit(Outcome::NoMechanism {
                offered: offer.auth,
            }),
        }
    }

    /// What SCRAM says about channel binding (RFC 5802 6, rule B71): `y` only if this mechanism's own -PLUS form would be
    /// used here and was not offered.
    fn channel(&self, mechanism: Mechanism, offered: &[String]) -> Channel {
        let Some(binding) = self.settings.binding.as_ref().filter(|_| self.secure) else {
            return Channel::Unbound;
        };
        if mechanism.is_plus() {
            return Channel::Bound(binding.clone());
        }
        match mechanism.plus() {
            Some(plus)
                if self.settings.mechanisms.contains(&plus)
                    && !offered.iter().any(|name| name == plus.name()) =>
            {
                Channel::NotOffered
            }
            _ => Channel::Unbound,
        }
    }

    /// By the first digit, except for the one code that is good news (RFC 2645 7, appendix A7).
    fn atrn_answered(&mut self, mechanism: Mechanism, reply: Reply) -> Step {
        if reply.is_positive() {
            return Step::Turned(Turned {
                user: self.settings.user.clone(),
                domains: self.settings.domains.clone(),
                mechanism: Some(mechanism),
                direction: Direction::ToServer,
            });
        }
        if reply.code == 453 {
            return self.quit(Outcome::NoMail);
        }
        self.turned_down(reply)
    }

    fn atrn(&self) -> Zeroizing<Vec<u8>> {
        Command::Atrn(self.settings.domains.clone()).to_bytes()
    }

    /// A reply that is not the one hoped for, by its first digit (RFC 5321 4.3.2).
    fn turned_down(&mut self, reply: Reply) -> Step {
        let outcome = if reply.is_transient() {
            Outcome::TryLater { reply }
        } else if reply.is_permanent() {
            Outcome::Refused { reply }
        } else {
            unexpected(&reply)
        };
        self.quit(outcome)
    }

    /// The last command; the session is over when it is answered (rule B17).
    fn quit(&mut self, outcome: Outcome) -> Step {
        self.state = State::Quit(outcome);
        Step::Send(Command::Quit.to_bytes())
    }
}
