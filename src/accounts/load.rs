//! From the entries of the file to accounts: nothing twice, because a connection must carry one customer's mail.

use super::certificate::Named;
use super::file::{self, Entry, Source};
use super::scram::Shape;
use super::{Account, Accounts, AccountsError, StandInKey};
use crate::sasl::scram::ScramHash;
use crate::smtp::Domain;
use crate::smtp::next_hop::NextHop;
use std::collections::{BTreeMap, HashMap};

pub(super) fn load(source: Source<'_>, key: &StandInKey) -> Result<Accounts, AccountsError> {
    let mut loading = Loading {
        source,
        by_user: HashMap::new(),
        by_domain: HashMap::new(),
        by_next_hop: HashMap::new(),
        by_certificate: HashMap::new(),
    };
    let mut accounts: Vec<Account> = Vec::new();
    let mut models = BTreeMap::new();
    for (index, entry) in file::entries(source)?.into_iter().enumerate() {
        loading.check(&entry)?;
        if let Some(credential) = &entry.credential {
            models.entry(credential.scheme()).or_insert(index);
        }
        loading.by_user.insert(entry.user.clone(), index);
        accounts.push(entry.into());
    }
    let shapes = [ScramHash::Sha1, ScramHash::Sha256].map(|hash| {
        let stored = accounts
            .iter()
            .filter_map(|account| account.credential.as_ref()?.scram(hash));
        Shape::most_used(&stored.collect::<Vec<_>>())
    });
    Ok(Accounts {
        accounts,
        by_user: loading.by_user,
        models,
        shapes,
        key: key.clone(),
    })
}

struct Loading<'t> {
    source: Source<'t>,
    by_user: HashMap<String, usize>,
    by_domain: HashMap<Domain, String>,
    by_next_hop: HashMap<NextHop, (String, NextHop)>,
    by_certificate: HashMap<Named, String>,
}

impl Loading<'_> {
    fn check(&mut self, entry: &Entry) -> Result<(), AccountsError> {
        let user = &entry.user;
        let error = |cause: String, advice| Err(self.source.error(entry.at, cause, advice));
        if self.by_user.contains_key(user) {
            return error(format!("the user {user:?} has two accounts"), "remove one");
        }
        for domain in &entry.domains {
            if let Some(other) = self.by_domain.insert(domain.clone(), user.clone()) {
                let cause = format!("{domain} belongs to {other:?} already");
                return error(cause, "a domain belongs to one account: remove it from one");
            }
        }
        for (at, named) in &entry.certificates {
            let other = self.by_certificate.insert(named.clone(), user.clone());
            if let Some(other) = other.filter(|other| other != user) {
                let cause = format!("the certificate {named} belongs to {other:?} already");
                let advice = "a certificate belongs to one account: remove it from one";
                return Err(self.source.error(*at, cause, advice));
            }
        }
        let here = std::iter::once((entry.at, &entry.next_hop));
        let per_domain = entry
            .next_hops
            .iter()
            .map(|(at, _, next_hop)| (*at, next_hop));
        for (at, next_hop) in here.chain(per_domain) {
            let mine = (user.clone(), next_hop.clone());
            let Some((other, written)) = self.by_next_hop.insert(next_hop.clone(), mine) else {
                continue;
            };
            if other != *user {
                let cause = format!("next hop {next_hop} belongs to {other:?} already");
                let advice =
                    "one customer's mail would travel on the other's connection: give each its own";
                return Err(self.source.error(at, cause, advice));
            }
            // The mail server compares text, we compare addresses: both must see the same.
            if written.as_str() != next_hop.as_str() {
                let cause = format!("{written} and {next_hop} are the same next hop");
                return Err(self
                    .source
                    .error(at, cause, "write it in one way everywhere"));
            }
        }
        Ok(())
    }
}

impl From<Entry> for Account {
    fn from(entry: Entry) -> Self {
        Self {
            user: entry.user,
            credential: entry.credential,
            certificates: entry
                .certificates
                .into_iter()
                .map(|(_, named)| named)
                .collect(),
            domains: entry.domains,
            next_hop: entry.next_hop,
            next_hops: entry
                .next_hops
                .into_iter()
                .map(|(_, domain, next_hop)| (domain, next_hop))
                .collect(),
            sources: entry.sources,
            derived: Default::default(),
        }
    }
}
