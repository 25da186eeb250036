//! AUTH at the customer (RFC 4954): one mechanism, the strongest, and no second try with another (rule C16).

use super::{Customer, Outcome, State, Step, unexpected};
use crate::sasl::client::ClientExchange;
use crate::sasl::{Channel, Mechanism, SaslError, Secret};
use crate::smtp::{COMMAND_LIMIT, Command, Reply, base64};
use zeroize::Zeroizing;

/// An exchange that is under way.
#[derive(Debug)]
pub(super) struct Login {
    exchange: ClientExchange,
    phase: Phase,
}

enum Phase {
    /// `AUTH` was sent without the initial response, which was too long for it; an empty 334 asks for it (rule B30).
    Deferred(Zeroizing<Vec<u8>>),
    /// A 334 or the final reply comes next.
    Open,
    /// `*` was sent; whatever comes, the session ends like this.
    Cancelled(String),
}

/// A deferred response is a password.
impl std::fmt::Debug for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Deferred(_) => "Deferred(..)",
            Self::Open => "Open",
            Self::Cancelled(_) => "Cancelled",
        })
    }
}

impl Customer {
    pub(super) fn start_login(&mut self, mechanism: Mechanism, channel: &Channel) -> Step {
        self.mechanism = Some(mechanism);
        // EXTERNAL has none; for the others there is one, or they would not have been chosen.
        let none = Secret::from("");
        let password = self.settings.password.as_ref().unwrap_or(&none);
        let started = ClientExchange::start_on(channel, mechanism, &self.settings.user, password)
            .and_then(|mut exchange| Ok((exchange.initial()?, exchange)));
        let (initial, exchange) = match started {
            Ok(started) => started,
            Err(error) => {
                return self.quit(Outcome::Settings {
                    what: format!("cannot authenticate: {error} (check user and password)"),
                });
            }
        };
        let command = |initial| Command::Auth {
            mechanism: mechanism.name().to_owned(),
            initial,
        };
        let whole = command(initial.as_ref().map(|octets| encode(octets))).to_bytes();
        let (line, phase) = match initial {
            Some(initial) if whole.len() > COMMAND_LIMIT => {
                (command(None).to_bytes(), Phase::Deferred(initial))
            }
            _ => (whole, Phase::Open),
        };
        self.state = State::Auth(Login { exchange, phase });
        Step::Send(line)
    }

    pub(super) fn login(&mut self, mut login: Login, reply: Reply) -> Step {
        if let Phase::Cancelled(what) = login.phase {
            return self.quit(Outcome::Protocol { what });
        }
        if reply.code == 334 {
            return self.challenged(login, &reply);
        }
        if reply.is_positive() {
            // Nobody is logged in before having shown anything, and with SCRAM the provider shows something too.
            return match (&login.phase, login.exchange.finish()) {
                (Phase::Open, Ok(())) => {
                    self.state = State::Preparing(login.exchange.mechanism());
                    Step::Prepare
                }
                (_, Err(error)) => self.quit(Outcome::Protocol {
                    what: format!("authentication was accepted too early: {error}"),
                }),
                (_, Ok(())) => self.quit(Outcome::Protocol {
                    what: "authentication was accepted before it was asked for".to_owned(),
                }),
            };
        }
        match reply.code {
            534 | 535 | 538 => self.quit(Outcome::AuthFailed { reply }),
            _ if reply.is_intermediate() => self.quit(unexpected(&reply)),
            // 454 and its kind say nothing about the password (rule B33).
            _ => self.turned_down(reply),
        }
    }

    fn challenged(&mut self, mut login: Login, reply: &Reply) -> Step {
        let [text] = reply.lines.as_slice() else {
            return self.cancel(login, "a challenge of several lines");
        };
        let Ok(challenge) = base64::decode(text.as_bytes()) else {
            return self.cancel(login, "a challenge that is not base64");
        };
        let response = match std::mem::replace(&mut login.phase, Phase::Open) {
            Phase::Deferred(initial) if challenge.is_empty() => Ok(initial),
            Phase::Deferred(_) => Err(SaslError::Malformed("the first challenge is not empty")),
            Phase::Open | Phase::Cancelled(_) => login.exchange.challenge(&challenge),
        };
        match response {
            Ok(response) => {
                self.state = State::Auth(login);
                Step::Send(line(base64::encode(&response).as_bytes()))
            }
            Err(error) => self.cancel(login, &error.to_string()),
        }
    }

    /// A challenge that cannot be answered: `*`, and the provider's 501 before QUIT (rule B29).
    fn cancel(&mut self, mut login: Login, what: &str) -> Step {
        login.phase = Phase::Cancelled(format!("authentication cancelled: {what}"));
        self.state = State::Auth(login);
        Step::Send(line(b"*"))
    }
}

/// An empty initial response is written `=` (rule B27).
fn encode(octets: &[u8]) -> Zeroizing<String> {
    if octets.is_empty() {
        return Zeroizing::new("=".to_owned());
    }
    base64::encode(octets)
}

fn line(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut line = Zeroizing::new(Vec::with_capacity(text.len() + 2));
    line.extend_from_slice(text);
    line.extend_from_slice(b"\r\n");
    line
}
