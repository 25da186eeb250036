//! SCRAM for the provider.

use super::library::{bind, mechanism, unavailable};
use super::shape::Flag;
use super::{ScramHash, ScramStored, shape};
use crate::sasl::binding::TYPE;
use crate::sasl::server::{ScramKeys, ServerStep};
use crate::sasl::{ChannelBinding, SaslError};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::prelude::{SASLConfig, SASLServer, Session, SessionError, State, Validation};
use rsasl::validate::{Validate, ValidationError};
use std::fmt;
use std::sync::Arc;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The server's side of one exchange.
pub(in crate::sasl) struct ServerScram {
    hash: ScramHash,
    /// The client asked for -PLUS.
    plus: bool,
    /// There when -PLUS is offered on this connection.
    binding: Option<ChannelBinding>,
    keys: Arc<dyn ScramKeys>,
    stage: Stage,
}

enum Stage {
    First,
    Final {
        session: Box<Session<Proof>>,
        user: String,
        /// What the client has to sign about the channel: its own header, and the binding.
        channel: Zeroizing<Vec<u8>>,
    },
    /// The proof was right and our signature is on its way; the client still has to say nothing (rule B69).
    Proven(String),
    Over,
}

impl ServerScram {
    pub(in crate::sasl) fn new(
        hash: ScramHash,
        plus: bool,
        binding: Option<ChannelBinding>,
        keys: Arc<dyn ScramKeys>,
    ) -> Self {
        Self {
            hash,
            plus,
            binding,
            keys,
            stage: Stage::First,
        }
    }

    pub(in crate::sasl) fn response(&mut self, response: &[u8]) -> Result<ServerStep, SaslError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::First => self.first(response),
            Stage::Final {
                session,
                user,
                channel,
            } => self.last(*session, user, &channel, response),
            Stage::Proven(user) if response.is_empty() => Ok(ServerStep::Verified(user)),
            Stage::Proven(_) => Err(SaslError::Malformed(
                "after the server's signature an empty line is due",
            )),
            Stage::Over => Err(SaslError::Over),
        }
    }

    fn first(&mut self, message: &[u8]) -> Result<ServerStep, SaslError> {
        let shape::ClientFirst {
            flag,
            header,
            authzid,
            user,
        } = shape::client_first(message)?;
        let bound = self.bound(flag)?;
        let channel = [header.as_bytes(), bound.map_or(&[], ChannelBinding::octets)].concat();
        // Before the keys are looked up: nothing about the user shows (rule B65).
        if authzid.is_some_and(|authzid| authzid != user) {
            return Err(SaslError::Denied);
        }
        let stored = self.keys.lookup(&user, self.hash);
        let mut session = Box::new(session(self.hash, bound.cloned(), stored)?);
        let mut challenge = Vec::new();
        match session.step(Some(message), &mut challenge) {
            Ok(State::Running) => {}
            Ok(State::Finished(_)) | Err(_) => return Err(SaslError::Denied),
        }
        self.stage = Stage::Final {
            session,
            user,
            channel: Zeroizing::new(channel),
        };
        Ok(ServerStep::Challenge(challenge))
    }

    /// What the exchange has to be bound to, by what the client says and what it could have known. All of this comes
    /// before the user is looked up.
    fn bound(&self, flag: Flag<'_>) -> Result<Option<&ChannelBinding>, SaslError> {
        match (flag, self.plus, &self.binding) {
            (Flag::Used(TYPE), true, Some(binding)) => Ok(Some(binding)),
            // Another type than the one there is (rules B71, B72).
            (Flag::Used(_), true, _) => {
                Err(SaslError::ChannelBinding("the type is not tls-exporter"))
            }
            (Flag::Unable | Flag::NotOffered, true, _) => Err(SaslError::ChannelBinding(
                "-PLUS was asked for and is not used",
            )),
            (Flag::Used(_), false, _) => Err(SaslError::ChannelBinding(
                "it is used without having asked for -PLUS",
            )),
            // Only a client from whom -PLUS was hidden says so (rule B71).
            (Flag::NotOffered, false, Some(_)) => Err(SaslError::ChannelBinding(
                "the client did not see that -PLUS is offered",
            )),
            (Flag::NotOffered, false, None) | (Flag::Unable, false, _) => Ok(None),
        }
    }

    fn last(
        &mut self,
        mut session: Session<Proof>,
        user: String,
        channel: &[u8],
        message: &[u8],
    ) -> Result<ServerStep, SaslError> {
        let said = shape::client_final(message)?;
        // rsasl looks at this too (rule B70), and says no more than that the login failed. An operator has to know
        // that somebody stands in between.
        if self.plus && !bool::from(STANDARD.encode(channel).as_bytes().ct_eq(said.as_bytes())) {
            return Err(SaslError::ChannelBinding(
                "the client has another TLS connection than this one",
            ));
        }
        let mut signature = Vec::new();
        // rsasl also finishes after a wrong password, with an error text for the client; it is not sent, the
        // 535 says enough. Only the validation counts.
        session
            .step(Some(message), &mut signature)
            .map_err(|_| SaslError::Denied)?;
        session.validation().ok_or(SaslError::Denied)?;
        self.stage = Stage::Proven(user);
        Ok(ServerStep::Challenge(signature))
    }
}

impl fmt::Debug for ServerScram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerScram")
            .field("hash", &self.hash)
            .finish_non_exhaustive()
    }
}

/// What rsasl leaves behind when, and only when, the client's proof was right.
struct Proof;

impl Validation for Proof {
    type Value = ();
}

/// Answers rsasl's two questions.
struct Answers {
    stored: ScramStored,
    binding: Option<ChannelBinding>,
}

impl SessionCallback for Answers {
    fn callback(
        &self,
        _: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        bind(self.binding.as_ref(), context, request)?;
        let stored = &self.stored;
        request.satisfy::<ScramStoredPassword<'_>>(&ScramStoredPassword::new(
            stored.iterations,
            &stored.salt,
            &stored.stored_key,
            &stored.server_key,
        ))?;
        Ok(())
    }

    fn validate(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        validate: &mut Validate<'_>,
    ) -> Result<(), ValidationError> {
        validate.finalize::<Proof>(());
        Ok(())
    }
}

fn session(
    hash: ScramHash,
    binding: Option<ChannelBinding>,
    stored: ScramStored,
) -> Result<Session<Proof>, SaslError> {
    let (mechanism, registry) = mechanism(hash, binding.is_some());
    let config = SASLConfig::builder()
        .with_registry(registry)
        .with_callback(Answers { stored, binding })
        .map_err(unavailable)?;
    SASLServer::<Proof>::new(config)
        .start_suggested(mechanism.mechanism)
        .map_err(unavailable)
}
