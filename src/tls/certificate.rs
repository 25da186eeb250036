//! What a certificate says of itself, for a person to read: names, dates, fingerprint.

use super::leaf::{self, Validity};
use super::{Fingerprint, refusal};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error};

/// A certificate in words. Nothing in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The names and addresses that it is for; at most five are told.
    pub names: Option<String>,
    /// Its first moment, as `2026-11-22T18:00:00Z`.
    pub from: Option<String>,
    /// Its last.
    pub until: Option<String>,
    /// Signed with its own key.
    pub self_signed: bool,
    /// Its SHA-256.
    pub fingerprint: Fingerprint,
}

impl Certificate {
    /// Of a certificate in DER; what cannot be read of it is left out.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        let leaf = CertificateDer::from(der);
        let validity = Validity::of(&leaf);
        Self {
            names: names(&leaf),
            from: validity.map(|dates| leaf::day(dates.from)),
            until: validity.map(|dates| leaf::day(dates.until)),
            self_signed: leaf::is_self_signed(&leaf),
            fingerprint: Fingerprint::of(der),
        }
    }
}

/// There is no parser here: the library is asked for a name that no certificate has, and tells those that it found.
fn names(leaf: &CertificateDer<'_>) -> Option<String> {
    let nobody = ServerName::try_from("nobody.invalid").ok()?;
    let parsed = ParsedCertificate::try_from(leaf).ok()?;
    match verify_server_name(&parsed, &nobody) {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        })) => Some(refusal::names(&presented)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::Certificate;

    #[test]
    fn a_certificate_tells_its_names_and_dates() -> Result<(), Box<dyn std::error::Error>> {
        let key = rcgen::KeyPair::generate()?;
        let names = ["odmr.example.net".to_owned(), "192.0.2.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names)?;
        params.not_before = rcgen::date_time_ymd(2026, 1, 2);
        params.not_after = rcgen::date_time_ymd(2027, 3, 4);
        let issued = params.self_signed(&key)?;
        let told = Certificate::of(issued.der());
        assert_eq!(told.names.as_deref(), Some("odmr.example.net, 192.0.2.1"));
        assert_eq!(told.from.as_deref(), Some("2026-01-02T00:00:00Z"));
        assert_eq!(told.until.as_deref(), Some("2027-03-04T00:00:00Z"));
        assert!(told.self_signed);
        Ok(())
    }

    #[test]
    fn what_is_no_certificate_has_a_fingerprint_and_nothing_else() {
        let told = Certificate::of(b"nothing");
        assert_eq!((told.names, told.from, told.until), (None, None, None));
        assert!(!told.self_signed);
    }
}
