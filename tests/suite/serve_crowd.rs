//! Many that do not log in, and the customers among them.

use crate::driver::{ALICE, BOB, Peer, Serve, Setup, Site, secured_at_once, until};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

fn limited(limits: &'static str) -> Serve {
    Serve::start(Setup {
        limits,
        ..Setup::default()
    })
}

fn from(third: u8, address: SocketAddr) -> Peer {
    Peer::connect_from(IpAddr::V4(Ipv4Addr::new(127, 3, third, 1)), address)
}

/// Rules: C12
#[test]
fn when_all_places_are_customers_the_next_connection_is_421() {
    let serve = limited("connections = 2");
    let customers = [ALICE, BOB].map(|who| Peer::logged_in(serve.address(), who));
    let mut third = Peer::connect(serve.address());
    let (code, text) = third.reply();
    assert_eq!(code, 421);
    assert!(text.starts_with("provider.example.com "), "{text}");
    third.assert_ended();
    drop(customers);
    until("room", || {
        let mut peer = Peer::connect(serve.address());
        Some(()).filter(|()| peer.reply().0 == 220)
    });
}

/// Rules: C12
#[test]
fn for_one_stranger_too_many_the_oldest_leaves_with_421() {
    // By their share, and by all places.
    for limits in [
        "connections = 10\nunauthenticated_percent = 30",
        "connections = 3\nunauthenticated_percent = 100",
    ] {
        let mut serve = limited(limits);
        let mut strangers: Vec<Peer> = (1..=3).map(|n| from(n, serve.address())).collect();
        for stranger in &mut strangers {
            assert_eq!(stranger.reply().0, 220);
        }
        let mut newcomer = from(4, serve.address());
        assert_eq!(newcomer.reply().0, 220);
        let (code, text) = strangers[0].reply();
        assert_eq!(code, 421);
        assert!(text.starts_with("4.3.2 "), "{text}");
        strangers[0].assert_ended();
        for staying in strangers.iter_mut().skip(1).chain([&mut newcomer]) {
            assert_eq!(staying.code("NOOP"), 250);
        }
        let line = serve.process.logged("session closed");
        assert!(line.contains("too busy"), "{line}");
    }
}

/// Rules: C12
#[test]
fn a_customer_that_has_logged_in_keeps_its_place_whoever_comes() {
    let serve = limited("connections = 5");
    let mut alice = from(1, serve.address());
    assert_eq!(alice.reply().0, 220);
    assert_eq!(alice.code("EHLO customer.example.org"), 250);
    assert_eq!(
        alice.login(turnabout::sasl::Mechanism::ScramSha256, ALICE),
        235
    );
    let strangers: Vec<Peer> = (2..40)
        .map(|third| {
            let mut stranger = from(third, serve.address());
            assert_eq!(stranger.reply().0, 220, "each finds a place");
            stranger
        })
        .collect();
    assert_eq!(alice.code("ATRN"), 453);
    drop(strangers);
}

/// Rules: C12
#[test]
fn a_crowd_from_one_network_does_not_push_out_a_customer_from_elsewhere() {
    let serve = limited("connections = 8");
    let mut alice = from(1, serve.address());
    assert_eq!(alice.reply().0, 220);
    let crowd: Vec<Peer> = (1..60)
        .map(|last| {
            let source = IpAddr::V4(Ipv4Addr::new(127, 3, 2, last));
            let mut stranger = Peer::connect_from(source, serve.address());
            assert_eq!(stranger.reply().0, 220);
            stranger
        })
        .collect();
    // It came first, and takes its time.
    assert_eq!(alice.code("EHLO customer.example.org"), 250);
    assert_eq!(alice.login(turnabout::sasl::Mechanism::CramMd5, ALICE), 235);
    drop(crowd);
}

/// Rules: C12
#[test]
fn handshakes_that_do_not_go_on_make_room_for_one_that_does() {
    let site = Site::start(Setup {
        keys: "listen_tls = [\"127.0.0.1:0\"]\n".to_owned(),
        limits: "handshakes = 2",
        ..Setup::default()
    });
    let implicit = site.serve.listening[1];
    let waiting: Vec<Peer> = (1..=3).map(|third| from(third, implicit)).collect();
    let gone = |count| {
        until("some to leave", || {
            let log = site.serve.process.log();
            let left = log.matches("too many TLS handshakes at once").count();
            (left == count).then_some(())
        });
    };
    // One has to go for the third, and one for the customer, who means it.
    gone(1);
    let mut customer = secured_at_once(implicit, site.client());
    gone(2);
    assert_eq!(customer.code("NOOP"), 250);
    drop(waiting);
}
