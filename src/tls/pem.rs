//! Certificates and keys as they stand in files.

use super::leaf::Validity;
use super::{KeyPair, TlsError};
use rustls::Error;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::fs;
use std::path::Path;
use std::time::SystemTime;
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

    /// The chain with its key, found to belong together; says so if nobody may trust it today.
    pub(super) fn certified(&self) -> Result<CertifiedKey, TlsError> {
        let certified = self.joined()?;
        // What cannot be judged has dates that contradict each other.
        let leaf = certified.cert.first().map(Validity::of);
        let fault = leaf.map(|leaf| {
            leaf.map_or_else(
                || Some("is valid at no time, its dates contradict each other".to_owned()),
                |leaf| leaf.fault(SystemTime::now()),
            )
        });
        if let Some(fault) = fault.flatten() {
            tracing::warn!(certificate = %self.pair.certificate.display(), "our certificate {fault} (renew it, or set the clock right: it is used, but nobody may trust it)");
        }
        Ok(certified)
    }

    /// The chain with its key, found to belong together, whatever its dates.
    pub(super) fn joined(&self) -> Result<CertifiedKey, TlsError> {
        let chain = certificates(&self.pair.certificate, &self.certificate)?;
        let key = private_key(&self.pair.key, &self.key)?;
        let (certificate_file, key_file) =
            (self.pair.certificate.display(), self.pair.key.display());
        CertifiedKey::from_der(chain, key, &super::provider()).map_err(|error| {
            TlsError::configuration(match error {
                Error::InconsistentKeys(_) => format!(
                    "cannot use {certificate_file}: {key_file} is not its private key (was one renewed without the other, or is the chain in the wrong order? the server's own certificate comes first)"
                ),
                Error::InvalidCertificate(_) => format!(
                    "cannot use {certificate_file}: it holds no certificate that can be understood (X.509 version 3 is needed)"
                ),
                _ => format!(
                    "cannot use the private key in {key_file}: it is damaged, or of a kind that is not supported (RSA from 2048 bits on, ECDSA P-256 or P-384, and Ed25519 are)"
                ),
            })
        })
    }
}

/// All certificates of a file; at least one.
pub(super) fn certificates(
    file: &Path,
    content: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unfit = |cause: &str| {
        TlsError::configuration(format!(
            "cannot read certificates from {}: {cause}",
            file.display()
        ))
    };
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match all {
        Err(_) => Err(unfit("it is damaged (a file in PEM form is needed)")),
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) if holds(content, "PRIVATE KEY-----") => Err(unfit(
            "it holds a private key (are certificate and key mixed up?)",
        )),
        Ok(_) => Err(unfit(NOT_PEM)),
    }
}

/// The first private key of a file. What stands in the file is never shown.
fn private_key(file: &Path, content: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(content).map_err(|error| {
        let cause = match error {
            pem::Error::NoItemsFound if holds(content, "ENCRYPTED PRIVATE KEY") => ENCRYPTED,
            pem::Error::NoItemsFound if holds(content, "BEGIN CERTIFICATE") => {
                "it holds a certificate (are certificate and key mixed up?)"
            }
            pem::Error::NoItemsFound => NOT_PEM,
            // The older form of an encrypted key has headers, which are no base64.
            _ if holds(content, "Proc-Type: 4,ENCRYPTED") => ENCRYPTED,
            _ => "it is damaged (a file in PEM form is needed)",
        };
        TlsError::configuration(format!(
            "cannot read a private key from {}: {cause}",
            file.display()
        ))
    })
}

const ENCRYPTED: &str =
    "it is encrypted with a passphrase (decrypt it: openssl pkey -in OLD -out NEW)";

const NOT_PEM: &str =
    "there is none in it (a file in PEM form is needed, with lines -----BEGIN ...-----)";

fn holds(content: &[u8], text: &str) -> bool {
    content
        .windows(text.len())
        .any(|part| part == text.as_bytes())
}

pub(super) fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|cause| {
        TlsError::configuration(format!(
            "cannot read {}: {cause} (is the name right, and may this user read it?)",
            file.display()
        ))
    })
}
