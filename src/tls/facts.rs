//! What a handshake has shown: for the log, and for decisions that hang on it.

use super::Fingerprint;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The versions that are spoken (RFC 8996: nothing older, rule B53).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// TLS 1.2 (RFC 5246).
    Tls12,
    /// TLS 1.3 (RFC 8446).
    Tls13,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls12 => "TLS1.2",
            Self::Tls13 => "TLS1.3",
        })
    }
}

/// What ties a login to this very TLS connection: `tls-exporter` of RFC 9266, TLS 1.3 only (rule B72).
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Binding(pub [u8; 32]);

/// It is a secret of the connection.
impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Binding(..)")
    }
}

/// The certificate that the peer has shown, and has proved to have the key of.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// SHA-256 of the certificate.
    pub fingerprint: Fingerprint,
    /// The certificate itself, in DER.
    pub der: Vec<u8>,
    /// It leads to a certificate authority that the operator has named, and is valid today.
    pub trusted: bool,
}

impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerCertificate")
            .field("fingerprint", &self.fingerprint)
            .field("trusted", &self.trusted)
            .finish_non_exhaustive()
    }
}

/// What a finished handshake has agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The version.
    pub version: Version,
    /// The cipher suite by its registered name, such as `TLS_AES_128_GCM_SHA256`.
    pub cipher: &'static str,
    /// The name the client asked for (SNI), if any.
    pub server_name: Option<String>,
    /// The peer's certificate: always at a client, at a server when the client has shown one.
    pub peer: Option<PeerCertificate>,
    /// For SCRAM-*-PLUS; none under TLS 1.2.
    pub binding: Option<Binding>,
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.cipher)
    }
}
