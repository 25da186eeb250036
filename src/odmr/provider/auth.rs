//! AUTH at the provider (RFC 4954): base64 on the wire, raw bytes for the mechanism, and a bound on every attempt.

use super::replies;
use super::{Action, Authenticated, Provider, State, Verdict};
use crate::sasl::cram_md5::ChallengeSeed;
use crate::sasl::server::{ServerExchange, ServerStep};
use crate::sasl::{Mechanism, SaslError};
use crate::smtp::{Line, LineError, Reply, base64};
use std::time::Duration;
use zeroize::Zeroizing;

/// The wait before the first 535; it doubles with each failure.
const FIRST_DELAY: Duration = Duration::from_secs(1);
/// The wait never grows beyond this, so that a customer's patience is not the limit.
const LONGEST_DELAY: Duration = Duration::from_secs(16);

impl Provider {
    /// `AUTH`, in order and well-formed. The mechanism is judged before the initial response (rule B24).
    pub(super) fn auth(&mut self, name: &str, initial: Option<Zeroizing<String>>) -> Action {
        if self.auth_failures >= self.settings.max_auth_failures {
            return Action::Close(replies::too_many_errors());
        }
        let offered = name
            .parse()
            .ok()
            .filter(|mechanism: &Mechanism| self.offered().contains(mechanism));
        let Some(mechanism) = offered else {
            return self.bad(before(), replies::unknown_mechanism());
        };
        let seed = ChallengeSeed {
            hostname: self.settings.hostname.clone(),
            unix_time: self.settings.seed.unix_time,
            random: self.settings.seed.random,
            attempt: self.exchanges,
        };
        self.exchanges = self.exchanges.saturating_add(1);
        let (keys, binding) = (self.settings.keys.clone(), self.binding());
        let started = ServerExchange::start(mechanism, &seed, keys, binding);
        // Begun is spent, whatever comes of it: one binding serves one attempt (RFC 9266 4.1, rule B73). From now on -PLUS
        // is not offered and is answered 504; the other tries of rule B40 are for other mechanisms (conflict X7).
        self.plus_spent |= mechanism.is_plus();
        self.exchange_error = None;
        let Ok(mut exchange) = started else {
            return self.stay(before(), replies::cannot_judge());
        };
        let step = match initial {
            None => exchange.initial(None),
            // A server-first mechanism takes no initial response, whatever is in it (rule B28).
            Some(_) if mechanism.is_server_first() => exchange.initial(Some(&[])),
            // An empty one is written `=` (rule B27).
            Some(text) if text.as_str() == "=" => exchange.initial(Some(&[])),
            Some(text) => match base64::decode(text.as_bytes()) {
                Ok(response) => exchange.initial(Some(&response)),
                Err(_) => return self.failed(replies::not_decodable()),
            },
        };
        self.step(exchange, step)
    }

    /// A line of an exchange: base64, or `*` to give up (rules B26, B29, B31).
    pub(super) fn exchange_line(
        &mut self,
        mut exchange: ServerExchange,
        line: Result<Line, LineError>,
    ) -> Action {
        let line = match line {
            Ok(line) => line,
            Err(LineError::TooLong) => return self.failed(replies::exchange_line_too_long()),
            Err(_) => return self.failed(replies::not_decodable()),
        };
        if line.as_bytes() == b"*" {
            return self.failed(replies::cancelled());
        }
        let Ok(response) = base64::decode(line.as_bytes()) else {
            return self.failed(replies::not_decodable());
        };
        let step = exchange.response(&response);
        self.step(exchange, step)
    }

    /// No mechanism has more than three challenges, so the number of rounds is bounded by the mechanisms themselves.
    fn step(&mut self, exchange: ServerExchange, step: ServerStep) -> Action {
        match step {
            ServerStep::Challenge(challenge) => {
                let reply = replies::challenge(&base64::encode(&challenge));
                self.stay(State::Exchange(exchange), reply)
            }
            ServerStep::Verify(evidence) => {
                self.state = State::Judging(exchange.mechanism());
                Action::Verify(evidence)
            }
            ServerStep::Verified(user) => {
                self.state = State::Judging(exchange.mechanism());
                Action::Access { user }
            }
            ServerStep::Rejected(error) => {
                self.exchange_error = Some(error);
                match error {
                    SaslError::InitialResponseNotAllowed => {
                        self.failed(replies::no_initial_response())
                    }
                    SaslError::Malformed(_) => self.failed(replies::not_decodable()),
                    SaslError::Unavailable => self.stay(before(), replies::cannot_judge()),
                    _ => self.rejected(),
                }
            }
        }
    }

    /// The accounts have spoken.
    pub(super) fn judged(&mut self, mechanism: Mechanism, verdict: Verdict) -> Action {
        match verdict {
            Verdict::Accepted(identity) => {
                let authenticated = Authenticated {
                    identity,
                    mechanism,
                };
                self.stay(
                    State::Authenticated(authenticated),
                    replies::authenticated(),
                )
            }
            Verdict::Rejected => self.rejected(),
            Verdict::Unavailable => self.stay(before(), replies::cannot_judge()),
        }
    }

    /// An attempt that came to nothing: it counts like a wrong password (rule C11).
    fn failed(&mut self, reply: Reply) -> Action {
        self.auth_failures = self.auth_failures.saturating_add(1);
        self.stay(before(), reply)
    }

    /// Wrong credentials: each time the answer takes longer (rule C11).
    fn rejected(&mut self) -> Action {
        let doublings = self.auth_failures.min(8);
        self.auth_failures = self.auth_failures.saturating_add(1);
        self.state = before();
        let delay = FIRST_DELAY
            .saturating_mul(1 << doublings)
            .min(LONGEST_DELAY);
        Action::SayAfter(delay, replies::wrong_credentials())
    }
}

/// AUTH is only taken after EHLO, so that is where a failed one leads back to (rule R5).
fn before() -> State {
    State::Initial { greeted: true }
}
