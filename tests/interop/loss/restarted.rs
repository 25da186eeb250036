//! Postfix is restarted in the middle of a transfer, on either side.

use super::ledger::Ledger;
use super::scissors::{How, Part, Plan};
use super::site::{SOON, Site};
use crate::lab::Host;

const MESSAGES: usize = 200;
const LEAST: usize = 30;
const PATIENCE: u32 = 5;

/// In the middle of the data; the data is complete; its final reply is on the way; between two messages.
const PLACES: [&str; 4] = ["body 10 20", "dot 10", "final 10", "mail 10"];

/// Rules: R29, B19
#[test]
fn postfix_restarted_at_the_provider_in_the_transfer_loses_no_mail() {
    disturbed(|site| &site.provider);
}

/// Rules: R29, B19
#[test]
fn postfix_restarted_at_the_customer_in_the_transfer_loses_no_mail() {
    disturbed(|site| &site.customer);
}

fn disturbed(host: fn(&Site) -> &Host) {
    let (site, mut ledger) = (Site::new(PATIENCE), Ledger::default());
    ledger.send(&site, MESSAGES);
    for commands in [&["stop", "start"][..], &["reload"][..]] {
        for line in PLACES {
            ledger.refill(&site, LEAST, MESSAGES);
            let plan = Plan { line: line.to_owned(), part: Part::Nothing, how: How::Hold };
            let connection = site.scissors.next(Some(plan));
            let mut fetch = site.customer.start_fetch();
            assert!(connection.reached(SOON), "no {line}\n{}", fetch.log());
            for command in commands {
                host(&site).run("postfix", &[command]);
            }
            connection.go_on();
            connection.over(SOON * 2);
            fetch.wait(SOON);
            site.settle();
            ledger.doubt(connection.doubt());
            let balance = ledger.check(&site, &format!("{commands:?} at {line}"));
            println!("{commands:?} at {line}: {balance:?}, {} in doubt", ledger.doubts());
        }
    }
    site.fetch_all();
    ledger.check_delivered(&site);
}
