//! Handshakes that must not come about, and the sentence with which each is refused.

use crate::tls_world::{
    Authority, BOTH, Ends, HOST, Issued, Peer, ends, params, raw_client, raw_server, run,
    self_signed, server,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, date_time_ymd};
use rustls::ServerConfig;
use std::io::{Read, Write};
use std::thread;
use turnabout::tls::{ClientSettings, ClientTls, Fingerprint, TlsError, TlsErrorKind};
use turnabout::wire::WireError;

/// Handshakes with a raw server; gives both sides' errors.
fn refused_by_client(client: &ClientTls, host: &str, config: ServerConfig) -> (TlsError, String) {
    run(async {
        let Ends {
            mut wire,
            peer,
            watch,
        } = ends();
        drop(watch);
        let mut peer = Peer::server(peer, config);
        let peer = thread::spawn(move || {
            // Under TLS 1.3 the server is done before the client has judged: the alert comes as the first record.
            let handshake = peer.handshake();
            handshake.and_then(|()| peer.read(&mut [0]).map(drop))
        });
        let error = wire.connect_tls(client, host).await.unwrap_err();
        // Nothing of ours goes out any more, least of all a password (rule C16).
        assert!(matches!(wire.send(b"AUTH").await, Err(WireError::Closed)));
        wire.close().await;
        let theirs = peer.join().unwrap().unwrap_err().to_string();
        (error, theirs)
    })
}

/// The sentence about a certificate that is shown to a client which believes `authority`.
fn judged(authority: &Authority, shown: &Issued, host: &str) -> (String, String) {
    let (client, _files) = authority.client();
    let (error, alert) = refused_by_client(&client, host, raw_server(shown, BOTH));
    assert_eq!(error.kind(), TlsErrorKind::Certificate);
    let sentence = error.to_string();
    let paste = format!("fingerprint = ['{}']", shown.fingerprint());
    assert!(sentence.contains(&paste), "{sentence}");
    let end = format!("; to trust this very certificate: {paste})");
    (sentence.strip_suffix(&end).unwrap().to_owned(), alert)
}

fn of_years(mut params: CertificateParams, from: i32, until: i32) -> CertificateParams {
    params.not_before = date_time_ymd(from, 3, 4);
    params.not_after = date_time_ymd(until, 5, 6);
    params
}

/// Rules: B57
#[test]
fn a_certificate_for_another_name_is_refused_with_the_names_it_has() {
    let authority = Authority::new();
    let shown = authority.issue(&params(&["mail.example.com", "*.example.net"]));
    let advice = "(set host to a name in it, or the provider needs another";
    let (sentence, alert) = judged(&authority, &shown, HOST);
    assert_eq!(
        sentence,
        format!(
            "cannot trust the certificate of {HOST}: it is for mail.example.com, *.example.net {advice}"
        )
    );
    assert_eq!(alert, "received fatal alert: BadCertificate");
    // A star stands for one label, and only for the first.
    for host in ["a.b.example.net", "example.net", "192.0.2.1"] {
        let (sentence, _) = judged(&authority, &shown, host);
        assert!(
            sentence.contains(": it is for mail.example.com, "),
            "{sentence}"
        );
    }
}

/// The common name in the subject says nothing (RFC 9525 2).
/// Rules: B57
#[test]
fn a_name_that_only_the_subject_has_does_not_count() {
    let authority = Authority::new();
    let mut nameless = params(&[]);
    nameless
        .distinguished_name
        .push(rcgen::DnType::CommonName, HOST);
    let (sentence, _) = judged(&authority, &authority.issue(&nameless), HOST);
    assert!(
        sentence.contains(": it is for no name at all ("),
        "{sentence}"
    );
}

#[test]
fn names_in_a_certificate_cannot_forge_a_log_line() {
    let authority = Authority::new();
    let mut many: Vec<String> = (0..7).map(|n| format!("n{n}.example.org")).collect();
    many[0] = "evil\") error: \x1b[2Jx.example.org".to_owned();
    let names: Vec<&str> = many.iter().map(String::as_str).collect();
    let (sentence, _) = judged(&authority, &authority.issue(&params(&names)), HOST);
    assert!(!sentence.contains(['\x1b', '\n']), "{sentence}");
    assert!(sentence.contains("n4.example.org, others"), "{sentence}");
}

