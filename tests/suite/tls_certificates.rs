//! Which certificate a server shows, and what it learns of a client's.

use crate::tls_world::{
    Authority, BOTH, HOST, Issued, ONLY_12, Peer, ends, params, raw_client, run, self_signed,
};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::path::Path;
use std::thread;
use turnabout::tls::{PeerCertificate, ServerTls, TlsErrorKind};

/// What a client that asks for this name is shown.
fn shown(tls: &ServerTls, root: &CertificateDer<'static>, name: &str) -> CertificateDer<'static> {
    run(async {
        let mut ends = ends();
        let mut peer = Peer::client(ends.peer.try_clone().unwrap(), raw_client(root, BOTH), name);
        let peer = thread::spawn(move || {
            peer.handshake().unwrap();
            peer.tls.peer_certificates().unwrap()[0].clone()
        });
        ends.wire.accept_tls(tls).await.unwrap();
        let named = ends.wire.facts().unwrap().server_name.clone();
        assert_eq!(named.is_some(), name.parse::<std::net::IpAddr>().is_err());
        peer.join().unwrap()
    })
}

#[test]
fn the_certificate_is_the_one_for_the_name_that_is_asked_for_otherwise_the_first() {
    let authority = Authority::new();
    let first = authority.issue(&params(&["a.example.org", "192.0.2.1"]));
    let second = authority.issue(&params(&["b.example.org", "*.c.example.org"]));
    let pairs = [first.as_pem(), second.as_pem()];
    let tls = ServerTls::new(&pairs, None, false).unwrap();
    for (name, wanted) in [
        ("a.example.org", &first),
        ("b.example.org", &second),
        ("B.Example.ORG", &second),
        ("x.c.example.org", &second),
        ("192.0.2.1", &first),
    ] {
        assert_eq!(shown(&tls, &authority.der, name), wanted.der, "{name}");
    }
    // A name that nobody has: the first, and the client must know whether it believes that.
    run(async {
        let mut ends = ends();
        let config = raw_client(&authority.der, BOTH);
        let mut peer = Peer::client(ends.peer.try_clone().unwrap(), config, "d.example.org");
        let peer = thread::spawn(move || peer.handshake().unwrap_err().to_string());
        let error = ends.wire.accept_tls(&tls).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("does not accept our certificate"),
            "{error}"
        );
        let theirs = peer.join().unwrap();
        assert!(
            theirs.contains("only valid for") && theirs.contains("a.example.org"),
            "{theirs}"
        );
    });
}

/// What the server knows of a client that has this certificate, or none.
fn seen(
    tls: &ServerTls,
    root: &CertificateDer<'static>,
    own: Option<&Issued>,
    versions: &[&'static SupportedProtocolVersion],
) -> Option<PeerCertificate> {
    run(async {
        let mut ends = ends();
        let config = match own {
            Some(own) => with_own(root, own, versions),
            None => raw_client(root, versions),
        };
        let mut peer = Peer::client(ends.peer.try_clone().unwrap(), config, HOST);
        let peer = thread::spawn(move || peer.handshake());
        ends.wire.accept_tls(tls).await.unwrap();
        peer.join().unwrap().unwrap();
        ends.wire.facts().unwrap().peer.clone()
    })
}

fn with_own(
    root: &CertificateDer<'static>,
    own: &Issued,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    ClientConfig::builder_with_provider(turnabout::tls::provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![own.der.clone()], own.private())
        .unwrap()
}

/// Rules: B55
#[test]
fn a_clients_certificate_is_asked_for_only_when_some_could_be_accepted() {
    let issued = self_signed(&params(&[HOST]));
    let own = self_signed(&params(&["home.example.org"]));
    let silent = ServerTls::new(&[issued.as_pem()], None, false).unwrap();
    let asking = ServerTls::new(&[issued.as_pem()], None, true).unwrap();
    for versions in [BOTH, ONLY_12] {
        assert_eq!(seen(&silent, &issued.der, Some(&own), versions), None);
        // Asked for, never demanded.
        assert_eq!(seen(&asking, &issued.der, None, versions), None);
        let known = seen(&asking, &issued.der, Some(&own), versions).unwrap();
        assert_eq!(known.fingerprint, own.fingerprint());
        assert_eq!(known.der, own.der.to_vec());
        assert!(!known.trusted);
    }
}

#[test]
fn a_clients_certificate_is_trusted_when_the_operators_authority_issued_it_and_it_is_valid_today() {
    let issued = self_signed(&params(&[HOST]));
    let authority = Authority::new();
    let ca = Some((Path::new("/etc/turnabout/ca.pem"), authority.pem.as_bytes()));
    let tls = ServerTls::new(&[issued.as_pem()], ca, true).unwrap();
    let trusted = |own: &Issued| seen(&tls, &issued.der, Some(own), BOTH).unwrap().trusted;
    assert!(trusted(&authority.issue_for("home.example.org")));
    assert!(!trusted(&Authority::new().issue_for("home.example.org")));
    assert!(!trusted(&self_signed(&params(&["home.example.org"]))));
    let mut old = params(&["home.example.org"]);
    old.not_before = rcgen::date_time_ymd(2020, 1, 1);
    old.not_after = rcgen::date_time_ymd(2021, 1, 1);
    assert!(!trusted(&authority.issue(&old)));
}

/// The certificate is public: who shows it must have its key.
#[test]
fn a_certificate_without_its_key_is_worth_nothing() {
    let issued = self_signed(&params(&[HOST]));
    let victim = self_signed(&params(&["home.example.org"]));
    let thief = self_signed(&params(&["home.example.org"]));
    let tls = ServerTls::new(&[issued.as_pem()], None, true).unwrap();
    for versions in [BOTH, ONLY_12] {
        run(async {
            let mut ends = ends();
            let mut config = raw_client(&issued.der, versions);
            let provider = turnabout::tls::provider();
            let key = provider.key_provider.load_private_key(thief.private());
            let stolen = rustls::sign::CertifiedKey::new(vec![victim.der.clone()], key.unwrap());
            let stolen = rustls::sign::SingleCertAndKey::from(stolen);
            config.client_auth_cert_resolver = std::sync::Arc::new(stolen);
            let mut peer = Peer::client(ends.peer.try_clone().unwrap(), config, HOST);
            // Under TLS 1.3 the client believes itself done before the server has judged.
            let peer = thread::spawn(move || drop(peer.handshake()));
            let error = ends.wire.accept_tls(&tls).await.unwrap_err();
            assert_eq!(error.kind(), TlsErrorKind::Handshake);
            assert_eq!(error.to_string(), NOT_ITS_KEY);
            ends.wire.close().await;
            peer.join().unwrap();
        });
    }
}

/// Rules: C6
#[test]
fn no_ticket_follows_the_handshake() {
    run(async {
        let (mut ends, mut peer) = crate::tls_world::secured_server().await;
        ends.wire.send(b"220 me\r\n").await.unwrap();
        // One record and no other: 8 octets, their type, 16 of the cipher's.
        let mut record = [0; 100];
        let read = std::io::Read::read(&mut peer.socket, &mut record).unwrap();
        assert_eq!(read, 5 + 8 + 1 + 16);
    });
}

const NOT_ITS_KEY: &str =
    "cannot begin TLS: the peer does not have the private key of the certificate that it shows";
