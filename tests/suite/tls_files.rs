//! The files that TLS needs: what is wrong with one is said with its name, before anybody connects.

use crate::tls_world::{Authority, HOST, Issued, params, self_signed};
use rcgen::date_time_ymd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use turnabout::tls::{ClientSettings, ClientTls, KeyPair, Pem, ServerTls, TlsErrorKind};
use zeroize::Zeroizing;

const CERTIFICATE: &str = "/etc/turnabout/cert.pem";
const KEY: &str = "/etc/turnabout/key.pem";

fn pem(certificate: &str, key: &str) -> Pem {
    Pem {
        pair: KeyPair {
            certificate: PathBuf::from(CERTIFICATE),
            key: PathBuf::from(KEY),
        },
        certificate: certificate.as_bytes().to_vec(),
        key: Zeroizing::new(key.as_bytes().to_vec()),
    }
}

/// The sentence with which the two files are refused.
fn refused(certificate: &str, key: &str) -> String {
    let error = ServerTls::new(&[pem(certificate, key)], None, false).unwrap_err();
    assert_eq!(error.kind(), TlsErrorKind::Configuration);
    error.to_string()
}

fn one() -> Issued {
    self_signed(&params(&[HOST]))
}

#[test]
fn what_is_no_certificate_is_refused_with_what_it_is_instead() {
    let good = one();
    let cannot = format!("cannot read certificates from {CERTIFICATE}: ");
    for (content, cause) in [
        (
            good.key.as_str(),
            "it holds a private key (are certificate and key mixed up?)",
        ),
        (
            "",
            "there is none in it (a file in PEM form is needed, with lines -----BEGIN ...-----)",
        ),
        (
            "0\u{3}binary",
            "there is none in it (a file in PEM form is needed, with lines -----BEGIN ...-----)",
        ),
        (
            &good.pem[..good.pem.len() / 2],
            "it is damaged (a file in PEM form is needed)",
        ),
        (
            "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
            "it is damaged (a file in PEM form is needed)",
        ),
    ] {
        assert_eq!(refused(content, &good.key), format!("{cannot}{cause}"));
    }
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert_eq!(
        refused(nonsense, &good.key),
        format!(
            "cannot use {CERTIFICATE}: it holds no certificate that can be understood (X.509 version 3 is needed)"
        )
    );
}

#[test]
fn what_is_no_private_key_is_refused_with_what_it_is_instead_and_never_shown() {
    let good = one();
    let cannot = format!("cannot read a private key from {KEY}: ");
    let encrypted = "it is encrypted with a passphrase (decrypt it: openssl pkey -in OLD -out NEW)";
    for (content, cause) in [
        (
            good.pem.as_str(),
            "it holds a certificate (are certificate and key mixed up?)",
        ),
        (
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nc2VjcmV0\n-----END ENCRYPTED PRIVATE KEY-----\n",
            encrypted,
        ),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nc2VjcmV0\n-----END RSA PRIVATE KEY-----\n",
            encrypted,
        ),
        (
            "c2VjcmV0",
            "there is none in it (a file in PEM form is needed, with lines -----BEGIN ...-----)",
        ),
        (
            "-----BEGIN PRIVATE KEY-----\nc2VjcmV0!\n-----END PRIVATE KEY-----\n",
            "it is damaged (a file in PEM form is needed)",
        ),
    ] {
        assert_eq!(refused(&good.pem, content), format!("{cannot}{cause}"));
    }
    let empty = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    let said = refused(&good.pem, empty);
    let start = format!(
        "cannot use the private key in {KEY}: it is damaged, or of a kind that is not supported"
    );
    assert!(said.starts_with(&start), "{said}");
    assert!(!said.contains("c2VjcmV0"), "{said}");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    assert_eq!(
        refused(&one().pem, &one().key),
        format!(
            "cannot use {CERTIFICATE}: {KEY} is not its private key (was one renewed without the other, or is the chain in the wrong order? the server's own certificate comes first)"
        )
    );
    // The chain upside down: the key would be the authority's.
    let authority = Authority::new();
    let issued = authority.issue_for(HOST);
    let chain = format!("{}{}", authority.pem, issued.pem);
    assert!(refused(&chain, &issued.key).contains("wrong order"));
    let chain = format!("{}{}", issued.pem, authority.pem);
    ServerTls::new(&[pem(&chain, &issued.key)], None, false).unwrap();
}

