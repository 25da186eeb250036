//! One process for one connection, with TLS.

use crate::activation_one::{mail_for_alice, passed};
use crate::driver::{ALICE, Inetd, Setup, write_pair};
use crate::tls_world::{Authority, BOTH, HOST, params, raw_client};
use turnabout::sasl::Mechanism;

fn with_tls(setup: Setup) -> (Inetd, Authority) {
    let authority = Authority::new();
    let issued = authority.issue(&params(&[HOST]));
    let keys = "certificate = [\"DIR/cert.pem\"]\nkey = [\"DIR/key.pem\"]\n";
    let setup = Setup {
        keys: keys.to_owned() + &setup.keys,
        ..setup
    };
    let inetd = Inetd::with(&setup, |directory| write_pair(directory, &issued));
    (inetd, authority)
}

#[test]
fn starttls_works_with_a_key_that_only_root_reads() {
    let (inetd, authority) = with_tls(Setup {
        tls: "required",
        ..mail_for_alice()
    });
    let (mut peer, one) = inetd.start();
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.code("EHLO customer.example.org"), 250);
    assert_eq!(peer.code("STARTTLS"), 220);
    peer.begin_tls(raw_client(&authority.der, BOTH), HOST)
        .unwrap();
    assert_eq!(peer.code("EHLO customer.example.org"), 250);
    assert_eq!(peer.login(Mechanism::CramMd5, ALICE), 235);
    assert_eq!(peer.code("ATRN"), 250);
    assert_eq!(peer.take_mail(), ["Subject: hello\n"]);
    let (status, log) = one.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("delivered all"), "{log}");
}

#[test]
fn a_socket_with_tls_in_its_name_begins_with_tls() {
    let (inetd, authority) = with_tls(Setup {
        tls: "required",
        ..mail_for_alice()
    });
    for (name, at_once) in [("odmr-tls.socket", true), ("odmr-starttls", false)] {
        let (mut peer, served) = inetd.connection();
        let one = inetd.run(passed(&inetd, &[served.into()], name));
        if at_once {
            peer.begin_tls(raw_client(&authority.der, BOTH), HOST)
                .unwrap();
        }
        assert_eq!(peer.reply().0, 220);
        assert_eq!(peer.code("QUIT"), 221);
        drop(peer);
        assert_eq!(one.ended().0.code(), Some(0));
    }
}

#[test]
fn a_connection_to_a_port_of_listen_tls_begins_with_tls() {
    let mut port = 0;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    port += listener.local_addr().unwrap().port();
    let (mut inetd, authority) = with_tls(Setup {
        keys: format!("listen_tls = [\"127.0.0.1:{port}\"]\n"),
        ..Setup::default()
    });
    inetd.listener = listener;
    let (mut peer, _one) = inetd.start();
    peer.begin_tls(raw_client(&authority.der, BOTH), HOST)
        .unwrap();
    assert_eq!(peer.reply().0, 220);
}

#[test]
fn a_socket_for_tls_without_a_certificate_is_a_wrong_configuration() {
    let inetd = Inetd::new(&Setup::default());
    let (mut peer, served) = inetd.connection();
    let one = inetd.run(passed(&inetd, &[served.into()], "odmr-tls"));
    peer.assert_ended();
    let (status, log) = one.ended();
    assert_eq!((status.code(), log.lines().count()), (Some(78), 1), "{log}");
    assert!(log.contains("cannot begin TLS on odmr-tls: "), "{log}");
}
