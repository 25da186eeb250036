//! The customer's side: which certificate of a provider is believed, and which one is shown.

use super::server_certificate::{Judge, Trust};
use super::{Facts, Fingerprint, KeyPair, Pem, TlsError, pem, provider};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a provider's certificate is judged, and what is shown to it.
#[derive(Debug, Clone, Default)]
pub struct ClientSettings {
    /// Authorities to believe instead of those the system trusts.
    pub ca_file: Option<PathBuf>,
    /// If there are any: exactly these certificates are taken, whatever their names and issuers.
    pub fingerprints: Vec<Fingerprint>,
    /// Shown to a provider that asks for a certificate.
    pub certificate: Option<KeyPair>,
}

/// All that handshakes as client need; a copy shares it.
#[derive(Clone)]
pub struct ClientTls {
    trust: Arc<Trust>,
    own: Option<Arc<CertifiedKey>>,
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientTls").finish_non_exhaustive()
    }
}

/// One handshake as client.
pub(crate) struct Attempt {
    pub(crate) config: Arc<ClientConfig>,
    pub(crate) name: ServerName<'static>,
    judge: Arc<Judge>,
}

impl ClientTls {
    /// Reads the files that the settings name, and the system's authorities where they are needed.
    ///
    /// # Errors
    /// When a file cannot be used: which, and what to do.
    pub fn new(settings: &ClientSettings) -> Result<Self, TlsError> {
        let trust = if settings.fingerprints.is_empty() {
            let roots = Arc::new(roots(settings.ca_file.as_deref())?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider());
            Trust::Chain(verifier.build().map_err(|error| {
                TlsError::configuration(format!("cannot check certificates: {error}"))
            })?)
        } else {
            Trust::Pinned(settings.fingerprints.clone())
        };
        let own = match &settings.certificate {
            Some(pair) => Some(Arc::new(Pem::read(pair)?.certified()?)),
            None => None,
        };
        Ok(Self {
            trust: Arc::new(trust),
            own,
        })
    }

    /// Takes every certificate and shows none: for a look at a provider that is not believed. Whoever uses it has nothing
    /// to say there but EHLO and QUIT.
    #[must_use]
    pub fn for_a_look() -> Self {
        Self {
            trust: Arc::new(Trust::Anything),
            own: None,
        }
    }

    /// Readies a handshake with the host that was dialled: its name is the one that counts (rule B57).
    pub(crate) fn attempt(&self, host: &str) -> Result<Attempt, TlsError> {
        let bare = host.trim_start_matches('[').trim_end_matches([']', '.']);
        let name = ServerName::try_from(bare.to_owned()).map_err(|_| {
            TlsError::configuration(format!(
                "cannot check a certificate for {host}: it is neither a host name nor an address"
            ))
        })?;
        let judge = Arc::new(Judge::new(Arc::clone(&self.trust)));
        let verifier = Arc::clone(&judge);
        let builder = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| TlsError::configuration(format!("cannot speak TLS: {error}")))?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.own {
            Some(own) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(own))))
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"smtp".to_vec()];
        // Each session stands alone: its certificate is looked at, its keys serve once.
        config.resumption = Resumption::disabled();
        // The keys may move into the kernel.
        config.enable_secret_extraction = true;
        Ok(Attempt {
            config: Arc::new(config),
            name,
            judge,
        })
    }
}

impl Attempt {
    /// What a finished handshake has shown.
    pub(crate) fn facts(&self, connection: &ClientConnection) -> Option<Facts> {
        let name = match &self.name {
            ServerName::DnsName(name) => Some(name.as_ref().to_owned()),
            _ => None,
        };
        // It was judged during the handshake; a pinned one has no authority.
        let trusted = |_: &[_]| self.judge.checks_the_chain();
        Facts::of(connection, name, trusted)
    }

    /// The operator's sentence for a handshake that failed.
    pub(crate) fn failed(&self, error: &std::io::Error) -> TlsError {
        self.judge
            .refusal(&self.name)
            .unwrap_or_else(|| TlsError::handshake(error))
    }
}

fn roots(ca_file: Option<&Path>) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(file) = ca_file {
        for certificate in pem::certificates(file, &pem::read(file)?)? {
            roots.add(certificate).map_err(|error| {
                TlsError::configuration(format!(
                    "cannot use {} as ca_file: {error}",
                    file.display()
                ))
            })?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        return Err(TlsError::configuration(
            "cannot check certificates: this system has no certificate authorities (install ca-certificates, or set ca_file or fingerprint)",
        ));
    }
    Ok(roots)
}
