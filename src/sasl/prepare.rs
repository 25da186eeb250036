//! SASLprep (RFC 4013): one spelling for names and passwords that look the same.

use super::{SaslError, Secret};

/// Longest user name or password in octets. RFC 4616 section 2 wants 255 accepted (rule B64); more only
/// helps an attacker, since the work of a password hash grows with its length.
pub(super) const LONGEST: usize = 255;

/// Prepares a user name or a password (rule B41).
///
/// # Errors
/// [`SaslError::Unusable`] naming `what` when the text is empty before or after, is longer than 255 octets,
/// or has characters that SASLprep forbids (control characters among them).
pub fn prepare(what: &'static str, text: &str) -> Result<Secret, SaslError> {
    let unusable = SaslError::Unusable(what);
    if text.len() > LONGEST {
        return Err(unusable);
    }
    let prepared = stringprep::saslprep(text).map_err(|_| unusable)?;
    if prepared.is_empty() {
        return Err(unusable);
    }
    Ok(Secret::from(prepared.into_owned()))
}
