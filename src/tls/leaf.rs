//! What a certificate says of itself: its dates, and whether it was signed with its own key.
//!
//! There is no parser here. The library's own check is asked at times when it must say no, and its reason has the date.

use super::provider;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use std::time::{Duration, SystemTime};

/// After the last day that a certificate can name (31 December 9999), in seconds since 1970.
const LATE: u64 = 300_000_000_000;

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: SystemTime,
    pub(super) until: SystemTime,
}

impl Validity {
    /// None for what is no certificate of today's form (X.509 version 3).
    pub(super) fn of(leaf: &CertificateDer<'_>) -> Option<Self> {
        let nobody = RootCertStore::empty();
        let at = |seconds| {
            checked(
                leaf,
                &nobody,
                UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            )
        };
        let from = match at(0) {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                not_before,
                ..
            })) => time(not_before),
            _ => SystemTime::UNIX_EPOCH,
        };
        match at(LATE) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext {
                not_after, ..
            })) => Some(Self {
                from,
                until: time(not_after),
            }),
            _ => None,
        }
    }

    /// What is wrong with it at `now`, in words that follow "it".
    pub(super) fn fault(self, now: SystemTime) -> Option<String> {
        if now > self.until {
            Some(format!("expired on {}", day(self.until)))
        } else if now < self.from {
            Some(format!("is not valid before {}", day(self.from)))
        } else {
            None
        }
    }
}

/// Was it signed with its own key?
pub(super) fn is_self_signed(leaf: &CertificateDer<'_>) -> bool {
    let mut itself = RootCertStore::empty();
    itself.add(leaf.clone()).is_ok() && checked(leaf, &itself, UnixTime::now()).is_ok()
}

fn checked(leaf: &CertificateDer<'_>, roots: &RootCertStore, now: UnixTime) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(leaf)?;
    let algorithms = provider().signature_verification_algorithms.all;
    verify_server_cert_signed_by_trust_anchor(&parsed, roots, &[], now, algorithms)
}

pub(super) fn time(time: UnixTime) -> SystemTime {
    SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(time.as_secs()))
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Day and time, as `2026-11-22T18:00:00Z`.
pub(super) fn day(time: SystemTime) -> String {
    humantime::format_rfc3339_seconds(time).to_string()
}
