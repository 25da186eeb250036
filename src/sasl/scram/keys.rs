//! What a server stores for a user: salt, iterations and two keys, from which the password does not follow.

use crate::sasl::{Mechanism, Secret};
use rsasl::mechanisms::scram::tools;
use sha1::Sha1;
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The digest a SCRAM mechanism is built on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SCRAM-SHA-1.
    Sha1,
    /// SCRAM-SHA-256.
    Sha256,
}

impl ScramHash {
    /// The digest of a mechanism, if it is SCRAM.
    #[must_use]
    pub const fn of(mechanism: Mechanism) -> Option<Self> {
        match mechanism {
            Mechanism::ScramSha256Plus | Mechanism::ScramSha256 => Some(Self::Sha256),
            Mechanism::ScramSha1Plus | Mechanism::ScramSha1 => Some(Self::Sha1),
            Mechanism::External | Mechanism::CramMd5 | Mechanism::Plain | Mechanism::Login => None,
        }
    }

    /// Length of the digest, and so of either key, in octets.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// The stored form of a password (RFC 5802 section 3). Not the password, but enough to play the server.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ScramStored {
    /// Rounds of the password hash.
    pub iterations: u32,
    /// The salt, raw.
    pub salt: Vec<u8>,
    /// StoredKey, as long as the digest.
    pub stored_key: Vec<u8>,
    /// ServerKey, as long as the digest.
    pub server_key: Vec<u8>,
}

impl fmt::Debug for ScramStored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramStored")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Computes what to store for a (prepared) password: as much work as `iterations` says.
#[must_use]
pub fn derive(hash: ScramHash, password: &Secret, salt: &[u8], iterations: u32) -> ScramStored {
    let password = password.expose().as_bytes();
    let (stored_key, server_key) = match hash {
        ScramHash::Sha1 => {
            let mut salted = Default::default();
            tools::hash_password::<Sha1>(password, iterations, salt, &mut salted);
            let (client, server) = tools::derive_keys::<Sha1>(&salted);
            salted.as_mut_slice().zeroize();
            (Sha1::digest(client).to_vec(), server.to_vec())
        }
        ScramHash::Sha256 => {
            let mut salted = Default::default();
            tools::hash_password::<Sha256>(password, iterations, salt, &mut salted);
            let (client, server) = tools::derive_keys::<Sha256>(&salted);
            salted.as_mut_slice().zeroize();
            (Sha256::digest(client).to_vec(), server.to_vec())
        }
    };
    ScramStored {
        iterations,
        salt: salt.to_vec(),
        stored_key,
        server_key,
    }
}
