//! What unknown users get instead of keys: something that looks the same each time, and that nothing fits.

use crate::sasl::scram::{ScramHash, ScramStored};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The secret from which stand-ins are made. One is made when the process starts and given to every load, so that
/// a reload of the accounts changes no unknown user's salt (rule B74).
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StandInKey([u8; 32]);

impl StandInKey {
    /// Takes 32 random octets.
    #[must_use]
    pub fn new(random: [u8; 32]) -> Self {
        Self(random)
    }

    /// Draws 32 random octets.
    ///
    /// # Errors
    /// When the system has none to give.
    pub fn draw() -> Result<Self, getrandom::Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        Ok(Self(random))
    }

    /// The salt of a user that has none of its own; `length` is at most 64.
    pub(super) fn salt(&self, hash: ScramHash, user: &str, length: usize) -> Vec<u8> {
        let mut salt = self.octets("salt", hash, user);
        salt.extend(self.octets("salt, second half", hash, user));
        salt.truncate(length);
        salt
    }

    /// Keys for a user that must not succeed.
    pub(super) fn keys(
        &self,
        hash: ScramHash,
        user: &str,
        iterations: u32,
        salt: Vec<u8>,
    ) -> ScramStored {
        let key = |purpose| {
            let mut key = self.octets(purpose, hash, user);
            key.truncate(hash.length());
            key
        };
        ScramStored {
            iterations,
            salt,
            stored_key: key("stored key"),
            server_key: key("server key"),
        }
    }

    fn octets(&self, purpose: &str, hash: ScramHash, user: &str) -> Vec<u8> {
        let hash: &[u8] = match hash {
            ScramHash::Sha1 => b"\0SHA-1\0",
            ScramHash::Sha256 => b"\0SHA-256\0",
        };
        // HMAC takes a key of any length; without one there would be no keys, and nobody could log in.
        <Hmac<Sha256> as Mac>::new_from_slice(&self.0).map_or_else(
            |_| Vec::new(),
            |mac| {
                mac.chain_update(purpose)
                    .chain_update(hash)
                    .chain_update(user)
                    .finalize()
                    .into_bytes()
                    .to_vec()
            },
        )
    }
}

impl fmt::Debug for StandInKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StandInKey(..)")
    }
}
