//! Where a certificate and its key are.

use std::path::PathBuf;

/// Two files by their names; one file may hold both.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPair {
    /// The certificate in PEM, and behind it those that lead to its authority.
    pub certificate: PathBuf,
    /// Its private key in PEM.
    pub key: PathBuf,
}
