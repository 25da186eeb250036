//! What a handshake has shown: for the log, and for decisions that hang on it.

use super::Fingerprint;
use rustls::pki_types::CertificateDer;
use rustls::{CipherSuite, ConnectionCommon, ProtocolVersion};
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

impl Facts {
    /// Of a connection whose handshake is finished; none if it is not.
    pub(super) fn of<Side>(
        connection: &ConnectionCommon<Side>,
        server_name: Option<String>,
        trusted: impl Fn(&[CertificateDer<'static>]) -> bool,
    ) -> Option<Self> {
        let version = match connection.protocol_version()? {
            ProtocolVersion::TLSv1_3 => Version::Tls13,
            ProtocolVersion::TLSv1_2 => Version::Tls12,
            _ => return None,
        };
        let peer = connection.peer_certificates().and_then(|chain| {
            let leaf = chain.first()?;
            Some(PeerCertificate {
                fingerprint: Fingerprint::of(leaf),
                der: leaf.to_vec(),
                trusted: trusted(chain),
            })
        });
        let binding = match version {
            Version::Tls13 => connection
                .export_keying_material([0_u8; 32], BINDING_LABEL, Some(b""))
                .ok()
                .map(Binding),
            Version::Tls12 => None,
        };
        Some(Self {
            version,
            cipher: registered_name(connection.negotiated_cipher_suite()?.suite()),
            server_name,
            peer,
            binding,
        })
    }
}

/// RFC 9266 2.
const BINDING_LABEL: &[u8] = b"EXPORTER-Channel-Binding";

/// The library has names of its own for those of TLS 1.3.
fn registered_name(suite: CipherSuite) -> &'static str {
    match suite {
        CipherSuite::TLS13_AES_128_GCM_SHA256 => "TLS_AES_128_GCM_SHA256",
        CipherSuite::TLS13_AES_256_GCM_SHA384 => "TLS_AES_256_GCM_SHA384",
        CipherSuite::TLS13_CHACHA20_POLY1305_SHA256 => "TLS_CHACHA20_POLY1305_SHA256",
        other => other.as_str().unwrap_or("unknown"),
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.version, self.cipher)
    }
}
