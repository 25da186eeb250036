//! What all sessions of the provider share: accounts, the customers that are being served, and
//! the word to stop.

use super::Told;
use super::admission::{Admitted, Handshakes, Seats};
use super::guesses::Guesses;
use super::lock;
use super::mail_server::MailServer;
use super::places::{Place, PlaceError, Places, Taken};
use crate::accounts::{Accounts, StandInKey};
use crate::config;
use crate::report::{Counter, Ledger, Role};
use crate::sasl::Mechanism;
use crate::smtp::next_hop::NextHop;
use crate::tls::{Facts, ServerTls};
use crate::wire::Relays;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How many connections hear at one time that they are not served; more are closed without a word, so that a flood
/// of them takes no descriptors from those that are.
const TURNED_AWAY: usize = 100;

/// One value for the whole process; sessions hold it through an `Arc`.
#[derive(Debug)]
pub(super) struct State {
    files: RwLock<Arc<Files>>,
    /// Makes the answers to unknown users; the same for the life of the process.
    pub(super) key: StandInKey,
    /// How a turned connection is given to the mail server, and what the kernel can do for it.
    pub(super) mail_server: MailServer,
    /// Where other processes of the service see whom this one serves; none is a process that stands alone.
    places: Option<Places>,
    /// The sessions, and what is counted.
    pub(super) ledger: Ledger,
    served: Mutex<Served>,
    seats: Arc<Seats>,
    /// Logins that are being judged, and those that failed.
    pub(super) guesses: Guesses,
    /// TLS handshakes that are under way.
    pub(super) handshakes: Handshakes,
    turned_away: Arc<Semaphore>,
    /// The sessions under TLS that the kernel does not carry.
    pub(super) relays: Relays,
    /// Customers whose TLS the kernel could not serve, as long as this process lives.
    relay_only: Mutex<HashSet<String>>,
    /// Turns true once, at SIGTERM.
    pub(super) stopping: watch::Receiver<bool>,
    /// Turns true when the sessions that the relay carries have had their time after that.
    pub(super) giving_up: watch::Receiver<bool>,
    accepted: AtomicU64,
    turned: AtomicU64,
}

/// What a process does, in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// Connections now.
    pub(super) connected: usize,
    /// Customers that are being served now: asked for, or turned.
    pub(super) served: usize,
    /// Connections since the start.
    pub(super) accepted: u64,
    /// Turns since the start.
    pub(super) turned: u64,
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connected,
            served,
            accepted,
            turned,
        } = self;
        write!(
            f,
            "{connected} connected, {served} being served; {accepted} connections and {turned} turns since the start"
        )
    }
}

/// The operator's files as they were read together (SIGHUP replaces the whole).
#[derive(Debug)]
pub(super) struct Files {
    pub(super) serve: config::Serve,
    pub(super) accounts: Arc<Accounts>,
    /// None where no address has TLS.
    pub(super) tls: Option<ServerTls>,
}

impl Files {
    /// What to offer without TLS: what the operator allows there and at least one account can use (conflict X5).
    pub(super) fn offered_in_clear(&self) -> Vec<Mechanism> {
        let possible = self.accounts.mechanisms_possible();
        self.serve
            .mechanisms_in_clear()
            .filter(|one| possible.contains(one))
            .collect()
    }

    /// What to offer inside TLS. SCRAM stands for its -PLUS form as well (rule B71); EXTERNAL is for those who have
    /// shown a certificate (rule B75).
    pub(super) fn offered_in_tls(&self, facts: &Facts) -> Vec<Mechanism> {
        let possible = self.accounts.mechanisms_possible();
        let can = |one: &Mechanism| {
            possible.contains(one) && (*one != Mechanism::External || facts.peer.is_some())
        };
        let mut offered: Vec<Mechanism> = self
            .serve
            .mechanisms_in_tls()
            .filter(can)
            .flat_map(|one| one.plus().into_iter().chain([one]))
            .collect();
        offered.sort();
        offered.dedup();
        offered
    }

    /// May this address connect at all?
    pub(super) fn admits(&self, address: IpAddr) -> bool {
        admits(&self.serve, address)
    }
}

/// May this address connect at all? In addition to, never instead of, AUTH (rule R31).
pub(super) fn admits(serve: &config::Serve, address: IpAddr) -> bool {
    let sources = &serve.sources;
    sources.is_empty() || sources.iter().any(|network| network.contains(address))
}

/// Who is being served, and when each was served last.
#[derive(Debug, Default)]
struct Served {
    now: HashSet<String>,
    /// The next hops for which a connection is with the mail server.
    next_hops: HashSet<NextHop>,
    last: HashMap<String, Instant>,
}

/// Why a customer is not served now.
#[derive(Debug)]
pub(super) enum NotNow {
    /// Another session of this customer is open (450, rule R20).
    Busy,
    /// It was served less than `serve.retry_interval` ago (450, rule R20).
    TooSoon,
    /// Nobody can tell whether another process serves it (451).
    Unknown(PlaceError),
}

impl NotNow {
    /// For the log.
    pub(super) fn reason(&self) -> String {
        match self {
            Self::Busy => {
                "another session of this customer, or on its next hop, is open".to_owned()
            }
            Self::TooSoon => "served less than serve.retry_interval ago".to_owned(),
            Self::Unknown(error) => error.to_string(),
        }
    }
}