/// As some programs want it, all in one.
#[test]
fn certificate_and_key_may_stand_in_one_file() {
    let good = one();
    let both = format!("# comment\n{}\n{}", good.key, good.pem);
    ServerTls::new(&[pem(&both, &both)], None, false).unwrap();
}

#[test]
fn without_a_certificate_there_is_no_tls() {
    let error = ServerTls::new(&[], None, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot offer TLS: there is no certificate (set certificate and key)"
    );
}

/// Nobody may be locked out by a clock, or by a renewal that is a day late: a warning tells of it.
#[test]
fn an_expired_certificate_of_ours_is_used_and_its_end_is_known() {
    let mut old = params(&[HOST]);
    old.not_before = date_time_ymd(2020, 1, 1);
    old.not_after = date_time_ymd(2021, 1, 1);
    let old = self_signed(&old);
    let new = one();
    let tls = ServerTls::new(&[new.as_pem(), old.as_pem()], None, false).unwrap();
    // 1 January 2021.
    let end = SystemTime::UNIX_EPOCH + Duration::from_secs(1_609_459_200);
    assert_eq!(tls.expires(), Some(end));
    let tls = ServerTls::new(&[new.as_pem()], None, false).unwrap();
    assert!(tls.expires().unwrap() > SystemTime::now());
}

#[test]
fn a_client_ca_must_hold_authorities() {
    let good = one();
    let file = Path::new("/etc/turnabout/ca.pem");
    let refused = |content: &str| {
        let ca = Some((file, content.as_bytes()));
        let error = ServerTls::new(&[good.as_pem()], ca, true).unwrap_err();
        error.to_string()
    };
    assert!(
        refused("")
            .starts_with("cannot read certificates from /etc/turnabout/ca.pem: there is none")
    );
    let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    let said = refused(nonsense);
    assert!(
        said.starts_with("cannot use /etc/turnabout/ca.pem as client_ca: "),
        "{said}"
    );
}

#[test]
fn a_customers_files_are_named_when_they_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let missing = path("missing.pem");
    let refused = |settings: ClientSettings| {
        let error = ClientTls::new(&settings).unwrap_err();
        assert_eq!(error.kind(), TlsErrorKind::Configuration);
        error.to_string()
    };
    let with_ca = |ca_file: &Path| ClientSettings {
        ca_file: Some(ca_file.to_owned()),
        ..ClientSettings::default()
    };
    let cannot = format!(
        "cannot read {}: No such file or directory (os error 2) (is the name right, and may this user read it?)",
        missing.display()
    );
    assert_eq!(refused(with_ca(&missing)), cannot);
    std::fs::write(path("empty.pem"), "").unwrap();
    assert!(refused(with_ca(&path("empty.pem"))).contains("there is none in it"));

    let (good, authority) = (one(), Authority::new());
    std::fs::write(path("ca.pem"), &authority.pem).unwrap();
    std::fs::write(path("cert.pem"), &good.pem).unwrap();
    std::fs::write(path("key.pem"), &one().key).unwrap();
    let with_own = |key: PathBuf| ClientSettings {
        certificate: Some(KeyPair {
            certificate: path("cert.pem"),
            key,
        }),
        ..with_ca(&path("ca.pem"))
    };
    assert_eq!(refused(with_own(missing)), cannot);
    let said = refused(with_own(path("key.pem")));
    assert!(said.contains("key.pem is not its private key ("), "{said}");
    std::fs::write(path("key.pem"), &good.key).unwrap();
    ClientTls::new(&with_own(path("key.pem"))).unwrap();
}

#[test]
fn a_key_is_not_shown_by_debug() {
    let good = one();
    let shown = format!("{:?}", good.as_pem());
    assert!(shown.contains("key.pem"), "{shown}");
    assert!(shown.len() < 150, "{shown}");
}
