//! For which names a client's certificate is.

use super::PeerCertificate;
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

impl PeerCertificate {
    /// Whether this host name is one of the certificate's subject alternative names (the common name does not count,
    /// rule B57). It says nothing about who issued it: see [`trusted`](Self::trusted).
    #[must_use]
    pub fn is_for(&self, name: &str) -> bool {
        let leaf = CertificateDer::from(self.der.as_slice());
        let (Ok(leaf), Ok(name)) = (
            ParsedCertificate::try_from(&leaf),
            ServerName::try_from(name),
        ) else {
            return false;
        };
        verify_server_name(&leaf, &name).is_ok()
    }
}