#[test]
fn an_expired_certificate_is_refused_with_its_day() {
    let authority = Authority::new();
    let shown = authority.issue(&of_years(params(&[HOST]), 2020, 2021));
    let (sentence, alert) = judged(&authority, &shown, HOST);
    assert_eq!(
        sentence,
        format!(
            "cannot trust the certificate of {HOST}: it expired on 2021-05-06T00:00:00Z (the provider must renew it; is the clock here right?"
        )
    );
    assert_eq!(alert, "received fatal alert: CertificateExpired");
}

#[test]
fn a_certificate_of_the_future_is_refused_with_its_day() {
    let authority = Authority::new();
    let shown = authority.issue(&of_years(params(&[HOST]), 2200, 2201));
    let (sentence, _) = judged(&authority, &shown, HOST);
    assert_eq!(
        sentence,
        format!(
            "cannot trust the certificate of {HOST}: it is not valid before 2200-03-04T00:00:00Z (is the clock here right?"
        )
    );
}

#[test]
fn a_certificate_of_an_unknown_issuer_is_refused() {
    let shown = Authority::new().issue_for(HOST);
    let (sentence, alert) = judged(&Authority::new(), &shown, HOST);
    assert_eq!(
        sentence,
        format!(
            "cannot trust the certificate of {HOST}: its issuer is not known here (set ca_file if the provider has an authority of its own; it may also have left out an intermediate certificate"
        )
    );
    assert_eq!(alert, "received fatal alert: UnknownCA");
    // Two authorities of one name are told apart by their keys.
    let shown = Authority::named("twin").issue_for(HOST);
    let (sentence, _) = judged(&Authority::named("twin"), &shown, HOST);
    assert!(
        sentence
            .contains(": its issuer has the name of one that is known here, but another key (the"),
        "{sentence}"
    );
}

