//! A provider's certificate that is not believed: why, and what the operator can do.

use super::leaf::{self, Validity};
use super::{Fingerprint, TlsError, TlsErrorKind};
use rustls::pki_types::CertificateDer;
use rustls::{CertificateError, Error};
use std::time::SystemTime;

/// So many of a certificate's names are told.
const NAMES: usize = 5;

/// The operator's sentence. The fingerprint in it is ready to paste.
pub(super) fn sentence(
    host: &str,
    seen: &CertificateDer<'_>,
    pinned: bool,
    error: &Error,
) -> TlsError {
    let fingerprint = Fingerprint::of(seen);
    let (cause, advice) = if pinned {
        (
            "it is none of those that fingerprint names".to_owned(),
            "a new one, or somebody stands in between: ask the provider",
        )
    } else {
        why(seen, error)
    };
    TlsError::new(
        TlsErrorKind::Certificate,
        format!(
            "cannot trust the certificate of {host}: {cause} ({advice}; to trust this very certificate: fingerprint = ['{fingerprint}'])"
        ),
    )
}

/// What is wrong with it, and what to do.
fn why(seen: &CertificateDer<'_>, error: &Error) -> (String, &'static str) {
    let Error::InvalidCertificate(error) = error else {
        return (error.to_string(), "the provider must repair it");
    };
    match error {
        CertificateError::NotValidForNameContext { presented, .. } => (
            format!("it is for {}", names(presented)),
            "set host to a name in it, or the provider needs another",
        ),
        CertificateError::ExpiredContext { .. } | CertificateError::Expired => (
            dated(seen, "one it depends on has expired"),
            "the provider must renew it; is the clock here right?",
        ),
        CertificateError::NotValidYetContext { .. } | CertificateError::NotValidYet => (
            dated(seen, "one it depends on is not valid yet"),
            "is the clock here right?",
        ),
        CertificateError::UnknownIssuer if leaf::is_self_signed(seen) => SELF_SIGNED.into(),
        CertificateError::UnknownIssuer => (
            "its issuer is not known here".to_owned(),
            "set ca_file if the provider has an authority of its own; it may also have left out an intermediate certificate",
        ),
        CertificateError::BadSignature => (
            "its issuer has the name of one that is known here, but another key".to_owned(),
            "the authority has a new key, or somebody stands in between: ask the provider",
        ),
        CertificateError::InvalidPurposeContext { .. } | CertificateError::InvalidPurpose => (
            "it is not made for servers".to_owned(),
            "the provider needs another",
        ),
        // The library's name for it, kept in an error of another crate: `openssl req -x509` makes such ones.
        CertificateError::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            SELF_SIGNED_AUTHORITY.into()
        }
        other => (other.to_string(), "the provider must repair it"),
    }
}

/// Cause and advice.
struct Why(&'static str, &'static str);

const SELF_SIGNED: Why = Why("it is self-signed", "ask the provider for its fingerprint");

const SELF_SIGNED_AUTHORITY: Why = Why(
    "it is made for an authority and not for a server, and so most likely self-signed",
    "ask the provider for its fingerprint",
);

impl From<Why> for (String, &'static str) {
    fn from(why: Why) -> Self {
        (why.0.to_owned(), why.1)
    }
}

fn dated(seen: &CertificateDer<'_>, otherwise: &str) -> String {
    Validity::of(seen)
        .and_then(|validity| validity.fault(SystemTime::now()))
        .map_or_else(|| otherwise.to_owned(), |fault| format!("it {fault}"))
}

/// The names in it. They are the peer's text: only what stands in names is kept.
pub(super) fn names(presented: &[String]) -> String {
    if presented.is_empty() {
        return "no name at all".to_owned();
    }
    let kept = |name: &String| -> String {
        let inside = name.split_once('(').map_or(name.as_str(), |(_, rest)| rest);
        let plain = |c: &char| c.is_ascii_alphanumeric() || "*.-_:".contains(*c);
        inside.chars().filter(plain).take(253).collect()
    };
    let mut all: Vec<String> = presented.iter().take(NAMES).map(kept).collect();
    if presented.len() > NAMES {
        all.push("others".to_owned());
    }
    all.join(", ")
}
