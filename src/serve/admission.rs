//! Seats for connections: so many in all, so many from one address, and so many that have not logged in (rule C12).

use super::crowd::{Crowd, Member};
use super::lock;
use super::origin::source;
use crate::config::Limits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::Notify;

/// Open connections, in all and by address.
#[derive(Debug, Default)]
pub(super) struct Seats(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    /// Without those that were told to leave: their place is somebody else's already.
    all: usize,
    by_address: HashMap<IpAddr, usize>,
    strangers: Crowd,
}

/// Handshakes that are under way, in all.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<Crowd>);

/// A connection that counts.
#[derive(Debug)]
pub(super) struct Admitted {
    seats: Arc<Seats>,
    address: IpAddr,
    /// As long as it has not logged in.
    stranger: Option<Member>,
    /// Whether another had to leave for it.
    pub(super) at_cost: bool,
}

/// A handshake that counts.
#[derive(Debug)]
pub(super) struct Shaking<'a> {
    handshakes: &'a Handshakes,
    member: Member,
}

impl Seats {
    /// A place for a connection from `address`: a free one, or that of a stranger who then has to leave. None when too
    /// many come from there, or when all places are customers'.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Admitted> {
        let source = source(address);
        let mut taken = self.taken();
        let here = taken.by_address.get(&source).copied().unwrap_or(0);
        if here >= limits.connections_per_address {
            return None;
        }
        let full = taken.all >= limits.connections;
        let at_cost = full || taken.strangers.len() >= limits.strangers();
        if at_cost {
            if !taken.strangers.make_room() {
                return None;
            }
            taken.all = taken.all.saturating_sub(1);
        }
        taken.all += 1;
        *taken.by_address.entry(source).or_default() += 1;
        Some(Admitted {
            stranger: Some(taken.strangers.join(address)),
            seats: Arc::clone(self),
            address: source,
            at_cost,
        })
    }

    /// How many are taken.
    pub(super) fn taken_now(&self) -> usize {
        self.taken().all
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        lock(&self.0)
    }
}

impl Admitted {
    /// What says that this connection has to leave, as long as it has not logged in.
    pub(super) fn leave(&self) -> Arc<Notify> {
        self.stranger
            .as_ref()
            .map_or_else(Arc::default, Member::leave)
    }

    /// It has logged in: nobody takes its place from now on. One that was to leave at this very moment stays, and is
    /// one too many until somebody goes.
    pub(super) fn logged_in(&mut self) {
        if let Some(member) = self.stranger.take() {
            let mut taken = self.seats.taken();
            if !taken.strangers.part(&member) {
                taken.all += 1;
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let mut taken = self.seats.taken();
        let counted = match &self.stranger {
            Some(member) => taken.strangers.part(member),
            None => true,
        };
        if counted {
            taken.all = taken.all.saturating_sub(1);
        }
        if let Some(here) = taken.by_address.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                taken.by_address.remove(&self.address);
            }
        }
    }
}

impl Handshakes {
    /// Counts one more; if there are too many, one of the others has to leave.
    pub(super) fn begin(&self, address: IpAddr, most: usize) -> Shaking<'_> {
        let mut under_way = lock(&self.0);
        while under_way.len() >= most && under_way.make_room() {}
        Shaking {
            handshakes: self,
            member: under_way.join(address),
        }
    }
}

impl Shaking<'_> {
    /// What says that this handshake has to leave.
    pub(super) fn leave(&self) -> Arc<Notify> {
        self.member.leave()
    }
}

impl Drop for Shaking<'_> {
    fn drop(&mut self) {
        lock(&self.handshakes.0).part(&self.member);
    }
}