impl State {
    pub(super) fn new(
        files: Files,
        key: StandInKey,
        mail_server: MailServer,
        places: Option<Places>,
        told: Told,
    ) -> Self {
        let relays = Relays::new(files.serve.limits.relay_idle_time);
        Self {
            key,
            files: RwLock::new(Arc::new(files)),
            mail_server,
            places,
            ledger: Ledger::new(Role::Serve),
            served: Mutex::default(),
            seats: Arc::default(),
            guesses: Guesses::default(),
            handshakes: Handshakes::default(),
            turned_away: Arc::new(Semaphore::new(TURNED_AWAY)),
            relays,
            relay_only: Mutex::default(),
            stopping: told.stopping,
            giving_up: told.giving_up,
            accepted: AtomicU64::new(0),
            turned: AtomicU64::new(0),
        }
    }

    /// The files as they are now; a session keeps what it began with.
    pub(super) fn files(&self) -> Arc<Files> {
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&files)
    }

    /// Puts newly read files in place for the sessions to come.
    pub(super) fn replace(&self, files: Files) {
        self.ledger.keep_results(|user| files.accounts.has(user));
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(files);
    }

    /// From now on this customer's sessions go through the relay.
    pub(super) fn relay_only(&self, user: &str) {
        lock(&self.relay_only).insert(user.to_owned());
        if let Some(places) = &self.places {
            places.relay_only(user);
        }
    }

    /// Has the kernel failed this customer?
    pub(super) fn is_relay_only(&self, user: &str) -> bool {
        lock(&self.relay_only).contains(user)
            || self
                .places
                .as_ref()
                .is_some_and(|places| places.is_relay_only(user))
    }

    /// What it does now.
    pub(super) fn figures(&self) -> Figures {
        Figures {
            connected: self.seats.taken_now(),
            served: lock(&self.served).now.len(),
            accepted: self.accepted.load(Ordering::Relaxed),
            turned: self.turned.load(Ordering::Relaxed),
        }
    }

    /// Ends when the process was told to stop.
    pub(super) async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        // An error means that whoever could say "stop" is gone, which is the same.
        drop(stopping.wait_for(|stop| *stop).await);
    }

    /// Reserves the customer for one session; dropping the value frees it.
    pub(super) fn reserve(
        self: &Arc<Self>,
        user: &str,
        interval: Duration,
    ) -> Result<Reserved, NotNow> {
        let mut served = lock(&self.served);
        let now = Instant::now();
        if served.now.contains(user) {
            return Err(NotNow::Busy);
        }
        served
            .last
            .retain(|_, last| now.duration_since(*last) < interval);
        if served.last.contains_key(user) {
            return Err(NotNow::TooSoon);
        }
        let place = self.place(|places| places.customer(user, interval))?;
        served.now.insert(user.to_owned());
        Ok(Reserved {
            state: Arc::clone(self),
            user: user.to_owned(),
            next_hops: Vec::new(),
            place,
            hops: Vec::new(),
        })
    }

    /// A place among all processes; none where this one stands alone.
    fn place(
        &self,
        take: impl FnOnce(&Places) -> Result<Taken, PlaceError>,
    ) -> Result<Option<Place>, NotNow> {
        let Some(places) = &self.places else {
            return Ok(None);
        };
        match take(places) {
            Ok(Taken::Place(place)) => Ok(Some(place)),
            Ok(Taken::Busy) => Err(NotNow::Busy),
            Ok(Taken::TooSoon) => Err(NotNow::TooSoon),
            Err(error) => Err(NotNow::Unknown(error)),
        }
    }

    /// Room to tell one more connection that it is not served.
    pub(super) fn may_turn_away(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.turned_away).try_acquire_owned().ok()
    }

    /// Admits a connection from `address`, unless there are too many (421).
    pub(super) fn admit(&self, address: IpAddr) -> Option<Admitted> {
        let admitted = self.seats.admit(address, &self.files().serve.limits)?;
        if admitted.at_cost {
            self.ledger.count(Counter::MadeRoom);
        }
        self.accepted.fetch_add(1, Ordering::Relaxed);
        Some(admitted)
    }
}

/// A customer that is being served.
#[derive(Debug)]
pub(super) struct Reserved {
    state: Arc<State>,
    user: String,
    next_hops: Vec<NextHop>,
    /// The same, seen by other processes.
    place: Option<Place>,
    hops: Vec<Place>,
}

impl Reserved {
    /// Reserves the next hops as well: a reload may have given one of them to another customer, while the mail
    /// server still has the former customer's connection under its name.
    pub(super) fn hold(&mut self, next_hops: &[NextHop]) -> Result<(), NotNow> {
        let mut served = lock(&self.state.served);
        if next_hops.iter().any(|one| served.next_hops.contains(one)) {
            return Err(NotNow::Busy);
        }
        for one in next_hops {
            let place = self.state.place(|places| places.next_hop(one))?;
            self.hops.extend(place);
        }
        served.next_hops.extend(next_hops.iter().cloned());
        self.next_hops = next_hops.to_vec();
        Ok(())
    }

    /// From now on `serve.retry_interval` runs: the customer had its turn.
    pub(super) fn had_its_turn(&mut self) {
        if let Some(place) = &mut self.place {
            place.had_its_turn();
        }
        self.state.turned.fetch_add(1, Ordering::Relaxed);
        lock(&self.state.served)
            .last
            .insert(self.user.clone(), Instant::now());
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let mut served = lock(&self.state.served);
        served.now.remove(&self.user);
        for next_hop in &self.next_hops {
            served.next_hops.remove(next_hop);
        }
    }
}
