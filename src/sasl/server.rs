//! The provider's half of an exchange.
//!
//! [`ServerExchange::initial`] takes what came with the `AUTH` command, [`ServerExchange::response`] each line
//! after it. PLAIN, LOGIN and CRAM-MD5 end in [`Evidence`], which the accounts judge; SCRAM proves the user
//! itself from the keys that [`ScramKeys`] looks up.

use super::cram_md5::ChallengeSeed;
use super::scram::ServerScram;
pub use super::scram::{ScramHash, ScramStored};
use super::{ChannelBinding, Mechanism, SaslError, Secret, cram_md5, external, plain};
use std::fmt;
use std::sync::Arc;

/// Where the stored keys of SCRAM come from.
pub trait ScramKeys: Send + Sync + fmt::Debug {
    /// The stored keys of a user (prepared name). For a user that does not exist, or cannot use SCRAM, this is a
    /// stable fake: the same salt and iterations each time, and keys that no password fits (rule B74).
    fn lookup(&self, user: &str, hash: ScramHash) -> ScramStored;
}

/// What a client has shown, to be judged by the accounts. Debug output names the user and nothing else
/// (rule C16).
#[derive(Clone, PartialEq, Eq)]
pub enum Evidence {
    /// PLAIN and LOGIN: a name and a password, both prepared.
    Password {
        /// Whom the client wants to act for; only the user itself is permitted (rule B65).
        authzid: Option<String>,
        /// Who the client says it is.
        authcid: String,
        /// The password it shows.
        password: Secret,
    },
    /// EXTERNAL: nothing, for the certificate of the connection says who the client is (rule B75).
    External {
        /// Whom the client wants to act for; `None` leaves it to the certificate.
        authzid: Option<String>,
    },
    /// CRAM-MD5: a digest of the password and our challenge.
    CramMd5 {
        /// Who the client says it is, prepared.
        user: String,
        /// The challenge it was given.
        challenge: Vec<u8>,
        /// 32 lower-case hexadecimal digits.
        digest_hex: String,
    },
}

/// What comes next. Debug output does not show what is sent (rule C16).
#[derive(Clone, PartialEq, Eq)]
pub enum ServerStep {
    /// Send this challenge in a 334 (it may be empty, rule B25) and give the answer to `response`.
    Challenge(Vec<u8>),
    /// The exchange is over; the accounts judge this.
    Verify(Evidence),
    /// The exchange is over; the user with this name has proved itself, and the server has proved itself to it.
    Verified(String),
    /// The exchange is over without success.
    Rejected(SaslError),
}

/// One run of one mechanism.
pub struct ServerExchange {
    mechanism: Mechanism,
    challenge: Vec<u8>,
    state: State,
}

enum State {
    Start,
    LoginName,
    LoginPassword(String),
    Scram(Box<ServerScram>),
    Over,
}

impl ServerExchange {
    /// Begins an exchange. `binding` is there when -PLUS is offered on this connection: then a client that says it could
    /// not see that is refused (rule B71).
    ///
    /// # Errors
    /// None of today's mechanisms can fail here; trouble with SCRAM's set-up is
    /// [`Rejected`](ServerStep::Rejected) with [`SaslError::Unavailable`] at its first message.
    pub fn start(
        mechanism: Mechanism,
        seed: &ChallengeSeed,
        keys: Arc<dyn ScramKeys>,
        binding: Option<&ChannelBinding>,
    ) -> Result<Self, SaslError> {
        let scram = |hash| {
            let plus = mechanism.is_plus();
            State::Scram(Box::new(ServerScram::new(
                hash,
                plus,
                binding.cloned(),
                keys,
            )))
        };
        Ok(Self {
            mechanism,
            challenge: match mechanism {
                Mechanism::CramMd5 => cram_md5::challenge(seed),
                _ => Vec::new(),
            },
            state: ScramHash::of(mechanism).map_or(State::Start, scram),
        })
    }

