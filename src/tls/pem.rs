//! Certificates and keys as they stand in files.

use super::{KeyPair, TlsError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::fs;
use std::path::Path;
use zeroize::Zeroizing;

/// What the two files hold, read by whoever may.
#[derive(Clone)]
pub struct Pem {
    /// Where it came from, for what is said about it.
    pub pair: KeyPair,
    /// The content of the certificate's file.
    pub certificate: Vec<u8>,
    /// The content of the key's file.
    pub key: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pem")
            .field("pair", &self.pair)
            .finish_non_exhaustive()
    }
}

impl Pem {
    /// Reads both files.
    ///
    /// # Errors
    /// When one of them cannot be read: which, and why.
    pub fn read(pair: &KeyPair) -> Result<Self, TlsError> {
        Ok(Self {
            certificate: read(&pair.certificate)?,
            key: Zeroizing::new(read(&pair.key)?),
            pair: pair.clone(),
        })
    }

    /// The chain with its key, found to belong together.
    pub(super) fn certified(&self) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(&self.pair.certificate, &self.certificate)?;
        let key_file = self.pair.key.display();
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| {
            TlsError::configuration(format!(
                "cannot read a private key from {key_file}: {error}"
            ))
        })?;
        CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| {
            TlsError::configuration(format!("cannot use the private key {key_file}: {error}"))
        })
    }
}

/// All certificates of a file; at least one.
pub(super) fn certificates(
    file: &Path,
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = file.display();
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    let all = all.map_err(|error| {
        TlsError::configuration(format!("cannot read certificates from {file}: {error}"))
    })?;
    if all.is_empty() {
        return Err(TlsError::configuration(format!(
            "cannot read certificates from {file}: there is none in it"
        )));
    }
    Ok(all)
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|cause| {
        TlsError::configuration(format!("cannot read {}: {cause}", file.display()))
    })
}
