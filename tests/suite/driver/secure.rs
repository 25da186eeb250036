//! The provider with certificates of its own, and peers that begin TLS with it.

use super::peer::Peer;
use super::serve::{Serve, Setup};
use crate::tls_world::{Authority, BOTH, HOST, Issued, params, raw_client};
use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};
use std::fs::{self, Permissions};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use turnabout::tls::provider;

/// A provider under TLS and the authority that vouches for it.
pub struct Site {
    pub serve: Serve,
    pub authority: Authority,
}

/// The lines of `[serve]` that name the files of [`Site`].
const FILES: &str = "certificate = [\"DIR/cert.pem\"]\nkey = [\"DIR/key.pem\"]\n";

impl Site {
    /// With STARTTLS required, unless the setup says otherwise; `ca.pem` is the authority's certificate.
    pub fn start(setup: Setup) -> Site {
        let mut site = Site::spawn(setup);
        site.serve.wait_until_ready();
        site
    }

    pub fn spawn(setup: Setup) -> Site {
        Site::spawn_with(setup, |_| {})
    }

    /// The same, with its files changed before it reads them.
    pub fn spawn_with(mut setup: Setup, change: impl FnOnce(&Path)) -> Site {
        let authority = Authority::new();
        let issued = authority.issue(&params(&[HOST, "localhost", "127.0.0.1"]));
        if setup.tls == Setup::default().tls {
            setup.tls = "required";
        }
        setup.keys.push_str(FILES);
        let ca = authority.pem.clone();
        let serve = Serve::spawn_with(setup, |directory| {
            write_pair(directory, &issued);
            fs::write(directory.join("ca.pem"), ca).unwrap();
            change(directory);
        });
        Site { serve, authority }
    }

    pub fn address(&self) -> SocketAddr {
        self.serve.address()
    }

    /// A client's configuration that believes this site.
    pub fn client(&self) -> ClientConfig {
        raw_client(&self.authority.der, BOTH)
    }

    /// Greeted in the clear, secured with STARTTLS, greeted again.
    pub fn secured(&self) -> Peer {
        self.secured_with(self.client())
    }

    pub fn secured_with(&self, config: ClientConfig) -> Peer {
        let mut peer = Peer::greeted(self.address());
        assert_eq!(peer.code("STARTTLS"), 220);
        peer.begin_tls(config, HOST).unwrap();
        assert_eq!(peer.ask("EHLO customer.example.org").0, 250);
        peer
    }
}

/// Puts a certificate and its key in place, the key readable by its owner only.
pub fn write_pair(directory: &Path, issued: &Issued) {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    fs::write(&certificate, &issued.pem).unwrap();
    fs::write(&key, &issued.key).unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
}

/// A client that shows a certificate of its own; with TLS 1.2 or 1.3 only.
pub fn client_with(authority: &Authority, own: &Issued, tls13: bool) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der.clone()).unwrap();
    let version = if tls13 { &TLS13 } else { &TLS12 };
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![own.der.clone()], own.private())
        .unwrap()
}

/// Implicit TLS: handshake, greeting, EHLO.
pub fn secured_at_once(address: SocketAddr, config: ClientConfig) -> Peer {
    let mut peer = Peer::connect(address);
    peer.begin_tls(config, HOST).unwrap();
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.ask("EHLO customer.example.org").0, 250);
    peer
}
