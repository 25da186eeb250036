//! Base64 as AUTH has it on the wire (RFC 4954 4, rule B29): strict, nothing is skipped, padding only at the end.

use ::base64::{Engine, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

/// The text is not base64 as RFC 4648 section 4 defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not base64")]
pub struct NotBase64;

/// Decodes one whole text. A blank, a stray `=`, missing padding or a letter outside the alphabet is an error.
///
/// The result is wiped when dropped: it may be a password.
///
/// # Errors
/// [`NotBase64`], without a position: the text may be a secret.
pub fn decode(text: &[u8]) -> Result<Zeroizing<Vec<u8>>, NotBase64> {
    STANDARD
        .decode(text)
        .map(Zeroizing::new)
        .map_err(|_| NotBase64)
}

/// Encodes octets, with padding.
#[must_use]
pub fn encode(octets: &[u8]) -> Zeroizing<String> {
    Zeroizing::new(STANDARD.encode(octets))
}
