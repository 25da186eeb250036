//! Why there is no TLS, as a whole sentence for the operator.

use rustls::{
    AlertDescription as Alert, CertificateError, Error, InvalidMessage, PeerIncompatible,
};
use std::io;
use std::time::Duration;

/// Whose fault it is, which decides what is done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsErrorKind {
    /// Our own files or settings.
    Configuration,
    /// The peer's certificate is not accepted.
    Certificate,
    /// The two do not agree, or one of them broke the protocol.
    Handshake,
    /// The connection was lost during the handshake.
    Lost,
    /// The handshake took too long.
    Timeout,
}

/// Why there is no TLS; shown, it is the operator's sentence.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{sentence}")]
pub struct TlsError {
    kind: TlsErrorKind,
    sentence: String,
}

impl TlsError {
    pub(crate) fn new(kind: TlsErrorKind, sentence: impl Into<String>) -> Self {
        let sentence = sentence.into();
        Self { kind, sentence }
    }

    pub(super) fn configuration(sentence: impl Into<String>) -> Self {
        Self::new(TlsErrorKind::Configuration, sentence)
    }

    /// For the caller, who keeps the time: the handshake did not end within `limit`.
    #[must_use]
    pub fn timeout(limit: Duration) -> Self {
        let seconds = limit.as_secs();
        Self::new(
            TlsErrorKind::Timeout,
            format!(
                "cannot begin TLS: the handshake did not end in {seconds} s (does the peer speak TLS here from the first octet? try later)"
            ),
        )
    }

    /// A handshake that broke off, when it was not for the peer's certificate.
    pub(crate) fn handshake(error: &io::Error) -> Self {
        let inside = error.get_ref().and_then(|inner| inner.downcast_ref());
        let (kind, cause) = match inside {
            Some(inner) => (TlsErrorKind::Handshake, in_words(inner)),
            None if error.kind() == io::ErrorKind::UnexpectedEof => (
                TlsErrorKind::Lost,
                "the peer closed the connection during the handshake (try later)".to_owned(),
            ),
            None => (
                TlsErrorKind::Lost,
                format!("the connection was lost during the handshake: {error} (try later)"),
            ),
        };
        Self::new(kind, format!("cannot begin TLS: {cause}"))
    }

    /// Whose fault it is.
    #[must_use]
    pub fn kind(&self) -> TlsErrorKind {
        self.kind
    }
}

/// The library's errors as an operator understands them.
pub(crate) fn in_words(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => refused_by_peer(*alert),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what the peer sent is not TLS (is this port for TLS from the first octet?)".to_owned()
        }
        Error::NoApplicationProtocol => {
            "the peer wants to speak another protocol than SMTP (its ALPN names neither smtp nor esmtp)".to_owned()
        }
        Error::PeerIncompatible(
            // A hello from before TLS 1.2 does not have this one.
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::ServerDoesNotSupportTls12Or13
            | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => "the peer's TLS is older than 1.2, which is not safe (it needs newer software or settings)".to_owned(),
        Error::PeerIncompatible(PeerIncompatible::NoCipherSuitesInCommon) => {
            "the two sides have no cipher in common".to_owned()
        }
        Error::PeerIncompatible(PeerIncompatible::NoKxGroupsInCommon) => {
            "the two sides have no key exchange in common".to_owned()
        }
        Error::InvalidCertificate(CertificateError::BadSignature) => {
            "the peer does not have the private key of the certificate that it shows".to_owned()
        }
        Error::DecryptError => "a record from the peer was damaged on its way".to_owned(),
        other => other.to_string(),
    }
}

/// A fatal alert: the peer's reason, which is about us.
fn refused_by_peer(alert: Alert) -> String {
    let reason = match alert {
        Alert::UnknownCA => "it does not know the issuer of our certificate",
        Alert::CertificateExpired => "our certificate is not valid today",
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate => {
            "it does not accept our certificate"
        }
        Alert::AccessDenied => "our certificate is not the one it expects",
        Alert::CertificateRequired => "it wants a certificate of ours",
        Alert::ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3",
        Alert::NoApplicationProtocol => "it does not speak SMTP",
        Alert::UnrecognisedName => "it does not have the name that we asked for",
        _ => return format!("the peer broke off: {alert:?}"),
    };
    format!("the peer broke off: {reason} ({alert:?})")
}
