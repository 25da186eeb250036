//! The stored keys of SCRAM, for one visitor at a time.

use super::credential::{ITERATIONS, SALT_LENGTH};
use super::{Account, Accounts, Reason};
use crate::sasl::scram::{ScramHash, ScramStored, derive};
use crate::sasl::server::ScramKeys;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// What stored keys look like from outside. Stand-ins, and keys made from `{PLAIN}`, look like most of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Shape {
    iterations: u32,
    salt_length: usize,
}

impl Shape {
    pub(super) fn most_used(stored: &[&ScramStored]) -> Self {
        let mut counts: HashMap<Self, usize> = HashMap::new();
        for keys in stored {
            let shape = Self {
                iterations: keys.iterations,
                salt_length: keys.salt.len(),
            };
            *counts.entry(shape).or_default() += 1;
        }
        // The shape decides between equals, so that a reload of the same file decides the same.
        counts
            .into_iter()
            .max_by_key(|(shape, count)| (*count, *shape))
            .map_or(
                Self {
                    iterations: ITERATIONS,
                    salt_length: SALT_LENGTH,
                },
                |(shape, _)| shape,
            )
    }
}

/// The accounts as a client at one address sees them.
#[derive(Debug)]
pub struct Visitor {
    accounts: Arc<Accounts>,
    peer: IpAddr,
    last: Mutex<Last>,
}

/// The last user looked up, and why it cannot succeed.
#[derive(Debug, Default, Clone)]
struct Last {
    user: Option<String>,
    reason: Option<Reason>,
}

impl Visitor {
    /// Why the last user looked up could not have succeeded, for the operator's log; `None` when only the password
    /// could have been wrong.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.last().reason
    }

    /// The last user looked up, as it named itself.
    #[must_use]
    pub fn user(&self) -> Option<String> {
        self.last().user
    }

    fn last(&self) -> Last {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.clone()
    }
}

impl ScramKeys for Visitor {
    fn lookup(&self, user: &str, hash: ScramHash) -> ScramStored {
        let (stored, reason) = self.accounts.scram(user, hash, self.peer);
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Last {
            user: Some(user.to_owned()),
            reason,
        };
        stored
    }
}

impl Accounts {
    /// The stored keys of SCRAM for a client at this address. A user limited to other networks gets its own salt
    /// with keys that nothing fits, so that the login fails as with a wrong password.
    #[must_use]
    pub fn visitor(self: &Arc<Self>, peer: IpAddr) -> Arc<Visitor> {
        Arc::new(Visitor {
            accounts: Arc::clone(self),
            peer,
            last: Mutex::default(),
        })
    }

    fn scram(&self, user: &str, hash: ScramHash, peer: IpAddr) -> (ScramStored, Option<Reason>) {
        let account = self.account(user);
        self.derive_one(account, hash);
        let stored = account.and_then(|account| {
            let own = account
                .credential
                .as_ref()
                .and_then(|stored| stored.scram(hash));
            own.or_else(|| account.derived.get(slot(hash))?.get())
        });
        let shape = self.shape(hash);
        let reason = match (account, stored) {
            (None, _) => Some(Reason::UnknownUser),
            (Some(_), None) => Some(Reason::NotForThisMechanism),
            (Some(account), Some(_)) if !account.permits(peer) => Some(Reason::ForeignSource),
            (Some(_), Some(_)) => None,
        };
        let (iterations, salt) = stored.map_or_else(
            || {
                (
                    shape.iterations,
                    self.key.salt(hash, user, shape.salt_length),
                )
            },
            |stored| (stored.iterations, stored.salt.clone()),
        );
        // Made in any case, so that it takes the same time.
        let stand_in = self.key.keys(hash, user, iterations, salt);
        match (stored, reason) {
            (Some(stored), None) => (stored.clone(), None),
            _ => (stand_in, reason),
        }
    }

    /// Makes the keys of one `{PLAIN}` account, if there is one left without: the one looked up, or else the next.
    /// So every lookup takes the same time, whether its user exists or not, and after a few none has to.
    fn derive_one(&self, wanted: Option<&Account>, hash: ScramHash) {
        let lacks = |account: &&Account| {
            let made = account
                .derived
                .get(slot(hash))
                .is_none_or(|keys| keys.get().is_some());
            account.password().is_some() && !made
        };
        let next = || self.accounts.iter().find(lacks);
        let Some(account) = wanted.filter(lacks).or_else(next) else {
            return;
        };
        let (Some(password), Some(keys)) = (account.password(), account.derived.get(slot(hash)))
        else {
            return;
        };
        let shape = self.shape(hash);
        keys.get_or_init(|| {
            let salt = self.key.salt(hash, &account.user, shape.salt_length);
            derive(hash, password, &salt, shape.iterations)
        });
    }

    fn shape(&self, hash: ScramHash) -> Shape {
        let [sha1, sha256] = self.shapes;
        match hash {
            ScramHash::Sha1 => sha1,
            ScramHash::Sha256 => sha256,
        }
    }
}

fn slot(hash: ScramHash) -> usize {
    match hash {
        ScramHash::Sha1 => 0,
        ScramHash::Sha256 => 1,
    }
}
