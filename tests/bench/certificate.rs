//! The throw-away certificate that all servers of a measurement show, and the authority behind it:
//! ECDSA on P-256, the kind that authorities hand out by default.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the certificate is for: the provider by its name and by its address in the lab.
const NAMES: [&str; 2] = ["provider.test", "10.99.0.1"];

/// Three files in PEM.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The authority's certificate, which clients trust.
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Certificate {
    /// Makes both key pairs and writes the files into `directory`.
    pub fn make(directory: &Path) -> Self {
        let named = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params
        };
        let mut authority = named("an authority for one measurement");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::new(NAMES.map(str::to_owned).to_vec()).unwrap();
        params.distinguished_name = named("provider.test").distinguished_name;
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let write = |name: &str, text: String| {
            let file = directory.join(name);
            fs::write(&file, text).unwrap();
            file
        };
        let made = Self {
            authority: write("authority.pem", authority.pem()),
            certificate: write("certificate.pem", certificate.pem()),
            key: write("key.pem", key.serialize_pem()),
        };
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(&made.key, private).unwrap();
        made
    }

    /// How the customers of the negotiation speak TLS: version, cipher and key exchange are fixed,
    /// so that every server does the same work, and each handshake is a whole one.
    pub fn client(&self) -> Arc<ClientConfig> {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups = vec![rustls::crypto::aws_lc_rs::kx_group::X25519];
        provider.cipher_suites =
            vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384];
        let mut trusted = RootCertStore::empty();
        trusted
            .add(CertificateDer::from_pem_file(&self.authority).unwrap())
            .unwrap();
        let mut client = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(trusted)
            .with_no_client_auth();
        client.resumption = rustls::client::Resumption::disabled();
        Arc::new(client)
    }
}
