//! Postfix is restarted in the middle of a transfer, on either side.

use End::{Interrupted, Undisturbed};

use super::ledger::Ledger;
use super::scissors::{Connection, How, Part, Plan};
use super::site::{SOON, Site};

const MESSAGES: usize = 200;
/// The queue is refilled below this: every place is in the tenth message.
const LEAST: usize = 30;
const REFILL: usize = 100;

/// In the middle of the data; the data is complete; its final reply is on the way; between two messages. At all of them
/// smtp(8) has the connection, and the cache has not.
pub const PLACES: [&str; 4] = ["body 10 20", "dot 10", "final 10", "mail 10"];

/// How long both sides wait for each other, in seconds, and the cache for somebody to take the connection back.
#[derive(Debug, Clone, Copy)]
pub struct Waits {
    pub patience: u32,
    pub cache: &'static str,
}

/// Where the session is to end: soon, so that it is seen.
pub const SHORT: Waits = Waits {
    patience: 5,
    cache: "connection_cache_ttl_limit=5s",
};
/// Where it is to go on, however slow the machine is; the cache as operators are told to have it.
pub const LONG: Waits = Waits {
    patience: 30,
    cache: "connection_cache_ttl_limit=60s",
};

/// Rules: R29, B19
#[test]
fn postfix_restarted_at_the_provider_in_the_transfer_loses_no_mail() {
    let end = each_place(&PLACES, SHORT, |site, _| {
        site.provider.run("postfix", &["stop"]);
        site.provider.run("postfix", &["start"]);
    });
    assert_eq!(end, Interrupted);
}

/// Rules: R29, B19
#[test]
fn postfix_restarted_at_the_customer_in_the_transfer_loses_no_mail() {
    let end = each_place(&PLACES, SHORT, |site, _| {
        site.stop_customer();
        site.customer.run("postfix", &["start"]);
    });
    assert_eq!(end, Interrupted);
}

/// Rules: R29, B19
#[test]
fn postfix_reloaded_at_the_customer_in_the_transfer_does_not_end_the_session() {
    let end = each_place(&PLACES, LONG, |site, _| {
        site.customer.run("postfix", &["reload"]);
    });
    assert_eq!(end, Undisturbed);
}

/// How the sessions ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All of them with everything delivered once, and QUIT.
    Undisturbed,
    /// At least one of them early.
    Interrupted,
}

/// Holds a line back at each of the places, and disturbs; then the line goes on, if it has not yet.
pub fn each_place(places: &[&str], waits: Waits, disturb: fn(&mut Site, &Connection)) -> End {
    let mut site = Site::with(waits.patience, &[waits.cache]);
    let mut ledger = Ledger::default();
    ledger.send(&site, MESSAGES);
    let mut end = Undisturbed;
    for line in places {
        ledger.refill(&site, LEAST, REFILL);
        let plan = Plan {
            line: (*line).to_owned(),
            part: Part::Nothing,
            how: How::Hold,
        };
        let connection = site.scissors.next(Some(plan));
        let mut fetch = site.customer.start_fetch();
        assert!(connection.reached(SOON), "no {line}\n{}", fetch.log());
        disturb(&mut site, &connection);
        connection.go_on();
        connection.over(SOON);
        fetch.wait(SOON);
        site.settle();
        ledger.doubt(connection.doubt());
        let balance = ledger.check(&site, line);
        let last = connection.names().pop();
        println!(
            "{line}: {balance:?}, {} in doubt, last line {last:?}",
            ledger.doubts()
        );
        if (balance.waiting, balance.twice, last.as_deref()) != (0, 0, Some("reply quit")) {
            end = Interrupted;
            println!("{}", site.serve.log());
        }
    }
    site.fetch_all();
    ledger.check_delivered(&site);
    end
}
