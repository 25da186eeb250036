//! Providers with one fault each: the probe names it, and the section it is held against.

use crate::driver::{ALICE, IN_TLS, Peer, opened, scripted, start_tls, until_tls};
use crate::fetch_tls::World;
use crate::probe::{Probe, deviations, findings};
use crate::tls_world::{BOTH, raw_server};
use std::fs;
use std::io::Read;

/// What a probe with a login and `--atrn` says of a script without TLS.
fn probed(script: impl FnOnce(Peer) + Send + 'static) -> (i32, serde_json::Value) {
    let (address, provider) = scripted(script);
    let probe = Probe::in_clear(Some(ALICE.1), &["--atrn"]);
    let found = probe.json(address);
    provider.join().unwrap();
    found
}

/// An EHLO reply that nothing is wrong with.
const OFFER: &str = "250-provider.example.com\r\n250-AUTH CRAM-MD5\r\n250 ATRN\r\n";

/// Greets, and makes this offer.
fn offers(peer: &mut Peer, offer: &str) {
    peer.send("220 provider.example.com ESMTP\r\n");
    assert!(peer.line().unwrap().starts_with("EHLO "));
    peer.send(offer);
}

/// Refuses ATRN before AUTH as it should, and lets in.
fn lets_in(peer: &mut Peer) {
    assert_eq!(peer.line().unwrap(), "ATRN");
    peer.send("530 5.7.0 authentication required\r\n");
    assert_eq!(peer.line().unwrap(), "AUTH CRAM-MD5");
    peer.send("334 PDEuMUBwLmV4YW1wbGUuY29tPg==\r\n");
    peer.line().unwrap();
    peer.send("235 2.7.0 in\r\n");
    assert_eq!(peer.line().unwrap(), "ATRN");
}

fn leaves(peer: &mut Peer) {
    assert_eq!(peer.line().unwrap(), "QUIT");
    peer.send("221 bye\r\n");
    peer.assert_ended();
}

#[test]
fn a_provider_without_a_fault_has_none_and_gets_421_behind_its_turn() {
    let (code, report) = probed(|mut peer| {
        offers(&mut peer, OFFER);
        lets_in(&mut peer);
        peer.send("250 turning\r\n");
        let (code, text) = peer.reply();
        assert_eq!(code, 421, "{text}");
        peer.send("QUIT\r\n");
        assert_eq!(peer.reply().0, 221);
        peer.assert_ended();
    });
    assert_eq!((code, &report["mail"]), (0, &"waiting".into()), "{report}");
    assert_eq!(deviations(&report), [""; 0]);
    assert_eq!(
        findings(&report, "note"),
        [
            "offers no TLS: anybody on the way can read the mail (RFC 3207 section 1)",
            "does not offer ENHANCEDSTATUSCODES, which AUTH should come with (RFC 4954 section 6)"
        ]
    );
}

#[test]
fn no_atrn_in_the_offer_is_named_and_is_76() {
    let (code, report) = probed(|mut peer| {
        offers(
            &mut peer,
            "250-provider.example.com\r\n250 AUTH CRAM-MD5\r\n",
        );
        leaves(&mut peer);
    });
    assert_eq!(code, 76, "{report}");
    assert_eq!(
        deviations(&report),
        ["does not offer ATRN (RFC 2645 section 5.1.1)"]
    );
}

#[test]
fn a_turn_without_authentication_is_named_and_still_nothing_is_taken() {
    let (code, report) = probed(|mut peer| {
        offers(&mut peer, OFFER);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        assert_eq!(peer.reply().0, 421);
        peer.assert_ended();
    });
    assert_eq!(code, 76, "{report}");
    assert_eq!(
        deviations(&report),
        ["turns without authentication: whoever calls gets the mail (RFC 2645 section 5.2.1)"]
    );
}

#[test]
fn a_wrong_code_for_atrn_before_auth_is_named() {
    let (code, report) = probed(|mut peer| {
        offers(&mut peer, OFFER);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("503 AUTH first\r\n");
        assert_eq!(peer.line().unwrap(), "AUTH CRAM-MD5");
        peer.send("535 no\r\n");
        leaves(&mut peer);
    });
    assert_eq!((code, &report["login"]), (77, &"refused".into()));
    assert_eq!(
        deviations(&report),
        ["refuses ATRN before AUTH with 503, not 530: 503 AUTH first (RFC 2645 section 5.2.1)"]
    );
}

#[test]
fn a_wrong_code_for_no_mail_is_named() {
    let (code, report) = probed(|mut peer| {
        offers(&mut peer, OFFER);
        lets_in(&mut peer);
        peer.send("550 no mail\r\n");
        leaves(&mut peer);
    });
    assert_eq!(code, 77, "{report}");
    assert_eq!(
        deviations(&report),
        [
            "answers ATRN with 550 no mail, where 250, 450, 451 and 453 are known (RFC 2645 section 7)"
        ]
    );
}

