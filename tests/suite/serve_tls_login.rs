//! Logging in at the real provider by what TLS has shown: certificates, and the connection itself.

use crate::driver::{ALICE, BOB, Peer, Setup, Site, accounts, client_with};
use crate::tls_world::{Authority, Issued, params};
use turnabout::sasl::Mechanism;

/// alice by this certificate's fingerprint or by her password, home by the name in a certificate that the
/// authority vouches for.
fn accounts_with(own: &Issued) -> String {
    format!(
        "{}[[account]]\nuser = \"pinned\"\ncertificates = [\"{}\"]\ndomains = [\"pinned.example\"]\nnext_hop = \"[127.77.0.8]:2525\"\n\
         [[account]]\nuser = \"home\"\ncertificates = [\"dns:home.example.org\"]\ndomains = [\"home.example\"]\nnext_hop = \"[127.77.0.9]:2525\"\n",
        accounts(ALICE.1),
        own.fingerprint()
    )
}

fn site(own: &Issued) -> Site {
    Site::start(Setup {
        keys: "client_ca = \"DIR/ca.pem\"\n".to_owned(),
        accounts: accounts_with(own),
        ..Setup::default()
    })
}

fn mechanisms(peer: &mut Peer) -> String {
    let (_, text) = peer.ask("EHLO customer.example.org");
    let auth = text.lines().find_map(|line| line.strip_prefix("AUTH "));
    auth.unwrap_or_default().to_owned()
}

/// Rules: B55, B75, R12
#[test]
fn a_certificate_that_an_account_names_logs_in_with_external() {
    let own = crate::tls_world::self_signed(&params(&["whatever.example"]));
    let mut site = site(&own);
    for tls13 in [true, false] {
        let mut peer = site.secured_with(client_with(&site.authority, &own, tls13));
        assert!(mechanisms(&mut peer).starts_with("EXTERNAL"));
        assert_eq!(peer.login(Mechanism::External, ("", "")), 235);
        assert_eq!(peer.code("ATRN"), 453);
        assert_eq!(peer.code("ATRN example.org"), 450);
        assert_eq!(peer.code("QUIT"), 221);
    }
    let line = site.serve.process.logged("mechanism=EXTERNAL");
    assert!(line.contains("user=pinned"), "{line}");
    // By name, through the authority.
    let home = site.authority.issue(&params(&["home.example.org"]));
    let mut peer = site.secured_with(client_with(&site.authority, &home, true));
    assert_eq!(peer.login(Mechanism::External, ("", "")), 235);
    assert_eq!(peer.code("ATRN home.example"), 453);
    // Whom it acts for can be said, if it is the one it is.
    let mut peer = site.secured_with(client_with(&site.authority, &home, true));
    assert_eq!(peer.code("AUTH EXTERNAL aG9tZQ=="), 235);
}

/// Rules: B55, B75
#[test]
fn a_certificate_that_nobody_knows_is_535_and_none_is_no_offer() {
    let own = crate::tls_world::self_signed(&params(&["whatever.example"]));
    let mut site = site(&own);
    // The right name, vouched for by nobody; and the right authority with another name.
    let forged = Authority::new().issue(&params(&["home.example.org"]));
    let other = site.authority.issue(&params(&["away.example.org"]));
    for stranger in [&forged, &other] {
        let mut peer = site.secured_with(client_with(&site.authority, stranger, true));
        assert_eq!(peer.login(Mechanism::External, ("", "")), 535);
        assert_eq!(peer.code("ATRN"), 530);
        // It can still log in as somebody with a password.
        assert_eq!(peer.login(Mechanism::ScramSha256, BOB), 235);
    }
    let line = site.serve.process.logged("login refused");
    assert!(line.contains("certificate sha256:"), "{line}");
    // Somebody else's name is not to be had.
    let mut peer = site.secured_with(client_with(&site.authority, &own, true));
    assert_eq!(peer.code("AUTH EXTERNAL aG9tZQ=="), 535);
    // Without a certificate it is not offered, and in the clear it is not either.
    let mut peer = site.secured();
    assert!(!mechanisms(&mut peer).contains("EXTERNAL"));
    assert_eq!(peer.code("AUTH EXTERNAL ="), 504);
}

/// Rules: B55
#[test]
fn nobody_is_asked_for_a_certificate_if_no_account_names_one() {
    let own = crate::tls_world::self_signed(&params(&["whatever.example"]));
    let site = Site::start(Setup::default());
    let mut peer = site.secured_with(client_with(&site.authority, &own, true));
    assert!(!mechanisms(&mut peer).contains("EXTERNAL"));
    assert_eq!(peer.login(Mechanism::Plain, ALICE), 235);
}

#[test]
fn a_name_in_a_certificate_needs_an_authority() {
    let own = crate::tls_world::self_signed(&params(&["whatever.example"]));
    let mut site = Site::spawn(Setup {
        accounts: accounts_with(&own),
        ..Setup::default()
    });
    let (status, log) = site.serve.process.ended();
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(
        log.contains("cannot know \"home\" by the dns: name of a certificate"),
        "{log}"
    );
}

/// Rules: B71, B72, B73
#[test]
fn each_bound_mechanism_logs_in_and_a_stolen_binding_does_not() {
    let site = Site::start(Setup::default());
    for mechanism in [Mechanism::ScramSha256Plus, Mechanism::ScramSha1Plus] {
        let mut peer = site.secured();
        assert_eq!(peer.login(mechanism, ALICE), 235);
        assert_eq!(peer.code("ATRN"), 453);
    }
    // A login that is made for one connection and sent on another.
    let (one, mut other) = (site.secured(), site.secured());
    assert_eq!(
        other.login_bound(Mechanism::ScramSha256Plus, ALICE, one.binding()),
        535
    );
    assert_eq!(other.code("ATRN"), 530);
}
