//! The provider's side: its certificates, and what it asks of a client.

use super::client_certificate::AnyCertificate;
use super::leaf::Validity;
use super::{Facts, Pem, TlsError, pem, provider};
use rustls::client::verify_server_name;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ParsedCertificate, ResolvesServerCert,
    WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

/// The names of SMTP for a client that says what it wants to speak; any other is refused (rule C14).
const PROTOCOLS: [&[u8]; 2] = [b"smtp", b"esmtp"];

/// All that handshakes as server need; a copy shares it.
#[derive(Clone)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    /// Judges a client's certificate by the operator's authorities.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    expires: Option<SystemTime>,
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerTls").finish_non_exhaustive()
    }
}

impl ServerTls {
    /// Puts certificates to use: by the name the client asks for, otherwise the first.
    ///
    /// `client_ca` is a file with its content: the authorities that make a client's certificate a trusted one.
    /// A certificate is asked for only with `ask_for_certificate` (rule B55), and never demanded.
    ///
    /// # Errors
    /// When a file holds something else, or a key does not fit its certificate: which, and what to do.
    pub fn new(
        pairs: &[Pem],
        client_ca: Option<(&Path, &[u8])>,
        ask_for_certificate: bool,
    ) -> Result<Self, TlsError> {
        let keys = pairs.iter().map(|pair| Ok(Arc::new(pair.certified()?)));
        let keys: Vec<_> = keys.collect::<Result<_, TlsError>>()?;
        if keys.is_empty() {
            return Err(TlsError::configuration(
                "cannot offer TLS: there is no certificate (set certificate and key)",
            ));
        }
        let leaves = keys.iter().filter_map(|key| key.cert.first());
        let expires = leaves
            .filter_map(|leaf| Some(Validity::of(leaf)?.until))
            .min();
        let authorities = client_ca.map(|(file, content)| authorities(file, content));
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13, &TLS12])
            .map_err(|error| TlsError::configuration(format!("cannot offer TLS: {error}")))?;
        let builder = if ask_for_certificate {
            builder.with_client_cert_verifier(Arc::new(AnyCertificate::new()))
        } else {
            builder.with_no_client_auth()
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName { keys }));
        config.alpn_protocols = PROTOCOLS.iter().map(|name| name.to_vec()).collect();
        // A resumed session would show no certificate, and a ticket on its way would meet the mail server.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        // The keys may move into the kernel.
        config.enable_secret_extraction = true;
        Ok(Self {
            config: Arc::new(config),
            authorities: authorities.transpose()?,
            expires,
        })
    }

    /// When the first of the certificates expires.
    #[must_use]
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// For the handshake itself.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }

    /// What a finished handshake has shown.
    pub(crate) fn facts(&self, connection: &ServerConnection) -> Option<Facts> {
        let name = connection.server_name().map(str::to_owned);
        let trusted = |chain: &[_]| {
            let (Some(authorities), Some((leaf, rest))) = (&self.authorities, chain.split_first())
            else {
                return false;
            };
            authorities
                .verify_client_cert(leaf, rest, UnixTime::now())
                .is_ok()
        };
        Facts::of(connection, name, trusted)
    }
}

fn authorities(file: &Path, content: &[u8]) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let unfit = |cause: &dyn fmt::Display| {
        TlsError::configuration(format!(
            "cannot use {} as client_ca: {cause}",
            file.display()
        ))
    };
    let mut roots = RootCertStore::empty();
    for certificate in pem::certificates(file, content)? {
        roots.add(certificate).map_err(|error| unfit(&error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|error| unfit(&error))
}

/// Picks the certificate that is valid for the name the client asks for; without one, the first.
#[derive(Debug)]
struct ByName {
    keys: Vec<Arc<CertifiedKey>>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let fits = |name: &ServerName<'_>, key: &CertifiedKey| {
            let leaf = key.cert.first()?;
            let leaf = ParsedCertificate::try_from(leaf).ok()?;
            verify_server_name(&leaf, name).ok()
        };
        let asked = hello
            .server_name()
            .and_then(|name| ServerName::try_from(name).ok());
        let named = asked.and_then(|name| self.keys.iter().find(|key| fits(&name, key).is_some()));
        named.or_else(|| self.keys.first()).map(Arc::clone)
    }
}
