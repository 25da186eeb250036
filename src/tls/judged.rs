//! A certificate of our own, looked at before anybody else does: does its key fit, until when, for which name.

use super::leaf::{Validity, day};
use super::{Pem, TlsError};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use std::time::{Duration, SystemTime};

/// A certificate whose key fits.
#[derive(Debug)]
pub struct Judged {
    leaf: CertificateDer<'static>,
}

/// What a certificate's dates mean at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dates {
    /// It is valid, and for long enough.
    Fine,
    /// It is valid and ends at this time, which is soon.
    EndsSoon(String),
    /// It is not valid; what is wrong, in words that follow "it".
    Invalid(String),
}

impl Judged {
    /// Looks at a certificate and its key.
    ///
    /// # Errors
    /// The files hold something else, or the key does not fit.
    pub fn new(pem: &Pem) -> Result<Self, TlsError> {
        let joined = pem.joined()?;
        let leaf = joined.cert.into_iter().next().ok_or_else(|| {
            TlsError::configuration(format!(
                "cannot use {}: it holds no certificate",
                pem.pair.certificate.display()
            ))
        })?;
        Ok(Self { leaf })
    }

    /// What its dates mean at `now`; `soon` is how long before its end that is said.
    #[must_use]
    pub fn dates(&self, now: SystemTime, soon: Duration) -> Dates {
        let Some(validity) = Validity::of(&self.leaf) else {
            return Dates::Invalid(
                "is valid at no time, its dates contradict each other".to_owned(),
            );
        };
        if let Some(fault) = validity.fault(now) {
            return Dates::Invalid(fault);
        }
        let left = validity.until.duration_since(now).unwrap_or_default();
        if left < soon {
            return Dates::EndsSoon(day(validity.until));
        }
        Dates::Fine
    }

    /// Is it valid for this host name?
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let (Ok(leaf), Ok(name)) = (
            ParsedCertificate::try_from(&self.leaf),
            ServerName::try_from(name),
        ) else {
            return false;
        };
        verify_server_name(&leaf, &name).is_ok()
    }
}