#[test]
fn a_self_signed_certificate_is_refused_as_such() {
    let (sentence, _) = judged(&Authority::new(), &self_signed(&params(&[HOST])), HOST);
    assert_eq!(
        sentence,
        format!(
            "cannot trust the certificate of {HOST}: it is self-signed (ask the provider for its fingerprint"
        )
    );
    // As `openssl req -x509` makes it when it is told nothing.
    let mut authority = params(&[HOST]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let (sentence, _) = judged(&Authority::new(), &self_signed(&authority), HOST);
    assert!(
        sentence.contains("most likely self-signed (ask"),
        "{sentence}"
    );
}

fn pinned(fingerprints: &[Fingerprint]) -> ClientTls {
    let settings = ClientSettings {
        fingerprints: fingerprints.to_vec(),
        ..ClientSettings::default()
    };
    ClientTls::new(&settings).unwrap()
}

#[test]
fn a_certificate_that_is_not_the_pinned_one_is_refused_whoever_issued_it() {
    let authority = Authority::new();
    let shown = authority.issue_for(HOST);
    let client = pinned(&[authority.issue_for(HOST).fingerprint()]);
    let (error, alert) = refused_by_client(&client, HOST, raw_server(&shown, BOTH));
    assert_eq!(error.kind(), TlsErrorKind::Certificate);
    assert_eq!(
        error.to_string(),
        format!(
            "cannot trust the certificate of {HOST}: it is none of those that fingerprint names (a new one, or somebody stands in between: ask the provider; to trust this very certificate: fingerprint = [\"{}\"])",
            shown.fingerprint()
        )
    );
    assert_eq!(alert, "received fatal alert: AccessDenied");
}

/// Neither its name nor its issuer nor its dates matter then; that the server has its key does.
#[test]
fn the_pinned_certificate_is_taken_whatever_it_says_but_only_from_who_has_its_key() {
    let mut authority = of_years(params(&["elsewhere.example.org"]), 2020, 2021);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let shown = self_signed(&authority);
    let client = pinned(&[self_signed(&params(&[])).fingerprint(), shown.fingerprint()]);
    run(async {
        let mut ends = ends();
        let mut peer = Peer::server(ends.peer.try_clone().unwrap(), raw_server(&shown, BOTH));
        let peer = thread::spawn(move || peer.handshake());
        ends.wire.connect_tls(&client, HOST).await.unwrap();
        peer.join().unwrap().unwrap();
        let seen = ends.wire.facts().unwrap().peer.clone().unwrap();
        assert_eq!(seen.fingerprint, shown.fingerprint());
        assert!(!seen.trusted);
    });
    // The same certificate, shown by somebody with another key.
    let thief = self_signed(&params(&["elsewhere.example.org"]));
    let stolen = Issued {
        pem: shown.pem.clone(),
        key: thief.key.clone(),
        der: shown.der.clone(),
    };
    let (error, _) = refused_by_client(&client, HOST, careless(&stolen));
    assert_eq!(error.kind(), TlsErrorKind::Handshake);
    assert_eq!(error.to_string(), NOT_ITS_KEY);
}

/// A server that does not notice that key and certificate do not belong together.
fn careless(issued: &Issued) -> ServerConfig {
    use rustls::sign::{CertifiedKey, SingleCertAndKey};
    let provider = turnabout::tls::provider();
    let key = provider
        .key_provider
        .load_private_key(issued.private())
        .unwrap();
    let certified = CertifiedKey::new(vec![issued.der.clone()], key);
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(BOTH)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(std::sync::Arc::new(SingleCertAndKey::from(certified)))
}

/// A hello as old clients send it: no extension says anything newer.
fn old_hello(version: u8, extensions: &[u8]) -> Vec<u8> {
    let mut body = vec![3, version];
    body.extend([7; 32]);
    body.push(0);
    // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_128_CBC_SHA
    body.extend([0, 4, 0xc0, 0x13, 0, 0x2f]);
    body.extend([1, 0]);
    if !extensions.is_empty() {
        body.extend([0, u8::try_from(extensions.len()).unwrap()]);
        body.extend(extensions);
    }
    let length = u8::try_from(body.len()).unwrap();
    let message = [vec![1, 0, 0, length], body].concat();
    let length = u8::try_from(message.len()).unwrap();
    [vec![22, 3, 1, 0, length], message].concat()
}

/// The extension `signature_algorithms` with `ecdsa_secp256r1_sha256`.
const SIGNATURES: &[u8] = &[0, 13, 0, 4, 0, 2, 4, 3];

/// Rules: B53
#[test]
fn tls_1_0_and_1_1_are_refused_by_both_sides() {
    // What such a client does not say at all is missed first: handshake_failure; then protocol_version.
    for (version, extensions, alert) in [
        (0, &[][..], 40),
        (1, &[], 40),
        (2, &[], 40),
        (1, SIGNATURES, 70),
        (2, SIGNATURES, 70),
    ] {
        run(async {
            let Ends {
                mut wire,
                mut peer,
                watch,
            } = ends();
            drop(watch);
            peer.write_all(&old_hello(version, extensions)).unwrap();
            let tls = server(&self_signed(&params(&[HOST])));
            let error = wire.accept_tls(&tls).await.unwrap_err();
            assert_eq!(error.kind(), TlsErrorKind::Handshake);
            assert_eq!(error.to_string(), TOO_OLD, "3.{version}");
            let mut said = Vec::new();
            let reader = thread::spawn(move || peer.read_to_end(&mut said).map(|_| said));
            wire.close().await;
            // An alert and nothing before it; fatal.
            let said = reader.join().unwrap().unwrap();
            assert_eq!(said[0], 21);
            assert_eq!(said[5..], [2, alert]);
        });
    }
    for version in [1, 2] {
        run(async {
            let Ends {
                mut wire, mut peer, ..
            } = ends();
            let mut body = vec![3, version];
            body.extend([7; 32]);
            body.extend([0, 0xc0, 0x13, 0]);
            let message = [vec![2, 0, 0, u8::try_from(body.len()).unwrap()], body].concat();
            let length = u8::try_from(message.len()).unwrap();
            peer.write_all(&[vec![22, 3, version, 0, length], message].concat())
                .unwrap();
            let error = wire
                .connect_tls(&Authority::new().client().0, HOST)
                .await
                .unwrap_err();
            assert_eq!(error.to_string(), TOO_OLD, "3.{version}");
        });
    }
}

const TOO_OLD: &str = "cannot begin TLS: the peer's TLS is older than 1.2, which is not safe (it needs newer software or settings)";

/// Handshakes as server with a client that offers these names, and says which was chosen.
fn with_alpn(names: &[&str]) -> Result<Option<Vec<u8>>, (TlsError, String)> {
    run(async {
        let issued = self_signed(&params(&[HOST]));
        let Ends {
            mut wire,
            peer,
            watch,
        } = ends();
        drop(watch);
        let mut config = raw_client(&issued.der, BOTH);
        config.alpn_protocols = names.iter().map(|name| name.as_bytes().to_vec()).collect();
        let mut peer = Peer::client(peer, config, HOST);
        let peer = thread::spawn(move || {
            let ended = peer.handshake();
            (ended, peer.tls.alpn_protocol().map(<[u8]>::to_vec))
        });
        let accepted = wire.accept_tls(&server(&issued)).await;
        wire.close().await;
        let (ended, chosen) = peer.join().unwrap();
        match accepted {
            Ok(()) => {
                ended.unwrap();
                Ok(chosen)
            }
            Err(error) => Err((error, ended.unwrap_err().to_string())),
        }
    })
}

/// Rules: C14
#[test]
fn a_client_that_wants_another_protocol_than_smtp_is_refused() {
    for names in [&["http/1.1"][..], &["h2", "http/1.1"], &["imap"], &["SMTP"]] {
        let (error, alert) = with_alpn(names).unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Handshake);
        assert_eq!(
            error.to_string(),
            "cannot begin TLS: the peer wants to speak another protocol than SMTP (its ALPN names neither smtp nor esmtp)"
        );
        assert_eq!(alert, "received fatal alert: NoApplicationProtocol");
    }
    for (names, chosen) in [
        (&[][..], None),
        (&["smtp"], Some("smtp")),
        (&["esmtp"], Some("esmtp")),
        (&["http/1.1", "smtp"], Some("smtp")),
    ] {
        let agreed = with_alpn(names).unwrap();
        assert_eq!(agreed.as_deref(), chosen.map(str::as_bytes), "{names:?}");
    }
}

