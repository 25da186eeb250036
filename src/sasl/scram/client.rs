//! SCRAM for the customer.

use super::library::{bind, mechanism, unavailable};
use super::{ITERATIONS_MAX, ITERATIONS_MIN, ScramHash, shape};
use crate::sasl::{Channel, ChannelBinding, SaslError, Secret};
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::prelude::{SASLClient, SASLConfig, Session, SessionError, State};
use rsasl::property::{AuthId, Password};
use zeroize::Zeroizing;

/// The client's side of one exchange.
pub(in crate::sasl) struct ClientScram {
    session: Session,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Start,
    First,
    Final,
    Verified,
    Over,
}

impl ClientScram {
    pub(in crate::sasl) fn new(
        hash: ScramHash,
        channel: &Channel,
        user: &str,
        password: &Secret,
    ) -> Result<Self, SaslError> {
        let binding = match channel {
            Channel::Bound(binding) => Some(binding.clone()),
            Channel::Unbound | Channel::NotOffered => None,
        };
        let (mechanism, registry) = mechanism(hash, binding.is_some());
        let config = SASLConfig::builder()
            .with_registry(registry)
            .with_callback(Answers {
                user: user.to_owned(),
                password: password.clone(),
                able: *channel != Channel::Unbound,
                binding,
            })
            .map_err(unavailable)?;
        let session = SASLClient::new(config)
            .start_suggested_iter([mechanism.mechanism])
            .map_err(unavailable)?;
        Ok(Self {
            session,
            stage: Stage::Start,
        })
    }

    pub(in crate::sasl) fn first(&mut self) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Start => self.step(None, Stage::First, SaslError::Unavailable),
            _ => Err(SaslError::Over),
        }
    }

    pub(in crate::sasl) fn challenge(
        &mut self,
        challenge: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::First => {
                let iterations = shape::server_first(challenge)?;
                if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
                    return Err(SaslError::Iterations(iterations));
                }
                let bad_nonce = SaslError::Malformed("the server's nonce does not continue ours");
                self.step(Some(challenge), Stage::Final, bad_nonce)
            }
            Stage::Final => {
                shape::server_final(challenge)?;
                // The answer is the empty line (rule B69).
                let wrong = SaslError::ServerNotVerified;
                self.step(Some(challenge), Stage::Verified, wrong)
            }
            Stage::Start | Stage::Verified | Stage::Over => Err(SaslError::Over),
        }
    }

    pub(in crate::sasl) fn server_verified(&self) -> bool {
        self.stage == Stage::Verified
    }

    fn step(
        &mut self,
        input: Option<&[u8]>,
        next: Stage,
        error: SaslError,
    ) -> Result<Zeroizing<Vec<u8>>, SaslError> {
        let mut output = Zeroizing::new(Vec::new());
        match self.session.step(input, &mut *output) {
            // The client finishes with the server's signature and not before.
            Ok(State::Finished(_)) if next == Stage::Verified => {}
            Ok(State::Running) if next != Stage::Verified => {}
            Ok(_) | Err(_) => return Err(error),
        }
        self.stage = next;
        Ok(output)
    }
}

/// Answers rsasl's questions.
struct Answers {
    user: String,
    password: Secret,
    /// The client could bind: without a binding it then says `y` instead of `n` (rule B71).
    able: bool,
    binding: Option<ChannelBinding>,
}

impl SessionCallback for Answers {
    fn enable_channel_binding(&self) -> bool {
        self.able
    }

    fn callback(
        &self,
        _: &SessionData,
        context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        bind(self.binding.as_ref(), context, request)?;
        request
            .satisfy::<AuthId>(&self.user)?
            .satisfy::<Password>(self.password.expose().as_bytes())?;
        Ok(())
    }
}
