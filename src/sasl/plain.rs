//! PLAIN (RFC 4616): `[authzid] NUL authcid NUL password`.

use super::prepare::{LONGEST, prepare};
use super::{SaslError, Secret};
use zeroize::Zeroizing;

/// The three fields of a PLAIN message, prepared.
#[derive(Debug)]
pub struct Plain {
    /// Whom the client wants to act for; `None` when it did not say.
    pub authzid: Option<String>,
    /// Who the client is.
    pub authcid: String,
    /// The password it shows.
    pub password: Secret,
}

/// Reads a PLAIN message (rule B64).
///
/// # Errors
/// [`SaslError::Malformed`] unless there are exactly two NULs and three UTF-8 fields of at most 255 octets;
/// [`SaslError::Denied`] when user or password is empty or cannot be prepared.
pub fn parse(message: &[u8]) -> Result<Plain, SaslError> {
    let fields: Vec<&[u8]> = message.split(|byte| *byte == 0).take(4).collect();
    let &[authzid, authcid, password] = fields.as_slice() else {
        return Err(SaslError::Malformed("PLAIN has exactly two NUL octets"));
    };
    let text = |field| utf8(field);
    let (authzid, authcid, password) = (text(authzid)?, text(authcid)?, text(password)?);
    let authzid = match authzid {
        "" => None,
        name => Some(denied(prepare("authorization identity", name))?),
    };
    Ok(Plain {
        authzid: authzid.map(|name| name.expose().to_owned()),
        authcid: denied(prepare("user name", authcid))?.expose().to_owned(),
        password: denied(prepare("password", password))?,
    })
}

/// Writes a PLAIN message without authorization identity, so that it follows from the user (rule B65).
#[must_use]
pub fn write(user: &str, password: &Secret) -> Zeroizing<Vec<u8>> {
    // The capacity is exact: growing would leave a copy of the password behind.
    let length = user.len() + password.expose().len() + 2;
    let mut message = Zeroizing::new(Vec::with_capacity(length));
    message.push(0);
    message.extend_from_slice(user.as_bytes());
    message.push(0);
    message.extend_from_slice(password.expose().as_bytes());
    message
}

/// One field from the wire: UTF-8 and bounded.
pub(super) fn utf8(field: &[u8]) -> Result<&str, SaslError> {
    if field.len() > LONGEST {
        return Err(SaslError::Malformed("a field has more than 255 octets"));
    }
    std::str::from_utf8(field).map_err(|_| SaslError::Malformed("a field is not UTF-8"))
}

/// What a peer sends that cannot be prepared can belong to nobody: a failed login, not a syntax error.
pub(super) fn denied(prepared: Result<Secret, SaslError>) -> Result<Secret, SaslError> {
    prepared.map_err(|_| SaslError::Denied)
}
