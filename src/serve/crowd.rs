//! Those that have not shown yet who they are: when there are too many, one of them leaves for a newcomer.
//!
//! To turn newcomers away would give the place of a customer to whoever came first and stays without a word. So it is
//! one of those that wait who goes: of the network that most of them come from, the one that has waited longest. A
//! customer logs in within a second or two and is no longer among them; and as long as it is alone in its network,
//! any crowd from elsewhere goes first (rule C12).

use super::origin::network;
use crate::smtp::network::Network;
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::Notify;

/// By network, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    next: u64,
    size: usize,
    by_network: HashMap<Option<Network>, VecDeque<(u64, Arc<Notify>)>>,
}

/// One of a crowd.
#[derive(Debug)]
pub(super) struct Member {
    number: u64,
    network: Option<Network>,
    leave: Arc<Notify>,
}

impl Member {
    /// What says that it has to leave.
    pub(super) fn leave(&self) -> Arc<Notify> {
        Arc::clone(&self.leave)
    }
}

impl Crowd {
    pub(super) fn len(&self) -> usize {
        self.size
    }

    pub(super) fn join(&mut self, address: IpAddr) -> Member {
        self.next += 1;
        let member = Member {
            number: self.next,
            network: network(address),
            leave: Arc::default(),
        };
        self.by_network
            .entry(member.network)
            .or_default()
            .push_back((member.number, member.leave()));
        self.size += 1;
        member
    }

    /// Takes one out; false if it had to leave already.
    pub(super) fn part(&mut self, member: &Member) -> bool {
        let Some(near) = self.by_network.get_mut(&member.network) else {
            return false;
        };
        let Ok(index) = near.binary_search_by_key(&member.number, |(number, _)| *number) else {
            return false;
        };
        near.remove(index);
        if near.is_empty() {
            self.by_network.remove(&member.network);
        }
        self.size = self.size.saturating_sub(1);
        true
    }

    /// Tells one that it has to leave, and takes it out; false if there is none.
    pub(super) fn make_room(&mut self) -> bool {
        let first = |near: &VecDeque<(u64, Arc<Notify>)>| near.front().map(|(number, _)| *number);
        let largest = self
            .by_network
            .iter()
            .max_by_key(|(_, near)| (near.len(), Reverse(first(near))))
            .map(|(network, _)| *network);
        let Some(near) = largest.and_then(|network| self.by_network.get_mut(&network)) else {
            return false;
        };
        let oldest = near.pop_front();
        if let Some(network) = largest.filter(|_| near.is_empty()) {
            self.by_network.remove(&network);
        }
        let Some((_, leave)) = oldest else {
            return false;
        };
        self.size = self.size.saturating_sub(1);
        leave.notify_one();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{Crowd, Member};
    use std::net::{IpAddr, Ipv4Addr};

    fn from(third: u8, fourth: u8) -> IpAddr {
        Ipv4Addr::new(203, 0, third, fourth).into()
    }

    /// Who is still in, by taking all out.
    fn staying(crowd: &mut Crowd, members: &[Member]) -> Vec<bool> {
        members.iter().map(|member| crowd.part(member)).collect()
    }

    /// Rules: C12
    #[test]
    fn the_one_that_has_waited_longest_leaves_first() {
        let mut crowd = Crowd::default();
        let members = [1, 2, 3].map(|third| crowd.join(from(third, 1)));
        assert!(crowd.make_room());
        assert_eq!(crowd.len(), 2);
        assert_eq!(staying(&mut crowd, &members), [false, true, true]);
        assert_eq!(crowd.len(), 0);
        assert!(!crowd.make_room());
    }

    /// Rules: C12
    #[test]
    fn the_largest_crowd_of_one_network_leaves_before_a_lone_customer() {
        let mut crowd = Crowd::default();
        let lone = crowd.join(from(1, 1));
        let members = [1, 2, 3].map(|fourth| crowd.join(from(2, fourth)));
        assert!(crowd.make_room() && crowd.make_room());
        assert!(crowd.part(&lone));
        assert_eq!(staying(&mut crowd, &members), [false, false, true]);
        assert!(crowd.by_network.is_empty(), "{crowd:?}");
    }

    #[tokio::test]
    async fn whoever_has_to_leave_hears_of_it_even_if_it_listens_later() {
        let mut crowd = Crowd::default();
        let member = crowd.join(from(1, 1));
        crowd.make_room();
        member.leave().notified().await;
        assert!(!crowd.part(&member));
    }
}
