//! The connection is cut at every kind of place, by a reset and by silence.

use std::time::{Duration, Instant};

use super::ledger::{BODY, HEAD, Ledger};
use super::scissors::{How, Part, Plan};
use super::site::{SOON, Site};

/// Messages in the queue at the start, and in every refill.
const MESSAGES: usize = 200;
/// The queue is refilled below this: a cut may be in the fourth message of a session.
const LEAST: usize = 20;

/// Seconds that everybody waits for the other side.
const PATIENCE: u32 = 2;

/// Rules: R29, B19
#[test]
fn a_connection_that_is_reset_anywhere_loses_no_mail() {
    let parts = [Part::Half, Part::All];
    let cuts = cut(&|| How::Reset, &parts, &[1, 3], 50);
    println!("{cuts} resets");
}

/// Rules: R29, B19
#[test]
fn a_connection_that_falls_silent_anywhere_loses_no_mail() {
    // Longer than everybody's patience; what still waits then (a customer for ATRN's reply: ten minutes) gets a reset.
    let silence = Duration::from_millis(u64::from(PATIENCE) * 1000 + 700);
    let cuts = cut(&|| How::Silence(silence), &[Part::Half], &[2], 20);
    println!("{cuts} silences");
}

/// Rules: R29
#[test]
fn a_silence_that_never_ends_is_noticed_by_the_provider() {
    let mut ledger = Ledger::default();
    let site = Site::new(PATIENCE);
    ledger.send(&site, LEAST);
    for line in ["customer 2", "greeting", "dot 2", "final 1"] {
        let plan = Plan { line: line.to_owned(), part: Part::Half, how: How::Silence(SOON) };
        let connection = site.scissors.next(Some(plan));
        let mut fetch = site.customer.start_fetch();
        assert!(connection.reached(SOON), "no {line}");
        site.settle();
        assert!(!connection.is_over(), "{line}: the proxy was quicker");
        fetch.signal(nix::sys::signal::Signal::SIGKILL);
        ledger.doubt(connection.doubt());
        ledger.check(&site, line);
    }
    site.fetch_all();
    ledger.check_delivered(&site);
}

/// Cuts at all lines up to the greeting and around the given messages; gives the number of cuts.
fn cut(how: &dyn Fn() -> How, parts: &[Part], messages: &[usize], least: usize) -> usize {
    let started = Instant::now();
    let site = Site::new(PATIENCE);
    let mut ledger = Ledger::default();
    ledger.send(&site, MESSAGES);
    let mut cuts = 0;
    let mut one = |line: &str, part: Part| {
        ledger.refill(&site, LEAST, MESSAGES);
        let plan = Plan { line: line.to_owned(), part, how: how() };
        let connection = site.scissors.next(Some(plan));
        let mut fetch = site.customer.start_fetch();
        assert!(connection.reached(SOON), "no {line} among {:?}\n{}", connection.names(), fetch.log());
        connection.over(SOON);
        fetch.wait(SOON);
        site.settle();
        ledger.doubt(connection.doubt());
        let balance = ledger.check(&site, &format!("cut at {line}, {part:?}"));
        cuts += 1;
        println!("{:5.1} s: {line}, {part:?}: {balance:?}", started.elapsed().as_secs_f32());
        connection.names()
    };
    let negotiation = one("greeting", Part::Nothing);
    for line in &negotiation {
        for &part in parts {
            one(line, part);
        }
    }
    for line in transfer(messages) {
        for &part in parts {
            one(&line, part);
        }
    }
    assert!(cuts >= least, "only {cuts} cuts");
    site.fetch_all();
    let balance = ledger.check_delivered(&site);
    println!("{cuts} cuts, {} final replies in doubt, {balance:?}", ledger.doubts());
    assert!(balance.twice > 0, "no cut of a final reply made a second copy: were there any?");
    cuts
}

/// The lines behind the turn at which is cut.
fn transfer(messages: &[usize]) -> Vec<String> {
    let mut lines: Vec<String> = ["greeting", "ehlo", "reply ehlo 1", "reply ehlo"].map(str::to_owned).into();
    for number in messages {
        lines.extend(["rset", "mail", "rcpt", "data"].map(|verb| format!("{verb} {number}")));
        lines.extend(["rset", "mail", "rcpt", "data"].map(|verb| format!("reply {verb} {number}")));
        lines.extend([1, HEAD, HEAD + BODY / 2, HEAD + BODY].map(|line| format!("body {number} {line}")));
        lines.extend(["dot", "final"].map(|verb| format!("{verb} {number}")));
    }
    lines
}
