//! The books: which messages there are, where each of them is, and whether that is right.

use std::collections::BTreeMap;
use std::fs;

use crate::lab::{Host, Mail, body_of_lines};

use super::site::{Site, spooled, waiting};

/// Lines of every message's body.
pub const BODY: usize = 40;
/// Header lines, and the empty one behind them.
pub const HEAD: usize = 9;

#[derive(Debug, Default)]
pub struct Ledger {
    sent: BTreeMap<String, Mail>,
    /// How often a message's final reply may have been lost.
    doubts: BTreeMap<String, usize>,
    /// Delivered files that have been looked at, and the message in each.
    seen: BTreeMap<String, String>,
}

/// Where the messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Balance {
    pub sent: usize,
    pub waiting: usize,
    pub delivered: usize,
    /// Deliveries beyond the first of each message.
    pub twice: usize,
}

impl Ledger {
    /// Puts `count` new messages into the provider's queue.
    pub fn send(&mut self, site: &Site, count: usize) {
        let mails: Vec<Mail> = (self.sent.len()..self.sent.len() + count)
            .map(|number| {
                let name = format!("loss-{number}");
                let to = if number % 2 == 0 {
                    "alice@example.org"
                } else {
                    "alice@example.com"
                };
                let mut mail = Mail::new(&[to], &name, &body_of_lines(BODY));
                mail.from = format!("{name}@example.edu");
                mail
            })
            .collect();
        site.provider.submit(&mails);
        self.sent
            .extend(mails.into_iter().map(|mail| (mail.name(), mail)));
        site.settle_queues();
    }

    /// Puts mail into the queue if it has become short.
    pub fn refill(&mut self, site: &Site, least: usize, count: usize) {
        if spooled(&site.provider) < least {
            self.send(site, count);
        }
    }

    /// Notes that this message's final reply may have been lost.
    pub fn doubt(&mut self, message: Option<String>) {
        if let Some(message) = message {
            *self.doubts.entry(message).or_default() += 1;
        }
    }

    /// How many final replies may have been lost so far.
    pub fn doubts(&self) -> usize {
        self.doubts.values().sum()
    }

    /// Finds every message; fails if one is nowhere, is incomplete, has bounced, or is somewhere too often.
    pub fn check(&mut self, site: &Site, when: &str) -> Balance {
        let waiting = waiting(&site.provider);
        let copies = self.copies(&site.customer);
        for host in [&site.provider, &site.customer] {
            let log = host.mail_log();
            assert!(
                !log.contains("status=bounced"),
                "{when}: a message bounced:\n{log}"
            );
        }
        for (name, mail) in &self.sent {
            let waits = usize::from(waiting.contains(name));
            let copies = copies.get(name).copied().unwrap_or(0);
            let doubts = self.doubts.get(name).copied().unwrap_or(0);
            assert!(waits + copies >= 1, "{when}: {} is lost", mail.name());
            assert!(
                waits + copies <= 1 + doubts,
                "{when}: {name} was delivered {copies} times, waits {waits} times, and its final reply was lost {doubts} times"
            );
        }
        let known = |name: &String| self.sent.contains_key(name);
        assert!(
            waiting.iter().all(known),
            "{when}: mail that nobody sent, in {waiting:?}"
        );
        Balance {
            sent: self.sent.len(),
            waiting: waiting.len(),
            delivered: copies.len(),
            twice: copies.values().map(|copies| copies - 1).sum(),
        }
    }

    /// Fails unless everything has arrived; gives the figures.
    pub fn check_delivered(&mut self, site: &Site) -> Balance {
        let balance = self.check(site, "at the end");
        assert_eq!(
            (balance.waiting, balance.delivered),
            (0, balance.sent),
            "{balance:?}"
        );
        assert!(
            balance.twice <= self.doubts(),
            "{balance:?}, {} doubts",
            self.doubts()
        );
        balance
    }

    /// How often each message is in the customer's mailbox; each file must be a whole message.
    fn copies(&mut self, customer: &Host) -> BTreeMap<String, usize> {
        let mailbox = customer.path("/var/mail/alice/Maildir/new");
        for entry in fs::read_dir(mailbox).into_iter().flatten() {
            let entry = entry.unwrap();
            let name = entry.file_name().to_string_lossy().into_owned();
            if self.seen.contains_key(&name) {
                continue;
            }
            let file = fs::read(entry.path()).unwrap();
            let text = String::from_utf8_lossy(&file);
            let id = text
                .split("Return-Path: <")
                .nth(1)
                .and_then(|rest| rest.split('@').next())
                .unwrap_or("")
                .to_owned();
            let mail = self
                .sent
                .get(&id)
                .unwrap_or_else(|| panic!("mail that nobody sent:\n{text}"));
            assert!(
                mail.is_delivered_as(&file),
                "{id} has changed on its way:\n{text}"
            );
            self.seen.insert(name, id);
        }
        let mut copies = BTreeMap::new();
        for id in self.seen.values() {
            *copies.entry(id.clone()).or_default() += 1;
        }
        copies
    }
}