#[test]
fn words_behind_the_turn_before_the_greeting_are_named() {
    let (code, report) = probed(|mut peer| {
        offers(&mut peer, OFFER);
        lets_in(&mut peer);
        peer.send("250 turning\r\nEHLO provider.example.com\r\n");
        peer.rest();
    });
    assert_eq!(code, 0, "{report}");
    assert_eq!(
        deviations(&report),
        [
            "speaks behind the turn before it is greeted (RFC 2645 section 5.3)",
            "goes on with EHLO although it was greeted with 421 (RFC 5321 section 3.1)"
        ]
    );
}

#[test]
fn passwords_in_the_clear_and_no_cram_md5_are_named() {
    let (code, report) = probed(|mut peer| {
        offers(
            &mut peer,
            "250-provider.example.com\r\n250-AUTH PLAIN LOGIN\r\n250 ATRN\r\n",
        );
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("530 no\r\n");
        leaves(&mut peer);
    });
    // The password did not go out.
    assert_eq!(
        (code, &report["login"]),
        (77, &"not-tried".into()),
        "{report}"
    );
    assert_eq!(
        deviations(&report),
        [
            "offers PLAIN and LOGIN without TLS, where anybody on the way can read the password (RFC 4954 section 4)",
            "does not offer CRAM-MD5, which every provider must have (RFC 2645 section 5.1.2)"
        ]
    );
}

#[test]
fn lines_that_end_with_lf_only_are_named_without_waiting_for_long() {
    let started = std::time::Instant::now();
    let (code, report) = probed(|mut peer| {
        peer.send("220 provider.example.com\n");
        peer.rest();
    });
    assert_eq!(code, 76, "{report}");
    assert_eq!(
        deviations(&report),
        ["answers the connection with a LF without CR (RFC 5321 section 2.3.8)"]
    );
    assert!(started.elapsed() < std::time::Duration::from_secs(25));
}

#[test]
fn lines_that_differ_in_their_code_are_named() {
    let (code, report) = probed(|mut peer| {
        offers(&mut peer, "250-provider.example.com\r\n251 ATRN\r\n");
        peer.rest();
    });
    assert_eq!(code, 76, "{report}");
    assert_eq!(
        deviations(&report),
        ["answers EHLO with lines that differ in their code (RFC 5321 section 4.2.1)"]
    );
}

#[test]
fn a_greeting_without_a_name_a_long_line_and_no_221_are_named() {
    let (code, report) = probed(|mut peer| {
        peer.send("220 *** welcome ***\r\n");
        peer.line().unwrap();
        peer.send(format!(
            "250-provider.example.com {}\r\n250-AUTH CRAM-MD5\r\n250-X_Y\r\n250 ATRN\r\n",
            "x".repeat(600)
        ));
        lets_in(&mut peer);
        peer.send("453 none\r\n");
        assert_eq!(peer.line().unwrap(), "QUIT");
    });
    assert_eq!((code, &report["mail"]), (0, &"none".into()), "{report}");
    assert_eq!(
        deviations(&report),
        [
            "greets without its name or address behind 220 (RFC 5321 section 4.2)",
            "sends a reply with a line of more than 512 octets (RFC 5321 section 4.5.3.1.5)",
            "offers what is no keyword: \"X_Y\" (RFC 5321 section 4.1.1.1)",
            "does not answer QUIT with 221 (RFC 5321 section 4.1.1.10)"
        ]
    );
}

#[test]
fn an_offer_of_enhanced_codes_that_is_not_kept_is_named() {
    let (code, report) = probed(|mut peer| {
        offers(
            &mut peer,
            "250-provider.example.com\r\n250-ENHANCEDSTATUSCODES\r\n250-AUTH CRAM-MD5\r\n250 ATRN\r\n",
        );
        lets_in(&mut peer);
        peer.send("453 none\r\n");
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 2.0.0 bye\r\n");
    });
    assert_eq!(code, 0, "{report}");
    assert_eq!(
        deviations(&report),
        ["offers ENHANCEDSTATUSCODES and answers ATRN without one: 453 none (RFC 2034 section 4)"]
    );
}

#[test]
fn an_end_of_a_login_before_its_proof_is_named() {
    let (code, report) = probed(|mut peer| {
        offers(
            &mut peer,
            "250-provider.example.com\r\n250-AUTH SCRAM-SHA-256 CRAM-MD5\r\n250 ATRN\r\n",
        );
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("530 no\r\n");
        assert!(peer.line().unwrap().starts_with("AUTH SCRAM-SHA-256 "));
        peer.send("235 come in\r\n");
        leaves(&mut peer);
    });
    assert_eq!(code, 76, "{report}");
    let found = deviations(&report);
    assert!(
        found.len() == 1
            && found[0].starts_with("shows nothing of its own: ")
            && found[0].ends_with("(RFC 5802 section 5)"),
        "{found:?}"
    );
}

