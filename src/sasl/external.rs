//! EXTERNAL (RFC 4422 appendix A): nothing is shown, the connection has shown it; only a wish may be said.

use super::plain::{denied, utf8};
use super::{SaslError, prepare};

/// Reads a response: whom the client wants to act for, or nothing (rule B75).
///
/// # Errors
/// [`SaslError::Malformed`] unless it is UTF-8 without NUL of at most 255 octets; [`SaslError::Denied`] for a name that
/// nobody can have.
pub(super) fn parse(response: &[u8]) -> Result<Option<String>, SaslError> {
    let authzid = utf8(response)?;
    if authzid.contains('\0') {
        return Err(SaslError::Malformed("an identity has a NUL octet"));
    }
    if authzid.is_empty() {
        return Ok(None);
    }
    let authzid = denied(prepare("authorization identity", authzid))?;
    Ok(Some(authzid.expose().to_owned()))
}