/// Rules: C14
#[test]
fn our_client_says_that_it_speaks_smtp_and_whom_it_wants() {
    run(async {
        let authority = Authority::new();
        let (client, _files) = authority.client();
        for (host, sni) in [
            (HOST, Some(HOST)),
            ("provider.example.com.", Some(HOST)),
            ("127.0.0.1", None),
            ("[::1]", None),
        ] {
            let issued = authority.issue(&params(&[HOST, "127.0.0.1", "::1"]));
            let mut ends = ends();
            let mut config = raw_server(&issued, BOTH);
            config.alpn_protocols = vec![b"smtp".to_vec()];
            let mut peer = Peer::server(ends.peer.try_clone().unwrap(), config);
            let peer = thread::spawn(move || {
                peer.handshake().unwrap();
                peer
            });
            ends.wire.connect_tls(&client, host).await.unwrap();
            let peer = peer.join().unwrap();
            assert_eq!(peer.tls.alpn_protocol(), Some(&b"smtp"[..]));
            let rustls::Connection::Server(server) = &peer.tls else {
                panic!("not a server");
            };
            assert_eq!(server.server_name(), sni, "{host}");
        }
    });
}

/// The peer's reason for not wanting us is told in words.
#[test]
fn a_client_that_does_not_believe_our_certificate_is_understood() {
    run(async {
        let Ends {
            mut wire,
            peer,
            watch,
        } = ends();
        drop(watch);
        let stranger = Authority::new();
        let mut peer = Peer::client(peer, raw_client(&stranger.der, BOTH), HOST);
        let peer = thread::spawn(move || peer.handshake());
        let tls = server(&Authority::new().issue_for(HOST));
        let error = wire.accept_tls(&tls).await.unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Handshake);
        assert_eq!(
            error.to_string(),
            "cannot begin TLS: the peer broke off: it does not know the issuer of our certificate (UnknownCA)"
        );
        peer.join().unwrap().unwrap_err();
    });
}

#[test]
fn a_host_that_is_no_name_is_refused_before_anything_is_sent() {
    run(async {
        let (client, _files) = Authority::new().client();
        let mut ends = ends();
        let error = ends
            .wire
            .connect_tls(&client, "what is this")
            .await
            .unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Configuration);
        assert_eq!(
            error.to_string(),
            "cannot check a certificate for what is this: it is neither a host name nor an address"
        );
    });
}

const NOT_ITS_KEY: &str =
    "cannot begin TLS: the peer does not have the private key of the certificate that it shows";
