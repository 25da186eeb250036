//! CRAM-MD5 (RFC 2195): the answer to a challenge is the user's name and a keyed digest of the challenge.

use super::{SaslError, Secret, plain};
use hmac::{Hmac, Mac};
use md5::Md5;
use sha2::Sha256;
use std::fmt::{self, Write};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What makes a CRAM-MD5 challenge unique (rule B66).
#[derive(Clone)]
pub struct ChallengeSeed {
    /// The provider's host name.
    pub hostname: String,
    /// Seconds since 1970.
    pub unix_time: u64,
    /// Sixteen octets drawn for this connection.
    pub random: [u8; 16],
    /// How many exchanges this connection has begun before.
    pub attempt: u32,
}

impl fmt::Debug for ChallengeSeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChallengeSeed")
            .field("hostname", &self.hostname)
            .field("unix_time", &self.unix_time)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

/// Makes the challenge `<random.timestamp@host>` (rule B66): the same seed gives the same challenge, two
/// attempts of one connection get two, and seeing one does not help to guess the next.
#[must_use]
pub fn challenge(seed: &ChallengeSeed) -> Vec<u8> {
    let mut random = hmac::<Hmac<Sha256>>(&seed.random, &seed.attempt.to_be_bytes());
    random.truncate(16);
    let (random, time, host) = (hex(&random), seed.unix_time, &seed.hostname);
    format!("<{random}.{time}@{host}>").into_bytes()
}

/// The digest that belongs to a challenge, as 32 lower-case hexadecimal digits.
#[must_use]
pub fn digest(password: &Secret, challenge: &[u8]) -> String {
    hex(&hmac::<Hmac<Md5>>(password.expose().as_bytes(), challenge))
}

/// Whether `digest_hex` is the digest of this password and challenge; the comparison takes the same time
/// wherever the difference is (rule C11).
#[must_use]
pub fn matches(password: &Secret, challenge: &[u8], digest_hex: &str) -> bool {
    let expected = digest(password, challenge);
    expected.as_bytes().ct_eq(digest_hex.as_bytes()).into()
}

/// Reads a response: the user's name, prepared, and the digest in lower case.
///
/// # Errors
/// [`SaslError::Malformed`] unless it is UTF-8, a name, a space and 32 hexadecimal digits; the **last** space
/// counts, because names may have some (rule B66). [`SaslError::Denied`] for a name that nobody can have.
pub fn parse(response: &[u8]) -> Result<(String, String), SaslError> {
    let malformed =
        SaslError::Malformed("CRAM-MD5 wants a name, a space and 32 hexadecimal digits");
    let text = std::str::from_utf8(response).map_err(|_| malformed)?;
    let (user, digest) = text.rsplit_once(' ').ok_or(malformed)?;
    if digest.len() != 32 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(malformed);
    }
    let user = plain::denied(super::prepare("user name", user))?;
    Ok((user.expose().to_owned(), digest.to_ascii_lowercase()))
}

/// Writes a response.
#[must_use]
pub fn write(user: &str, password: &Secret, challenge: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(format!("{user} {}", digest(password, challenge)).into_bytes())
}

/// HMAC with any key length; the empty result stands for a failure that HMAC does not have.
fn hmac<M: Mac + hmac::digest::KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    <M as Mac>::new_from_slice(key)
        .map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec())
        .unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        write!(text, "{byte:02x}").unwrap_or_default();
        text
    })
}
