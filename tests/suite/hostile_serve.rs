//! Floods of connections that are not served.

use crate::driver::{Serve, Setup};
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