    /// The mechanism of this exchange.
    #[must_use]
    pub fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the initial response of the `AUTH` command: `None` when there was none, `Some` of nothing for `=`.
    pub fn initial(&mut self, response: Option<&[u8]>) -> ServerStep {
        match (self.mechanism, response) {
            (Mechanism::CramMd5, Some(_)) => {
                self.state = State::Over;
                ServerStep::Rejected(SaslError::InitialResponseNotAllowed)
            }
            (Mechanism::CramMd5, None) => ServerStep::Challenge(self.challenge.clone()),
            (Mechanism::Login, None) => {
                self.state = State::LoginName;
                ServerStep::Challenge(b"Username:".to_vec())
            }
            (_, None) => ServerStep::Challenge(Vec::new()),
            (_, Some(response)) => self.response(response),
        }
    }

    /// Takes the answer to a challenge.
    pub fn response(&mut self, response: &[u8]) -> ServerStep {
        let state = std::mem::replace(&mut self.state, State::Over);
        let step = match (state, self.mechanism) {
            (State::Start, Mechanism::Plain) => self.plain(response),
            (State::Start, Mechanism::CramMd5) => self.cram_md5(response),
            (State::Start, Mechanism::External) => external::parse(response)
                .map(|authzid| ServerStep::Verify(Evidence::External { authzid })),
            (State::Start | State::LoginName, _) => self.login_name(response),
            (State::LoginPassword(user), _) => login_password(&user, response),
            (State::Scram(mut scram), _) => {
                let step = scram.response(response);
                if matches!(step, Ok(ServerStep::Challenge(_))) {
                    self.state = State::Scram(scram);
                }
                step
            }
            (State::Over, _) => Err(SaslError::Over),
        };
        step.unwrap_or_else(ServerStep::Rejected)
    }

    fn plain(&self, response: &[u8]) -> Result<ServerStep, SaslError> {
        let plain::Plain {
            authzid,
            authcid,
            password,
        } = plain::parse(response)?;
        Ok(ServerStep::Verify(Evidence::Password {
            authzid,
            authcid,
            password,
        }))
    }

    fn cram_md5(&mut self, response: &[u8]) -> Result<ServerStep, SaslError> {
        let (user, digest_hex) = cram_md5::parse(response)?;
        Ok(ServerStep::Verify(Evidence::CramMd5 {
            user,
            challenge: std::mem::take(&mut self.challenge),
            digest_hex,
        }))
    }

    fn login_name(&mut self, response: &[u8]) -> Result<ServerStep, SaslError> {
        // Whether the name can be anybody's is said after the password, as for any wrong name.
        self.state = State::LoginPassword(plain::utf8(response)?.to_owned());
        Ok(ServerStep::Challenge(b"Password:".to_vec()))
    }
}

fn login_password(user: &str, response: &[u8]) -> Result<ServerStep, SaslError> {
    let password = plain::utf8(response)?;
    let user = plain::denied(super::prepare("user name", user))?;
    Ok(ServerStep::Verify(Evidence::Password {
        authzid: None,
        authcid: user.expose().to_owned(),
        password: plain::denied(super::prepare("password", password))?,
    }))
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password {
                authzid, authcid, ..
            } => f
                .debug_struct("Password")
                .field("authzid", authzid)
                .field("authcid", authcid)
                .finish_non_exhaustive(),
            Self::External { authzid } => f
                .debug_struct("External")
                .field("authzid", authzid)
                .finish(),
            Self::CramMd5 { user, .. } => f
                .debug_struct("CramMd5")
                .field("user", user)
                .finish_non_exhaustive(),
        }
    }
}

impl fmt::Debug for ServerStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Challenge(challenge) => write!(f, "Challenge({} octets)", challenge.len()),
            Self::Verify(evidence) => f.debug_tuple("Verify").field(evidence).finish(),
            Self::Verified(user) => f.debug_tuple("Verified").field(user).finish(),
            Self::Rejected(error) => f.debug_tuple("Rejected").field(error).finish(),
        }
    }
}

impl fmt::Debug for ServerExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerExchange")
            .field("mechanism", &self.mechanism)
            .finish_non_exhaustive()
    }
}
