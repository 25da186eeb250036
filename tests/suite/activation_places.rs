//! What processes for one connection each know of one another.

use crate::activation_one::{hello, log_in, mail_for_alice};
use crate::driver::{ALICE, ALICE_HOP, BOB, BOB_HOP, Inetd, Setup};
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Rules: R20
#[test]
fn a_customer_is_served_by_one_process_at_a_time() {
    let inetd = Inetd::new(&Setup {
        queue: vec![
            hello("someone@example.org", ALICE_HOP),
            hello("someone@example.net", BOB_HOP),
        ],
        ..Setup::default()
    });
    let (mut first, one) = inetd.start();
    log_in(&mut first, ALICE);
    assert_eq!(first.code("ATRN"), 250);
    let (mut second, other) = inetd.start();
    log_in(&mut second, ALICE);
    assert_eq!(second.code("ATRN"), 450);
    other.logged("another session of this customer");
    // Another customer is not held up.
    let (mut third, _bobs) = inetd.start();
    log_in(&mut third, BOB);
    assert_eq!(third.code("ATRN"), 250);
    assert_eq!(first.take_mail(), ["Subject: hello\n"]);
    one.ended();
    // Nobody is served any more, and nothing is left.
    assert_eq!(second.code("ATRN"), 453);
}

/// Rules: R20
#[test]
fn the_interval_between_two_turns_holds_across_processes() {
    let inetd = Inetd::new(&Setup {
        keys: "retry_interval = \"1h\"".to_owned(),
        ..mail_for_alice()
    });
    for code in [250, 450] {
        let (mut peer, one) = inetd.start();
        log_in(&mut peer, ALICE);
        assert_eq!(peer.code("ATRN"), code);
        if code == 250 {
            assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
        }
        drop(peer);
        one.ended();
    }
}

#[test]
fn a_process_that_is_killed_leaves_no_customer_locked() {
    let inetd = Inetd::new(&mail_for_alice());
    let (mut peer, one) = inetd.start();
    log_in(&mut peer, ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    drop(one);
    let (mut peer, _one) = inetd.start();
    log_in(&mut peer, ALICE);
    assert_eq!(peer.code("ATRN"), 250);
}

#[test]
fn without_a_place_to_lock_customers_nothing_is_turned() {
    let inetd = Inetd::new(&mail_for_alice());
    fs::write(inetd.path("run"), "no directory").unwrap();
    let (mut peer, one) = inetd.start();
    log_in(&mut peer, ALICE);
    assert_eq!(peer.code("ATRN"), 451);
    drop(peer);
    let (_, log) = one.ended();
    let error = log.lines().find(|line| line.contains("451: "));
    assert!(
        error.is_some_and(
            |line| line.contains("Not a directory") && line.contains("serve.runtime_directory")
        ),
        "{log}"
    );
}

/// Rules: B74
#[test]
fn an_unknown_user_looks_the_same_to_each_process() {
    let inetd = Inetd::new(&Setup::default());
    let salts: Vec<String> = (0..2)
        .map(|_| {
            let (mut peer, _one) = inetd.start();
            assert_eq!(peer.reply().0, 220);
            assert_eq!(peer.code("EHLO customer.example.org"), 250);
            // n,,n=nobody,r=abc
            let (code, challenge) = peer.ask("AUTH SCRAM-SHA-256 biwsbj1ub2JvZHkscj1hYmM=");
            assert_eq!(code, 334);
            use base64::Engine;
            let text = base64::engine::general_purpose::STANDARD.decode(challenge);
            let text = String::from_utf8(text.unwrap()).unwrap();
            let salt = text.split(',').find(|part| part.starts_with("s="));
            salt.unwrap().to_owned()
        })
        .collect();
    assert_eq!(salts[0], salts[1]);
}

#[test]
fn the_directory_of_places_is_the_service_users_alone_to_write() {
    let inetd = Inetd::new(&mail_for_alice());
    let (mut peer, _one) = inetd.start();
    log_in(&mut peer, ALICE);
    assert_eq!(peer.code("ATRN"), 250);
    let run = inetd.path("run");
    let mode = fs::metadata(&run).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o750);
    let mut files = 0;
    for entry in fs::read_dir(&run).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{entry:?}");
        assert!(!entry.file_name().to_str().unwrap().contains("alice"));
        files += 1;
    }
    // The customer, its two next hops, and the key.
    assert_eq!(files, 4);
}
