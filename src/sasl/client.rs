//! The customer's half of an exchange.
//!
//! [`ClientExchange::initial`] gives what goes with the `AUTH` command, [`ClientExchange::challenge`] the answer to
//! each 334, and [`ClientExchange::finish`] decides whether a 235 may be believed.

use super::scram::{ClientScram, ScramHash};
use super::{Channel, Mechanism, SaslError, Secret, cram_md5, plain, prepare};
use std::fmt;
use zeroize::Zeroizing;

pub use super::scram::{ITERATIONS_MAX, ITERATIONS_MIN};

/// One run of one mechanism with one user and password.
pub struct ClientExchange {
    mechanism: Mechanism,
    user: String,
    password: Secret,
    state: State,
}

enum State {
    /// The next challenge asks for the first message.
    Start,
    /// LOGIN: the name has been sent.
    LoginName,
    Scram(Box<ClientScram>),
    /// Everything has been said; a 235 may come.
    Said,
    /// Something was wrong; no 235 is believed any more.
    Failed,
}

impl ClientExchange {
    /// Begins an exchange on a connection to which nothing can be bound.
    ///
    /// # Errors
    /// As [`start_on`](Self::start_on).
    pub fn start(mechanism: Mechanism, user: &str, password: &Secret) -> Result<Self, SaslError> {
        Self::start_on(&Channel::Unbound, mechanism, user, password)
    }

    /// Begins an exchange. EXTERNAL shows neither user nor password; both may be empty for it.
    ///
    /// # Errors
    /// [`SaslError::Unusable`] when user or password cannot be sent (rule B41), [`SaslError::Unavailable`] when
    /// SCRAM cannot be set up, or -PLUS has nothing to be bound to.
    pub fn start_on(
        channel: &Channel,
        mechanism: Mechanism,
        user: &str,
        password: &Secret,
    ) -> Result<Self, SaslError> {
        if mechanism == Mechanism::External {
            return Ok(Self {
                mechanism,
                user: user.to_owned(),
                password: Secret::from(""),
                state: State::Start,
            });
        }
        let user = prepare("user name", user)?.expose().to_owned();
        let password = prepare("password", password.expose())?;
        let state = match ScramHash::of(mechanism) {
            Some(_) if mechanism.is_plus() != matches!(channel, Channel::Bound(_)) => {
                return Err(SaslError::Unavailable);
            }
            Some(hash) => {
                State::Scram(Box::new(ClientScram::new(hash, channel, &user, &password)?))
            }
            None => State::Start,
        };
        Ok(Self {
            mechanism,
            user,
            password,
            state,
        })
    }

    /// The mechanism of this exchange.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The initial response, for mechanisms in which the client speaks first; nothing for the others. When it is
    /// too long for the command line (rule B30), send `AUTH` without it and answer the empty 334 with this value
    /// instead of asking [`challenge`](Self::challenge).
    ///
    /// # Errors
    /// [`SaslError::Over`] when it has been asked for already, SCRAM's own errors otherwise.
    pub fn initial(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, SaslError> {
        match (self.take(), self.mechanism) {
            (State::Start, Mechanism::Plain) => {
                self.state = State::Said;
                Ok(Some(plain::write(&self.user, &self.password)))
            }
            // The certificate says who we are; the empty response asks for nothing beyond (rule B75).
            (State::Start, Mechanism::External) => {
                self.state = State::Said;
                Ok(Some(Zeroizing::default()))
            }
            (State::Start, _) => {
                self.state = State::Start;
                Ok(None)
            }
            (State::Scram(mut scram), _) => {
                let message = scram.first()?;
                self.state = State::Scram(scram);
                Ok(Some(message))
            }
            _ => Err(SaslError::Over),
        }
    }

    /// The answer to a 334. After an error the caller cancels with `*` (rule B29).
    ///
    /// # Errors
    /// [`SaslError::Malformed`], [`SaslError::Iterations`] and [`SaslError::ServerNotVerified`] for a server that
    /// misbehaves, [`SaslError::Over`] when it asks once more than the mechanism has answers.
    pub fn challenge(&mut self, challenge: &[u8]) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        match (self.take(), self.mechanism) {
            (State::Start, Mechanism::CramMd5) => {
                self.state = State::Said;
                Ok(cram_md5::write(&self.user, &self.password, challenge))
            }
            // The texts of LOGIN's challenges were never fixed: the order counts.
            (State::Start, Mechanism::Login) => {
                self.state = State::LoginName;
                Ok(Zeroizing::new(self.user.as_bytes().to_vec()))
            }
            (State::LoginName, _) => {
                self.state = State::Said;
                Ok(Zeroizing::new(self.password.expose().as_bytes().to_vec()))
            }
            (State::Scram(mut scram), _) => {
                let answer = scram.challenge(challenge)?;
                self.state = State::Scram(scram);
                Ok(answer)
            }
            (State::Start | State::Said | State::Failed, _) => Err(SaslError::Over),
        }
    }

    /// A 235 arrived: may it be believed? With SCRAM only after the server has proved itself (rule B69).
    ///
    /// # Errors
    /// [`SaslError::ServerNotVerified`] when the server agrees too early.
    pub fn finish(&mut self) -> Result<(), SaslError> {
        match self.take() {
            State::Said => Ok(()),
            State::Scram(scram) if scram.server_verified() => Ok(()),
            _ => Err(SaslError::ServerNotVerified),
        }
    }

    /// The strongest mechanism that is offered and that we have the means for. Names that are not ours are passed over.
    #[must_use]
    pub fn strongest(offered: &[String], means: &Means<'_>) -> Option<Mechanism> {
        offered
            .iter()
            .filter_map(|name| name.parse().ok())
            .filter(|mechanism| means.suffice(*mechanism))
            .min()
    }

    fn take(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Failed)
    }
}

/// What a client can use on a connection as it is.
#[derive(Clone, Copy, Debug)]
pub struct Means<'a> {
    /// The mechanisms the operator allows.
    pub allowed: &'a [Mechanism],
    /// There is a password: for everything but EXTERNAL.
    pub password: bool,
    /// The password itself may travel (rule B35).
    pub plaintext: bool,
    /// We have shown a certificate in the handshake: for EXTERNAL (rule B75).
    pub certificate: bool,
    /// The connection has a channel binding: for -PLUS.
    pub binding: bool,
}

impl Means<'_> {
    /// Whether these are enough for a mechanism.
    #[must_use]
    pub fn suffice(&self, mechanism: Mechanism) -> bool {
        let shown = if mechanism == Mechanism::External {
            self.certificate
        } else {
            self.password
        };
        self.allowed.contains(&mechanism)
            && shown
            && (self.plaintext || !mechanism.is_plaintext())
            && (self.binding || !mechanism.is_plus())
    }
}

impl fmt::Debug for ClientExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientExchange")
            .field("mechanism", &self.mechanism)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}
