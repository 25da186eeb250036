//! How many passwords can be tried at once, and how long each that is wrong takes (rule C11).
//!
//! A login is looked at only when there is room for one more from its address, from its network and for its user. One
//! that is right leaves at once. One that is wrong keeps its room until its answer is due, whether or not the peer is
//! still there to hear it: so neither many connections at once nor connections that are dropped early can try more
//! than the delays allow.
//!
//! A stranger must not keep a customer out by guessing at its name. So where a user has logged in from before, there is
//! always room for it: only room for the address and the network counts there.

use super::failures::Failures;
use super::lock;
use super::origin::{network, source};
use crate::smtp::network::Network;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};

/// How many at once from one address (an IPv4 address, an IPv6 /64), from one network around it, and for one user.
const FROM_ADDRESS: usize = 4;
const FROM_NETWORK: usize = 16;
const FOR_USER: usize = 8;

/// How long a login waits for room; after that it is told to come back later.
const PATIENCE: Duration = Duration::from_secs(30);

/// How many homes (a user and a network it has logged in from) are remembered, and for how long.
const HOMES: usize = 10_000;
const HOME_TIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// All guesses of the process, and what came of earlier ones.
#[derive(Debug, Default)]
pub(super) struct Guesses {
    failures: Mutex<Failures>,
    rooms: Mutex<Rooms>,
    homes: Mutex<HashMap<(String, Option<Network>), Instant>>,
}

/// What has room for so many guesses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Whose {
    Address(IpAddr),
    Network(Network),
    User(String),
}

/// Rooms that somebody is in, or was a moment ago.
#[derive(Debug, Default)]
struct Rooms {
    known: HashMap<Whose, Weak<Semaphore>>,
    /// When to look next for those that are empty.
    sweep_at: usize,
}

/// A login that is being looked at, or whose answer is not due yet.
#[derive(Debug)]
pub(super) struct Guess {
    _rooms: Vec<OwnedSemaphorePermit>,
}

impl Guess {
    /// It was wrong: its room stays taken until the answer is due.
    pub(super) fn hold(self, delay: Duration) {
        tokio::spawn(async move {
            sleep(delay).await;
            drop(self);
        });
    }
}

impl Guesses {
    /// Waits for room to look at a login of `user` from `peer`; none when it took too long.
    pub(super) async fn begin(&self, peer: IpAddr, user: Option<&str>) -> Option<Guess> {
        let network = network(peer);
        let at_home = user.is_some_and(|user| self.is_home(user, network));
        // Always in this order, so that no two wait for each other.
        let whose = [
            Some((Whose::Address(source(peer)), FROM_ADDRESS)),
            network.map(|network| (Whose::Network(network), FROM_NETWORK)),
            user.filter(|_| !at_home)
                .map(|user| (Whose::User(user.to_owned()), FOR_USER)),
        ];
        let entered = async {
            let mut rooms = Vec::with_capacity(whose.len());
            for (whose, room) in whose.into_iter().flatten() {
                let room = lock(&self.rooms).of(whose, room);
                rooms.push(room.acquire_owned().await.ok()?);
            }
            Some(Guess { _rooms: rooms })
        };
        timeout(PATIENCE, entered).await.ok().flatten()
    }

    /// Remembers a failure; the answer to it has to wait for this long.
    pub(super) fn wrong(&self, peer: IpAddr, user: Option<&str>) -> Duration {
        lock(&self.failures).note(peer, user, Instant::now())
    }

    /// Remembers where a user logs in from.
    pub(super) fn right(&self, peer: IpAddr, user: &str) {
        let mut homes = lock(&self.homes);
        let home = (user.to_owned(), network(peer));
        if homes.len() >= HOMES && !homes.contains_key(&home) {
            // Only customers come here, each from a few networks: the one that was there longest ago goes.
            let oldest = homes.iter().min_by_key(|(_, last)| **last);
            if let Some(oldest) = oldest.map(|(home, _)| home.clone()) {
                homes.remove(&oldest);
            }
        }
        homes.insert(home, Instant::now());
    }

