//! Failed logins, remembered by address, by network and by user name beyond the connection they came on, so
//! that guessing does not begin anew with every connection (rule C11).
//!
//! What grows is the delay before 535, never anything for a login that succeeds: whoever knows
//! the password is not made to wait by what somebody else has done.

use super::origin::{network, source};
use crate::smtp::network::Network;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// A failure is forgotten when no other has followed it for this long.
const MEMORY: Duration = Duration::from_secs(15 * 60);

/// The longest delay; the machine's own grow as far.
const LONGEST: Duration = Duration::from_secs(16);

/// How many addresses, networks and names are remembered, of each; a flood of them makes room by
/// forgetting what is old.
const ROOM: usize = 10_000;

/// A network is held to account for its addresses, but not at once: so many failures there weigh as one.
const NEIGHBOURS: u32 = 4;

/// The failures that are remembered.
#[derive(Debug, Default)]
pub(super) struct Failures {
    by_address: HashMap<IpAddr, Count>,
    by_network: HashMap<Network, Count>,
    by_user: HashMap<String, Count>,
}

#[derive(Debug, Clone, Copy)]
struct Count {
    failures: u32,
    last: Instant,
}

impl Failures {
    /// Remembers a failure at `now`, and says how long the answer to it has to wait.
    ///
    /// The name counts whether or not there is such a user, so that nothing is learnt from it.
    pub(super) fn note(&mut self, peer: IpAddr, user: Option<&str>, now: Instant) -> Duration {
        let mut most = count(&mut self.by_address, source(peer), now);
        if let Some(network) = network(peer) {
            let near = count(&mut self.by_network, network, now);
            most = most.max(near.div_ceil(NEIGHBOURS));
        }
        if let Some(user) = user {
            most = most.max(count(&mut self.by_user, user.to_owned(), now));
        }
        let doublings = most.saturating_sub(1).min(10);
        Duration::from_secs(1 << doublings).min(LONGEST)
    }
}

fn count<K: Hash + Eq + Clone>(known: &mut HashMap<K, Count>, key: K, now: Instant) -> u32 {
    if known.len() >= ROOM && !known.contains_key(&key) {
        make_room(known, now);
    }
    let fresh = Count {
        failures: 0,
        last: now,
    };
    let count = known.entry(key).or_insert(fresh);
    if now.duration_since(count.last) > MEMORY {
        *count = fresh;
    }
    count.failures = count.failures.saturating_add(1);
    count.last = now;
    count.failures
}

/// Forgets what is over, or else those with the fewest failures.
fn make_room<K: Hash + Eq + Clone>(known: &mut HashMap<K, Count>, now: Instant) {
    known.retain(|_, count| now.duration_since(count.last) <= MEMORY);
    if known.len() >= ROOM {
        let fewest = known.values().map(|count| count.failures).min();
        known.retain(|_, count| Some(count.failures) != fewest);
    }
}

#[cfg(test)]
mod tests {
    use super::{Failures, MEMORY, ROOM};
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::{Duration, Instant};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    const NEXT_DOOR: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 8));
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));

    fn seconds(delay: Duration) -> u64 {
        delay.as_secs()
    }

    /// Rules: C11
    #[test]
    fn the_delay_grows_with_failures_from_one_address_whatever_the_name() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let delays = ["a", "b", "c", "d", "e", "f"]
            .map(|user| seconds(failures.note(HERE, Some(user), now)));
        assert_eq!(delays, [1, 2, 4, 8, 16, 16]);
        // The seventh from this network, where four weigh as one.
        assert_eq!(seconds(failures.note(NEXT_DOOR, None, now)), 2);
        assert_eq!(seconds(failures.note(ELSEWHERE, Some("g"), now)), 1);
    }

    /// Rules: C11
    #[test]
    fn the_delay_grows_with_failures_from_one_network_whatever_the_address() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let delays: Vec<u64> = (1..=20)
            .map(|last| {
                let peer = IpAddr::V4(Ipv4Addr::new(203, 0, 113, last));
                seconds(failures.note(peer, Some(&format!("user{last}")), now))
            })
            .collect();
        let expected = [1, 2, 4, 8, 16].map(|delay| [delay; 4]).concat();
        assert_eq!(delays, expected);
    }

    /// Rules: C11
    #[test]
    fn the_delay_grows_with_failures_for_one_name_wherever_they_come_from() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let delays = [1, 2, 3].map(|third| {
            let peer = IpAddr::V4(Ipv4Addr::new(203, 0, third, 1));
            seconds(failures.note(peer, Some("alice"), now))
        });
        assert_eq!(delays, [1, 2, 4]);
    }

    /// Rules: C11
    #[test]
    fn failures_are_forgotten_after_a_quarter_of_an_hour() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..5 {
            failures.note(HERE, Some("alice"), now);
        }
        let later = now + MEMORY + Duration::from_secs(1);
        assert_eq!(seconds(failures.note(HERE, Some("alice"), later)), 1);
    }

    /// Rules: C11, C13
    #[test]
    fn a_flood_of_names_takes_bounded_memory_and_does_not_wash_away_the_worst() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..3 {
            failures.note(ELSEWHERE, Some("alice"), now);
        }
        for number in 0..2 * ROOM {
            failures.note(HERE, Some(&number.to_string()), now);
            assert!(failures.by_user.len() <= ROOM);
        }
        assert_eq!(seconds(failures.note(HERE, Some("alice"), now)), 16);
        assert_eq!(
            failures.by_user.get("alice").map(|count| count.failures),
            Some(4)
        );
    }
}
