//! The shape of SCRAM's four messages (RFC 5802 section 7), checked before rsasl sees them.
//!
//! Extensions are refused: none is defined, and rsasl would leave them out of what both sides sign.

use crate::sasl::plain::denied;
use crate::sasl::{SaslError, prepare};

/// Who speaks, from a client-first message; names are unescaped and prepared.
#[derive(Debug)]
pub(super) struct ClientFirst<'m> {
    pub(super) flag: Flag<'m>,
    /// Everything before the user's name, as it stood there: the client signs it (rule B70).
    pub(super) header: &'m str,
    pub(super) authzid: Option<String>,
    pub(super) user: String,
}

/// What a client says about channel binding (RFC 5802 6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flag<'m> {
    /// `n`: it cannot bind.
    Unable,
    /// `y`: it could, and thinks that we cannot.
    NotOffered,
    /// `p=` and the type.
    Used(&'m str),
}

/// `n,a=authzid,n=user,r=nonce` (rule B70).
pub(super) fn client_first(message: &[u8]) -> Result<ClientFirst<'_>, SaslError> {
    let [first, authzid, user, nonce] = fields(message)?;
    let flag = match first {
        "n" => Flag::Unable,
        "y" => Flag::NotOffered,
        _ => Flag::Used(
            first
                .strip_prefix("p=")
                .filter(|name| is_type(name))
                .ok_or(SaslError::Malformed(
                    "the message must begin with n, y or p= and a type",
                ))?,
        ),
    };
    let header = std::str::from_utf8(message)
        .ok()
        .and_then(|text| text.get(..first.len() + authzid.len() + 2))
        .unwrap_or_default();
    let authzid = match authzid {
        "" => None,
        field => Some(name(value(field, "a=")?)?),
    };
    let user = name(value(user, "n=")?)?;
    printable(value(nonce, "r=")?)?;
    Ok(ClientFirst {
        flag,
        header,
        authzid,
        user,
    })
}

/// `c=binding,r=nonce,p=proof`; gives the binding, in base64.
pub(super) fn client_final(message: &[u8]) -> Result<&str, SaslError> {
    let [binding, nonce, proof] = fields(message)?;
    let binding = value(binding, "c=")?;
    base64(binding)?;
    printable(value(nonce, "r=")?)?;
    base64(value(proof, "p=")?)?;
    Ok(binding)
}

/// `r=nonce,s=salt,i=iterations`; gives the iterations.
pub(super) fn server_first(message: &[u8]) -> Result<u32, SaslError> {
    let [nonce, salt, iterations] = fields(message)?;
    printable(value(nonce, "r=")?)?;
    base64(value(salt, "s=")?)?;
    let digits = value(iterations, "i=")?;
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(SaslError::Malformed("the iteration count is not a number"));
    }
    // Only a number too large for 32 bits fails here.
    Ok(digits.parse().unwrap_or(u32::MAX))
}

/// `v=signature`, or `e=error` from a server that speaks up before it refuses.
pub(super) fn server_final(message: &[u8]) -> Result<(), SaslError> {
    let [field] = fields(message)?;
    if field.starts_with("e=") {
        return Err(SaslError::Denied);
    }
    base64(value(field, "v=")?)
}

/// Exactly so many fields between commas.
fn fields<const N: usize>(message: &[u8]) -> Result<[&str; N], SaslError> {
    let text = std::str::from_utf8(message)
        .map_err(|_| SaslError::Malformed("the message is not UTF-8"))?;
    if text.split(',').any(|field| field.starts_with("m=")) {
        return Err(SaslError::Malformed("a mandatory extension is not known"));
    }
    let fields: Vec<&str> = text.split(',').take(N + 1).collect();
    fields
        .try_into()
        .map_err(|_| SaslError::Malformed("too few fields, or an extension"))
}

/// A binding type's name (RFC 5056 7).
fn is_type(name: &str) -> bool {
    let allowed = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-');
    !name.is_empty() && name.bytes().all(allowed)
}

fn value<'m>(field: &'m str, key: &str) -> Result<&'m str, SaslError> {
    field
        .strip_prefix(key)
        .filter(|value| !value.is_empty())
        .ok_or(SaslError::Malformed("a field is missing or empty"))
}

/// A name in which a comma is written `=2C` and an equals sign `=3D`; any other `=` is wrong (rule B70).
fn name(escaped: &str) -> Result<String, SaslError> {
    let mut parts = escaped.split('=');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (char, rest) = if let Some(rest) = part.strip_prefix("2C") {
            (',', rest)
        } else if let Some(rest) = part.strip_prefix("3D") {
            ('=', rest)
        } else {
            return Err(SaslError::Malformed("a name has = without 2C or 3D"));
        };
        plain.push(char);
        plain.push_str(rest);
    }
    Ok(denied(prepare("user name", &plain))?.expose().to_owned())
}

fn printable(nonce: &str) -> Result<(), SaslError> {
    if nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(SaslError::Malformed(
            "a nonce has characters that are not printable",
        ))
    }
}

fn base64(text: &str) -> Result<(), SaslError> {
    let digits = text.trim_end_matches('=');
    let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    if text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && digits.bytes().all(alphabet)
    {
        Ok(())
    } else {
        Err(SaslError::Malformed("a field is not base64"))
    }
}