    fn is_home(&self, user: &str, network: Option<Network>) -> bool {
        lock(&self.homes)
            .get(&(user.to_owned(), network))
            .is_some_and(|last| last.elapsed() < HOME_TIME)
    }
}

impl Rooms {
    fn of(&mut self, whose: Whose, size: usize) -> Arc<Semaphore> {
        if self.known.len() >= self.sweep_at.max(1000) {
            self.known.retain(|_, room| room.strong_count() > 0);
            self.sweep_at = self.known.len().saturating_mul(2);
        }
        let known = self.known.get(&whose).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let room = Arc::new(Semaphore::new(size));
            self.known.insert(whose, Arc::downgrade(&room));
            room
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{FOR_USER, FROM_ADDRESS, FROM_NETWORK, Guess, Guesses};
    use crate::serve::lock;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;
    use tokio::time::timeout;

    fn from(third: u8, fourth: u8) -> IpAddr {
        Ipv4Addr::new(203, 0, third, fourth).into()
    }

    /// Guesses that find room without waiting.
    async fn at_once(guesses: &Guesses, all: impl Iterator<Item = (IpAddr, String)>) -> Vec<Guess> {
        let mut begun = Vec::new();
        for (peer, user) in all {
            let guess = guesses.begin(peer, Some(&user));
            let guess = timeout(Duration::from_millis(20), guess).await;
            begun.extend(guess.ok().flatten());
        }
        begun
    }

    /// Rules: C11
    #[tokio::test]
    async fn so_many_and_no_more_are_tried_at_once_from_an_address_a_network_and_for_a_user() {
        let guesses = Guesses::default();
        let users = |number: u8| format!("user{number}");
        let begun = at_once(&guesses, (0..8).map(|n| (from(1, 1), users(n)))).await;
        assert_eq!(begun.len(), FROM_ADDRESS);
        let begun = at_once(&guesses, (0..20).map(|n| (from(2, n), users(n)))).await;
        assert_eq!(begun.len(), FROM_NETWORK);
        let begun = at_once(&guesses, (10..22).map(|n| (from(n, 1), "alice".to_owned()))).await;
        assert_eq!(begun.len(), FOR_USER);
        drop(begun);
        let begun = at_once(&guesses, (30..32).map(|n| (from(n, 1), "alice".to_owned()))).await;
        assert_eq!(begun.len(), 2);
    }

    /// Rules: C11
    #[tokio::test]
    async fn a_wrong_one_keeps_its_room_until_its_answer_is_due() {
        let guesses = Guesses::default();
        let here = || (0..8).map(|n| (from(1, 1), format!("user{n}")));
        for guess in at_once(&guesses, here()).await {
            guess.hold(Duration::from_secs(3));
        }
        assert_eq!(at_once(&guesses, here()).await.len(), 0);
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert_eq!(at_once(&guesses, here()).await.len(), FROM_ADDRESS);
    }

    /// Rules: C11
    #[tokio::test]
    async fn guessing_at_a_name_keeps_nobody_out_who_has_logged_in_from_there_before() {
        let guesses = Guesses::default();
        guesses.right(from(1, 1), "alice");
        let strangers = (10..30).map(|n| (from(n, 1), "alice".to_owned()));
        let _guessing = at_once(&guesses, strangers).await;
        let alice = |third| std::iter::once((from(third, 200), "alice".to_owned()));
        assert_eq!(at_once(&guesses, alice(1)).await.len(), 1);
        assert_eq!(at_once(&guesses, alice(2)).await.len(), 0);
    }

    #[tokio::test]
    async fn rooms_that_nobody_is_in_are_forgotten() {
        let guesses = Guesses::default();
        for third in 0..=255 {
            for fourth in 0..20 {
                drop(guesses.begin(from(third, fourth), Some("alice")).await);
            }
        }
        assert!(lock(&guesses.rooms).known.len() <= 1000);
    }
}
