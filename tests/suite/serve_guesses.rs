//! Guessing passwords, from one address and from many: how many are looked at in a time.

use crate::driver::{ALICE, Peer, Serve, Setup};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};
use turnabout::sasl::Mechanism;

/// How long is guessed: the first failures are answered after 1, 2 and 4 seconds, the next after 8.
const WHILE: Duration = Duration::from_secs(6);

fn address(third: u8) -> IpAddr {
    Ipv4Addr::new(127, 4, third, 1).into()
}

fn greeted(from: IpAddr, serve: SocketAddr) -> Peer {
    let mut peer = Peer::connect_from(from, serve);
    assert_eq!(peer.reply().0, 220);
    assert_eq!(peer.code("EHLO customer.example.org"), 250);
    peer
}

/// A thread that makes one guess on a connection of its own, and waits for what it hears.
fn guess(mechanism: Mechanism, from: IpAddr, user: String, serve: SocketAddr) {
    let mut peer = greeted(from, serve);
    // Nobody waits for it: it may end with the provider, in the middle of a line.
    std::thread::spawn(move || peer.login(mechanism, (&user, "a guess")));
}

/// Looks when the time is over: how many logins were looked at and found wrong, which are some, but not more than
/// there was room for. The answers to the first are due after 1, 2, 4, 8, and then 16 seconds each, and each makes room
/// for one more.
fn assert_slowed(serve: &mut Serve, started: Instant, room: usize) {
    serve.process.logged("login refused: ");
    std::thread::sleep(WHILE.saturating_sub(started.elapsed()));
    let judged = serve.process.log().matches("login refused: ").count();
    let seconds = usize::try_from(started.elapsed().as_secs()).unwrap();
    let due = [1, 2, 4, 8]
        .iter()
        .filter(|delay| **delay <= seconds)
        .count();
    let most = room + due + seconds / 16 * room;
    assert!(
        judged <= most,
        "{judged} in {seconds} s: {}",
        serve.process.log()
    );
}

/// Rules: C11
#[test]
fn many_connections_from_one_address_try_no_more_passwords_than_the_delays_allow() {
    for (mechanism, many) in [(Mechanism::CramMd5, 24), (Mechanism::ScramSha256, 12)] {
        let mut serve = Serve::start(Setup::default());
        let started = Instant::now();
        for n in 0..many {
            guess(mechanism, address(1), format!("user{n}"), serve.address());
        }
        assert_slowed(&mut serve, started, 4);
        // Somebody else does not feel any of it.
        let mut alice = greeted(address(9), serve.address());
        assert_eq!(alice.login(mechanism, ALICE), 235);
    }
}

/// Rules: C11
#[test]
fn many_addresses_try_no_more_passwords_of_one_user_and_the_user_itself_is_let_in() {
    let mut serve = Serve::start(Setup::default());
    let home = address(200);
    let mut alice = greeted(home, serve.address());
    assert_eq!(alice.login(Mechanism::CramMd5, ALICE), 235);
    let started = Instant::now();
    for third in 1..=30 {
        let user = "alice".to_owned();
        guess(Mechanism::CramMd5, address(third), user, serve.address());
    }
    let mut alice = greeted(home, serve.address());
    assert_eq!(alice.login(Mechanism::CramMd5, ALICE), 235);
    assert_slowed(&mut serve, started, 8);
}

/// Rules: C11
#[test]
fn a_connection_that_does_not_wait_for_its_answer_gains_nothing() {
    let mut serve = Serve::start(Setup::default());
    let started = Instant::now();
    let mut dropped = 0;
    while started.elapsed() < WHILE {
        let mut peer = Peer::connect_from(address(1), serve.address());
        // Those that wait for their turn count among the connections, whether or not the peer is still there.
        if peer.reply().0 == 220 {
            assert_eq!(peer.code("EHLO customer.example.org"), 250);
            assert_eq!(peer.code("AUTH CRAM-MD5"), 334);
            // The digest is wrong, and nobody listens for the answer.
            peer.send("YWxpY2UgMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=\r\n");
            dropped += 1;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(dropped > 8, "{dropped}");
    assert_slowed(&mut serve, started, 4);
}

/// Rules: C11
#[test]
fn who_has_waited_half_a_minute_for_a_look_at_his_login_is_told_421() {
    let serve = Serve::start(Setup::default());
    let started = Instant::now();
    // Twelve of them have a look in that time, four at once.
    let guesses: Vec<_> = (0..20)
        .map(|n| {
            let mut peer = greeted(address(1), serve.address());
            peer.stream
                .set_read_timeout(Some(Duration::from_secs(100)))
                .unwrap();
            std::thread::spawn(move || {
                let user = format!("user{n}");
                let code = peer.login(Mechanism::CramMd5, (&user, "a guess"));
                (code, started.elapsed())
            })
        })
        .collect();
    let ends: Vec<_> = guesses
        .into_iter()
        .map(|guess| guess.join().unwrap())
        .collect();
    let put_off = ends.iter().filter(|(code, _)| *code == 421);
    let times: Vec<&Duration> = put_off.map(|(_, after)| after).collect();
    assert!(!times.is_empty(), "{ends:?}");
    assert!(
        times.iter().all(|after| **after >= Duration::from_secs(29)),
        "{ends:?}"
    );
    let known = |(code, _): &(u16, Duration)| [421, 535].contains(code);
    assert!(
        ends.iter().all(known) && times.len() < ends.len(),
        "{ends:?}"
    );
}
