//! Floods of connections that are not served.

use crate::driver::{ALICE, BOB_HOP, Serve, Setup, accounts, install};
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

/// Rules: C12
#[test]
fn a_flood_that_is_turned_away_holds_few_descriptors() {
    let serve = Serve::start(Setup {
        keys: "sources = [\"192.0.2.0/24\"]\n".to_owned(),
        ..Setup::default()
    });
    let flood: Vec<TcpStream> = (0..400)
        .map(|_| TcpStream::connect(serve.address()).unwrap())
        .collect();
    let heard = flood
        .iter()
        .filter(|stream| {
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            let mut octets = [0; 4];
            // Closed without a word is an end or a reset.
            matches!((&mut &**stream).read(&mut octets), Ok(4) if &octets == b"554 ")
        })
        .count();
    assert!((1..400).contains(&heard), "{heard} were answered");
}

/// Rules: C10
#[test]
fn exim_does_not_start_with_next_hops_that_it_takes_for_one() {
    let mut serve = Serve::spawn_with(
        Setup {
            keys: "handoff = \"exim-continue\"".to_owned(),
            accounts: accounts(ALICE.1).replace(BOB_HOP, "[127.77.0.1]:2526"),
            ..Setup::default()
        },
        |directory| install("exim", directory),
    );
    let (status, log) = serve.process.ended();
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(log.contains("by its address alone"), "{log}");
}
