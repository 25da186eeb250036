//! SCRAM for the provider.

use super::{ScramHash, ScramStored, shape};
use crate::sasl::SaslError;
use crate::sasl::server::{ScramKeys, ServerStep};
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::mechanisms::scram::properties::ScramStoredPassword;
use rsasl::mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA256};
use rsasl::prelude::{
    Mechanism, Registry, SASLConfig, SASLServer, Session, SessionError, State, Validation,
};
use rsasl::validate::{Validate, ValidationError};
use std::fmt;
use std::sync::Arc;

/// The server's side of one exchange.
pub(in crate::sasl) struct ServerScram {
    hash: ScramHash,
    keys: Arc<dyn ScramKeys>,
    stage: Stage,
}

enum Stage {
    First,
    Final {
        session: Box<Session<Proof>>,
        user: String,
    },
    /// The proof was right and our signature is on its way; the client still has to say nothing (rule B69).
    Proven(String),
    Over,
}

impl ServerScram {
    pub(in crate::sasl) fn new(hash: ScramHash, keys: Arc<dyn ScramKeys>) -> Self {
        Self {
            hash,
            keys,
            stage: Stage::First,
        }
    }

    pub(in crate::sasl) fn response(&mut self, response: &[u8]) -> Result<ServerStep, SaslError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::First => self.first(response),
            Stage::Final { session, user } => self.last(*session, user, response),
            Stage::Proven(user) if response.is_empty() => Ok(ServerStep::Verified(user)),
            Stage::Proven(_) => Err(SaslError::Malformed(
                "after the server's signature an empty line is due",
            )),
            Stage::Over => Err(SaslError::Over),
        }
    }

    fn first(&mut self, message: &[u8]) -> Result<ServerStep, SaslError> {
        let shape::ClientFirst { authzid, user } = shape::client_first(message)?;
        // Before the keys are looked up: nothing about the user shows (rule B65).
        if authzid.is_some_and(|authzid| authzid != user) {
            return Err(SaslError::Denied);
        }
        let stored = self.keys.lookup(&user, self.hash);
        let mut session = Box::new(session(self.hash, stored)?);
        let mut challenge = Vec::new();
        match session.step(Some(message), &mut challenge) {
            Ok(State::Running) => {}
            Ok(State::Finished(_)) | Err(_) => return Err(SaslError::Denied),
        }
        self.stage = Stage::Final { session, user };
        Ok(ServerStep::Challenge(challenge))
    }

    fn last(
        &mut self,
        mut session: Session<Proof>,
        user: String,
        message: &[u8],
    ) -> Result<ServerStep, SaslError> {
        shape::client_final(message)?;
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

/// Answers rsasl's one question.
struct Answers(ScramStored);

impl SessionCallback for Answers {
    fn callback(
        &self,
        _: &SessionData,
        _: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        let stored = &self.0;
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

/// Both mechanisms, without their -PLUS forms: those come with TLS.
pub(super) static MECHANISMS: [Mechanism; 2] = [SCRAM_SHA256, SCRAM_SHA1];

pub(super) fn mechanism(hash: ScramHash) -> &'static Mechanism {
    match hash {
        ScramHash::Sha1 => &SCRAM_SHA1,
        ScramHash::Sha256 => &SCRAM_SHA256,
    }
}

fn session(hash: ScramHash, stored: ScramStored) -> Result<Session<Proof>, SaslError> {
    let config = SASLConfig::builder()
        .with_registry(Registry::with_mechanisms(&MECHANISMS))
        .with_callback(Answers(stored))
        .map_err(|_| SaslError::Unavailable)?;
    SASLServer::<Proof>::new(config)
        .start_suggested(mechanism(hash).mechanism)
        .map_err(|_| SaslError::Unavailable)
}
