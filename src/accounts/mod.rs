//! Who may log in, and which domains each may fetch.
//!
//! The file is read as a whole into a value that never changes; a reload makes another. Judging a login is work
//! for the processor (call it where that may take its time), and takes as much of it for a user that does not
//! exist as for one that does.

mod certificate;
mod credential;
mod crypt;
mod error;
mod file;
mod load;
mod scheme;
mod scram;
mod stand_in;
mod verify;

pub(crate) use file::read;

pub use credential::{Credential, CredentialError, ITERATIONS};
pub use error::AccountsError;
pub use scheme::{Scheme, UnknownScheme};
pub use scram::Visitor;
pub use stand_in::StandInKey;
pub use verify::{Judgement, Outcome, Reason};

use crate::sasl::scram::ScramStored;
use crate::sasl::{Mechanism, Secret};
use crate::smtp::network::Network;
use crate::smtp::next_hop::NextHop;
use crate::smtp::{Domain, DomainList};
use certificate::Named;
use scram::Shape;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::path::Path;
use std::sync::OnceLock;

/// All accounts of one file.
#[derive(Debug)]
pub struct Accounts {
    accounts: Vec<Account>,
    by_user: HashMap<String, usize>,
    /// For each scheme in use, an account whose credential stands in for others'.
    models: BTreeMap<Scheme, usize>,
    shapes: [Shape; 2],
    key: StandInKey,
}

#[derive(Debug)]
struct Account {
    user: String,
    /// None: the user logs in by certificate only.
    credential: Option<Credential>,
    certificates: Vec<Named>,
    domains: DomainList,
    next_hop: NextHop,
    next_hops: BTreeMap<Domain, NextHop>,
    sources: Vec<Network>,
    /// SCRAM keys made from a `{PLAIN}` password when they are first needed: SHA-1, SHA-256.
    derived: [OnceLock<ScramStored>; 2],
}

/// Why accounts that are in order by themselves do not go with the rest of the configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Two next hops that differ in their port only.
    #[error(
        "cannot use the next hops {0} and {1}: Exim knows a next hop by its address alone, and would send the mail of both on one connection (give each its own address)"
    )]
    SharedAddress(NextHop, NextHop),
    /// A user's certificate is named by a name for which nobody vouches.
    #[error(
        "cannot know {0:?} by the dns: name of a certificate: there is no authority that vouches for it (set client_ca in [serve], or name the certificate by its sha256:)"
    )]
    NoAuthority(String),
}

/// Why granted domains cannot be delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// The account is gone, since a reload.
    #[error("the account is no longer in the accounts file")]
    UnknownUser,
    /// A domain is not the account's, since a reload.
    #[error("{0} is no longer a domain of the account")]
    Foreign(Domain),
    /// A next hop also serves a domain that was not asked for: a message for both would carry a recipient
    /// that must not travel (rule R18).
    #[error(
        "next hop {next_hop} also serves {domain}, which was not asked for (give each domain its own next hop, or let the customer ask for all)"
    )]
    SharedNextHop {
        /// The next hop that both use.
        next_hop: NextHop,
        /// The domain that was not asked for.
        domain: Domain,
    },
}

impl Accounts {
    /// Reads an accounts file.
    ///
    /// # Errors
    /// [`AccountsError`] when the file cannot be read, can be read or written by others or written by its
    /// group, or says something that is not understood or not safe: a user, a domain or a next hop twice.
    pub fn load(path: &Path, key: &StandInKey) -> Result<Self, AccountsError> {
        Self::load_as(path, path, key)
    }

    /// Reads an accounts file that errors shall call by another name.
    pub(crate) fn load_as(
        path: &Path,
        shown: &Path,
        key: &StandInKey,
    ) -> Result<Self, AccountsError> {
        Self::parse(&read(path, shown)?, shown, key)
    }

