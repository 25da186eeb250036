//! What is asked of rsasl: one mechanism at a time, and channel binding only as [`Channel`] says.

use super::ScramHash;
use crate::sasl::binding::TYPE;
use crate::sasl::{ChannelBinding, SaslError};
use rsasl::callback::{Context, Request};
use rsasl::mechanisms::scram::{SCRAM_SHA1, SCRAM_SHA1_PLUS, SCRAM_SHA256, SCRAM_SHA256_PLUS};
use rsasl::prelude::{Mechanism, Registry, SessionError};
use rsasl::property::{ChannelBindingName, ChannelBindings};
use std::slice;

/// One mechanism and a registry of nothing else: left to choose, rsasl would take another form of the same digest.
pub(super) fn mechanism(hash: ScramHash, plus: bool) -> (&'static Mechanism, Registry) {
    let mechanism = match (hash, plus) {
        (ScramHash::Sha1, false) => &SCRAM_SHA1,
        (ScramHash::Sha1, true) => &SCRAM_SHA1_PLUS,
        (ScramHash::Sha256, false) => &SCRAM_SHA256,
        (ScramHash::Sha256, true) => &SCRAM_SHA256_PLUS,
    };
    (
        mechanism,
        Registry::with_mechanisms(slice::from_ref(mechanism)),
    )
}

/// Answers rsasl's question for the binding, if it asks for the one type there is.
pub(super) fn bind(
    binding: Option<&ChannelBinding>,
    context: &Context<'_>,
    request: &mut Request<'_>,
) -> Result<(), SessionError> {
    if let Some(binding) = binding
        && context.get_ref::<ChannelBindingName>() == Some(TYPE)
    {
        request.satisfy::<ChannelBindings>(binding.octets())?;
    }
    Ok(())
}

pub(super) fn unavailable<E>(_: E) -> SaslError {
    SaslError::Unavailable
}
