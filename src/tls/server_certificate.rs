//! A provider's certificate is judged: by its name and issuer, or by its fingerprint.

use super::{Fingerprint, TlsError, provider, refusal};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use std::sync::{Arc, Mutex};

/// What a provider's certificate must be.
#[derive(Debug)]
pub(super) enum Trust {
    /// For the name that was dialled, and issued by an authority that is believed.
    Chain(Arc<WebPkiServerVerifier>),
    /// One of these; its name, issuer and dates say nothing then.
    Pinned(Vec<Fingerprint>),
    /// Anything: nothing of value is said to it.
    Anything,
}

/// Judges one handshake, and remembers what it said no to.
#[derive(Debug)]
pub(super) struct Judge {
    trust: Arc<Trust>,
    refused: Mutex<Option<(CertificateDer<'static>, Error)>>,
}

impl Judge {
    pub(super) fn new(trust: Arc<Trust>) -> Self {
        Self {
            trust,
            refused: Mutex::new(None),
        }
    }

    /// Whether a certificate that was taken leads to an authority.
    pub(super) fn checks_the_chain(&self) -> bool {
        matches!(*self.trust, Trust::Chain(_))
    }

    /// The operator's sentence, if it was the certificate that was not accepted.
    pub(super) fn refusal(&self, name: &ServerName<'_>) -> Option<TlsError> {
        let refused = self.refused.lock().ok()?;
        let (seen, error) = refused.as_ref()?;
        let pinned = !self.checks_the_chain();
        Some(refusal::sentence(&name.to_str(), seen, pinned, error))
    }
}

impl ServerCertVerifier for Judge {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let judged = match &*self.trust {
            Trust::Chain(chain) => {
                chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            }
            Trust::Pinned(pinned) if pinned.contains(&Fingerprint::of(end_entity)) => {
                Ok(ServerCertVerified::assertion())
            }
            Trust::Anything => Ok(ServerCertVerified::assertion()),
            Trust::Pinned(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
        };
        if let Err(error) = &judged
            && let Ok(mut refused) = self.refused.lock()
        {
            *refused = Some((end_entity.clone().into_owned(), error.clone()));
        }
        judged
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