    /// Reads the text of an accounts file; `path` names it in errors.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(text: &str, path: &Path, key: &StandInKey) -> Result<Self, AccountsError> {
        load::load(file::Source { path, text }, key)
    }

    /// How many accounts there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.accounts.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    /// Whether there is an account of this user.
    #[must_use]
    pub fn has(&self, user: &str) -> bool {
        self.by_user.contains_key(user)
    }

    /// The mechanisms that at least one account can use, strongest first: others need not be offered
    /// (conflict X5). Whether this connection can use EXTERNAL and the -PLUS forms is for its TLS to say.
    #[must_use]
    pub fn mechanisms_possible(&self) -> Vec<Mechanism> {
        Mechanism::ALL
            .into_iter()
            .filter(|mechanism| match mechanism {
                Mechanism::External => self.uses_certificates(),
                other => self.models.keys().any(|scheme| scheme.serves(*other)),
            })
            .collect()
    }

    /// What a user may fetch, once SCRAM or a certificate has proved who it is (rule R23: by login and nothing else).
    ///
    /// # Errors
    /// [`Reason::UnknownUser`] after a reload, [`Reason::ForeignSource`] for a login from elsewhere.
    pub fn access(&self, user: &str, peer: IpAddr) -> Result<&DomainList, Reason> {
        let account = self.account(user).ok_or(Reason::UnknownUser)?;
        if !account.permits(peer) {
            return Err(Reason::ForeignSource);
        }
        Ok(&account.domains)
    }

    /// The next hops of the granted domains, each once, in the order of the domains.
    ///
    /// # Errors
    /// [`GrantError::SharedNextHop`] when other mail would travel along; the rest only after a reload.
    pub fn grant(&self, user: &str, domains: &DomainList) -> Result<Vec<NextHop>, GrantError> {
        let account = self.account(user).ok_or(GrantError::UnknownUser)?;
        let mut granted: Vec<NextHop> = Vec::new();
        for domain in domains {
            if !account.domains.contains(domain) {
                return Err(GrantError::Foreign(domain.clone()));
            }
            let next_hop = account.next_hop_of(domain);
            if !granted.contains(next_hop) {
                granted.push(next_hop.clone());
            }
        }
        let left_out = account
            .domains
            .iter()
            .filter(|domain| !domains.contains(domain));
        for domain in left_out {
            let next_hop = account.next_hop_of(domain);
            if granted.contains(next_hop) {
                return Err(GrantError::SharedNextHop {
                    next_hop: next_hop.clone(),
                    domain: domain.clone(),
                });
            }
        }
        Ok(granted)
    }

    /// Every domain with its customer and its next hop, in the order of the file.
    pub fn routes(&self) -> impl Iterator<Item = (&str, &Domain, &NextHop)> {
        self.accounts.iter().flat_map(|account| {
            let hop = |domain| (account.user.as_str(), domain, account.next_hop_of(domain));
            account.domains.iter().map(hop)
        })
    }

    /// For a mail server that knows a next hop by its address alone, as Exim does: no two of them share one.
    ///
    /// # Errors
    /// The first two that do.
    pub fn differ_in_address(&self) -> Result<(), Misfit> {
        let mut seen: HashMap<IpAddr, &NextHop> = HashMap::new();
        for account in &self.accounts {
            for next_hop in std::iter::once(&account.next_hop).chain(account.next_hops.values()) {
                let other = seen.insert(next_hop.ip(), next_hop);
                if let Some(other) = other.filter(|other| *other != next_hop) {
                    return Err(Misfit::SharedAddress(other.clone(), next_hop.clone()));
                }
            }
        }
        Ok(())
    }

    fn account(&self, user: &str) -> Option<&Account> {
        self.by_user
            .get(user)
            .and_then(|index| self.accounts.get(*index))
    }
}

impl Account {
    fn permits(&self, peer: IpAddr) -> bool {
        self.sources.is_empty() || self.sources.iter().any(|network| network.contains(peer))
    }

    /// The password itself, where it is stored.
    fn password(&self) -> Option<&Secret> {
        self.credential.as_ref().and_then(Credential::password)
    }

    fn next_hop_of(&self, domain: &Domain) -> &NextHop {
        self.next_hops.get(domain).unwrap_or(&self.next_hop)
    }
}
