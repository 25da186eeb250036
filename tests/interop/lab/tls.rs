//! TLS in the lab: hosts that speak it with each other, and the tests' own end of it.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, ServerConfig, ServerConnection, SignatureScheme,
    StreamOwned, SupportedProtocolVersion,
};

use turnabout::tls::provider;

use super::certificates::{CA, CERTIFICATE, KEY};
use super::{Authority, Host, Pair};

/// How a session gets its TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Starttls,
    Implicit,
}

/// The port of the lab's providers for TLS from the first octet on; none is registered.
pub const IMPLICIT_PORT: u16 = 3661;

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Starttls => "starttls",
            Self::Implicit => "implicit",
        }
    }

    pub fn port(self) -> u16 {
        match self {
            Self::Starttls => 366,
            Self::Implicit => IMPLICIT_PORT,
        }
    }
}

impl Host {
    /// A provider whose turnabout has a certificate, asks for TLS on port 366 and speaks it at once on another.
    pub fn serve_with_tls(&self, authority: &Authority) {
        self.install(&authority.issue(&["provider.test", "10.99.0.1", "fd00:99::1"]));
        self.set(
            "serve",
            &[
                ("tls", "\"required\""),
                (
                    "listen_tls",
                    &format!("[\"0.0.0.0:{IMPLICIT_PORT}\", \"[::]:{IMPLICIT_PORT}\"]"),
                ),
                ("certificate", &format!("[\"{CERTIFICATE}\"]")),
                ("key", &format!("[\"{KEY}\"]")),
            ],
        );
    }

    /// A customer whose turnabout trusts that authority's providers and no others.
    pub fn fetch_with_tls(&self, authority: &Authority, mode: Mode) {
        self.know(authority);
        self.set(
            "providers.isp",
            &[
                ("tls", &format!("\"{}\"", mode.name())),
                ("port", &mode.port().to_string()),
                ("ca_file", &format!("\"{CA}\"")),
            ],
        );
    }

    /// Takes a key out of the configuration again.
    pub fn unset(&self, key: &str) {
        let file = "/etc/turnabout/turnabout.toml";
        let text = self.read(file);
        let lines = text.split_inclusive('\n');
        let rest: String = lines
            .filter(|line| !line.starts_with(&format!("{key} =")))
            .collect();
        std::fs::write(self.path(file), rest).unwrap();
    }

    /// Sets keys of one table of the configuration; what they were before is gone.
    pub fn set(&self, table: &str, settings: &[(&str, &str)]) {
        let file = "/etc/turnabout/turnabout.toml";
        let mut text = String::new();
        let (mut inside, mut found) = (false, false);
        for line in self.read(file).lines() {
            if line.starts_with('[') && !line.contains('=') {
                inside = line == format!("[{table}]");
                text += &format!("{line}\n");
                if inside {
                    found = true;
                    for (key, value) in settings {
                        text += &format!("{key} = {value}\n");
                    }
                }
                continue;
            }
            let key = line.split('=').next().unwrap_or_default().trim();
            if !(inside && settings.iter().any(|(set, _)| *set == key)) {
                text += &format!("{line}\n");
            }
        }
        if !found {
            text += &format!("[{table}]\n");
            for (key, value) in settings {
                text += &format!("{key} = {value}\n");
            }
        }
        std::fs::write(self.path(file), text).unwrap();
    }
}

/// A stream that is either plain or not.
pub trait Stream: Read + Write + Send + std::fmt::Debug {}
impl<T: Read + Write + Send + std::fmt::Debug> Stream for T {}

/// A server that has this certificate and asks clients for none.
pub fn server_config(pair: &Pair, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap()],
            PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap(),
        )
        .unwrap()
}

/// A client that believes any server: what it says is for the test to judge.
pub fn client_config(versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    client_config_of(provider(), versions)
}

/// The same with other cryptography than usual.
pub fn client_config_of(
    provider: Arc<CryptoProvider>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Believe(provider)))
        .with_no_client_auth()
}

/// The server's end of TLS on a connection; the handshake is done when this returns.
pub fn accept(mut stream: TcpStream, config: ServerConfig) -> io::Result<Box<dyn Stream>> {
    let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
    tls.complete_io(&mut stream)?;
    Ok(Box::new(StreamOwned::new(tls, stream)))
}

#[derive(Debug)]
struct Believe(Arc<CryptoProvider>);

impl ServerCertVerifier for Believe {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