/// Rules: C15
#[test]
fn a_provider_cannot_drive_the_terminal_of_who_probes_it() {
    let (address, provider) = scripted(|mut peer| {
        peer.send("220 \x1b[31mred\x07 \u{9b}2J\r\n");
        peer.line().unwrap();
        peer.send("250-\x1b]0;title\x07\r\n250 \x1b[2J\r\n");
        leaves(&mut peer);
    });
    let output = Probe::in_clear(None, &[]).run(address);
    let page = String::from_utf8(output.stdout).unwrap();
    provider.join().unwrap();
    assert!(page.contains("red"), "{page}");
    for character in page.chars().filter(|character| *character != '\n') {
        assert!(!character.is_control(), "{character:?} in {page}");
    }
}

#[test]
fn a_login_without_asking_says_no_atrn() {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        leaves(&mut peer);
    });
    let (code, report) = Probe::in_clear(Some(ALICE.1), &[]).json(address);
    provider.join().unwrap();
    assert_eq!((code, &report["mail"]), (0, &"unknown".into()), "{report}");
}

/// What a probe with a login says of a script that begins TLS.
fn probed_in_tls(
    world: &World,
    kind: &str,
    script: impl FnOnce(Peer) + Send + 'static,
) -> (i32, serde_json::Value) {
    let (address, provider) = scripted(script);
    let mut probe = Probe::new(Some(ALICE.1), &["--tls", kind, "--ca-file"]);
    let file = probe.directory.path().join("ca.pem");
    fs::write(&file, &world.authority.pem).unwrap();
    probe.options.push(file.to_str().unwrap().to_owned());
    let found = probe.json(address);
    provider.join().unwrap();
    found
}

#[test]
fn an_offer_of_starttls_inside_tls_is_named() {
    let world = World::new();
    let config = raw_server(&world.issued, BOTH);
    let (code, report) = probed_in_tls(&world, "starttls", move |mut peer| {
        start_tls(&mut peer, config).unwrap();
        assert!(peer.line().unwrap().starts_with("EHLO "));
        peer.send(IN_TLS.replace("250-AUTH PLAIN", "250-STARTTLS\r\n250-AUTH PLAIN CRAM-MD5"));
        assert_eq!(peer.line().unwrap(), "AUTH CRAM-MD5");
        peer.send("535 5.7.8 no\r\n");
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
    });
    assert_eq!(
        (code, &report["login"]),
        (77, &"refused".into()),
        "{report}"
    );
    assert_eq!(
        deviations(&report),
        ["offers STARTTLS although TLS has begun (RFC 3207 section 4.2)"]
    );
}

/// Rules: C2
#[test]
fn words_in_the_clear_behind_the_reply_to_starttls_are_named_and_nothing_is_said() {
    let world = World::new();
    let (code, report) = probed_in_tls(&world, "starttls", |mut peer| {
        peer.send("220 provider.example.com ESMTP\r\n");
        assert!(peer.line().unwrap().starts_with("EHLO "));
        peer.send("250-provider.example.com\r\n250 STARTTLS\r\n");
        assert_eq!(peer.line().unwrap(), "STARTTLS");
        peer.send("220 go on\r\n250 ATRN\r\n");
        peer.assert_ended();
    });
    assert_eq!(
        (code, &report["login"]),
        (76, &"not-tried".into()),
        "{report}"
    );
    assert_eq!(
        deviations(&report),
        [
            "goes on in the clear behind its reply to STARTTLS (or somebody on the way does) (RFC 3207 section 4)"
        ]
    );
}

/// Rules: B49, C3
#[test]
fn a_provider_without_starttls_gets_no_password_and_is_77() {
    let world = World::new();
    let (code, report) = probed_in_tls(&world, "starttls", |mut peer| {
        offers(&mut peer, OFFER);
        leaves(&mut peer);
    });
    assert_eq!(
        (code, &report["login"]),
        (77, &"not-tried".into()),
        "{report}"
    );
    assert_eq!(
        findings(&report, "note"),
        ["does not offer STARTTLS (RFC 3207 section 6)"]
    );
}

#[test]
fn what_is_no_tls_at_all_is_75_and_told() {
    let world = World::new();
    let (code, report) = probed_in_tls(&world, "starttls", |mut peer| {
        until_tls(&mut peer);
        // It has begun its handshake.
        peer.stream.read_exact(&mut [0; 1]).unwrap();
        peer.send("220 I have no idea\r\n");
        peer.rest();
    });
    assert_eq!(code, 75, "{report}");
    let text = report["text"].as_str().unwrap();
    assert!(text.contains("cannot begin TLS"), "{text}");
}

#[test]
fn tls_from_the_first_octet_is_probed_too() {
    let world = World::new();
    let config = raw_server(&world.issued, BOTH);
    let (code, report) = probed_in_tls(&world, "implicit", move |mut peer| {
        peer.take_tls(config).unwrap();
        peer.send("220 provider.example.com ESMTP\r\n");
        assert!(peer.line().unwrap().starts_with("EHLO "));
        peer.send(IN_TLS);
        assert!(peer.line().unwrap().starts_with("AUTH PLAIN "));
        peer.send("235 2.7.0 in\r\n");
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
    });
    assert_eq!(
        (code, &report["login"]),
        (0, &"accepted".into()),
        "{report}"
    );
    assert!(report["offered_in_clear"].is_null());
    assert_eq!(report["tls"]["names"], "127.0.0.1");
}
