//! Who may send connections: users by their numbers, as the kernel tells them of each caller.
//!
//! Whoever is believed decides what the mail server takes for the peer's address, so nobody is by accident. The number
//! that stands for every user whom this user namespace does not know is nobody's, and cannot be allowed.

use crate::handoff::catch::receiver::everybody;
use nix::unistd::{Uid, User, geteuid};
use std::collections::BTreeSet;
use std::fmt;
use std::io;

/// Why a user cannot be allowed.
#[derive(Debug, thiserror::Error)]
pub enum AllowError {
    /// There is none of this name.
    #[error(
        "cannot allow user {0}: no such user here (containers have users of their own: give the number with --allow-uid)"
    )]
    NoSuchUser(String),
    /// Users cannot be looked up.
    #[error("cannot look up user {name}: {cause}")]
    LookUp {
        /// Who was looked for.
        name: String,
        /// What the system said.
        cause: io::Error,
    },
    /// It is no user.
    #[error(
        "cannot allow user {0}: the kernel shows every user of another user namespace as this one (run the sender as another user)"
    )]
    Everybody(u32),
}

/// Users that may send connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowed(BTreeSet<u32>);

impl Allowed {
    /// The users with these numbers and names, and no others; without any, root and our own.
    ///
    /// # Errors
    /// A name that is nobody's, or the number that is everybody's.
    pub fn new(uids: &[u32], names: &[String]) -> Result<Self, AllowError> {
        let everybody = everybody();
        let mut allowed: BTreeSet<u32> = uids.iter().copied().collect();
        for name in names {
            allowed.insert(number(name)?);
        }
        if allowed.contains(&everybody) {
            return Err(AllowError::Everybody(everybody));
        }
        if allowed.is_empty() {
            allowed = [0, geteuid().as_raw()].into();
            allowed.remove(&everybody);
        }
        Ok(Self(allowed))
    }

    /// May this user?
    #[must_use]
    pub fn has(&self, uid: u32) -> bool {
        self.0.contains(&uid)
    }

    /// Somebody may who is neither root nor we.
    pub(super) fn others(&self) -> bool {
        let own = geteuid();
        self.0
            .iter()
            .map(|uid| Uid::from_raw(*uid))
            .any(|uid| !uid.is_root() && uid != own)
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&numbers.join(","))
    }
}

fn number(name: &str) -> Result<u32, AllowError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user.uid.as_raw()),
        Ok(None) => Err(AllowError::NoSuchUser(name.to_owned())),
        Err(errno) => Err(AllowError::LookUp {
            name: name.to_owned(),
            cause: errno.into(),
        }),
    }
}
