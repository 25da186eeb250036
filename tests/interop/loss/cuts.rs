//! The connection is cut at every kind of place, by a reset and by silence.

use std::time::{Duration, Instant};

use super::ledger::{BODY, HEAD, Ledger};
use super::scissors::{How, Part, Plan};
use super::site::{SOON, Site};

/// Messages in the queue at the start.
const MESSAGES: usize = 200;
/// The queue is refilled below this: a cut may be in the third message of a session.
const LEAST: usize = 10;
const REFILL: usize = 50;

/// Seconds that everybody waits for the other side.
const PATIENCE: u32 = 2;

const RESET: How = How::Reset;
/// Longer than everybody's patience; who still waits then (a customer waits ten minutes for ATRN's reply) gets a reset.
const SILENCE: How = How::Silence(Duration::from_millis(PATIENCE as u64 * 1000 + 700));

/// Rules: R29, B19
#[test]
fn a_connection_that_is_reset_anywhere_loses_no_mail() {
    let mut cuts = Cuts::new(RESET);
    cuts.negotiation(&[Part::Half, Part::All]);
    cuts.transfer(&[1, 3], &[Part::Half, Part::All]);
    cuts.finish(80);
}

/// Rules: R29
#[test]
fn a_connection_that_falls_silent_before_the_transfer_loses_no_mail() {
    let mut cuts = Cuts::new(SILENCE);
    cuts.negotiation(&[Part::Half]);
    cuts.finish(15);
}

/// Rules: R29, B19
#[test]
fn a_connection_that_falls_silent_in_the_transfer_loses_no_mail() {
    let mut cuts = Cuts::new(SILENCE);
    cuts.transfer(&[1, 3], &[Part::Half]);
    for line in ["dot 2", "final 2"] {
        cuts.one(line, Part::All);
    }
    cuts.finish(35);
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

/// One pair of hosts, and what has been cut between them.
#[derive(Debug)]
struct Cuts {
    site: Site,
    ledger: Ledger,
    how: How,
    count: usize,
    began: Instant,
}

impl Cuts {
    fn new(how: How) -> Self {
        let (site, mut ledger, began) = (Site::new(PATIENCE), Ledger::default(), Instant::now());
        ledger.send(&site, MESSAGES);
        Self { site, ledger, how, count: 0, began }
    }

    /// One fetch with one cut; afterwards every message must be where it belongs. Gives the lines up to the cut.
    fn one(&mut self, line: &str, part: Part) -> Vec<String> {
        let (site, ledger) = (&self.site, &mut self.ledger);
        ledger.refill(site, LEAST, REFILL);
        let connection = site.scissors.next(Some(Plan { line: line.to_owned(), part, how: self.how }));
        let mut fetch = site.customer.start_fetch();
        assert!(connection.reached(SOON), "no {line} among {:?}\n{}", connection.names(), fetch.log());
        connection.over(SOON);
        fetch.wait(SOON);
        site.settle();
        ledger.doubt(connection.doubt());
        let balance = ledger.check(site, &format!("cut at {line}, {part:?}"));
        self.count += 1;
        println!("{:5.1} s: {line}, {part:?}: {balance:?}", self.began.elapsed().as_secs_f32());
        connection.names()
    }

    /// Cuts at every line up to the customer's greeting behind the turn.
    fn negotiation(&mut self, parts: &[Part]) {
        for line in self.one("greeting", Part::Nothing) {
            for &part in parts {
                self.one(&line, part);
            }
        }
    }

    /// Cuts between the turn and the first message, and all around the given messages of a session.
    fn transfer(&mut self, messages: &[usize], parts: &[Part]) {
        let mut lines: Vec<String> = ["greeting", "ehlo", "reply ehlo 1", "reply ehlo"].map(str::to_owned).into();
        for number in messages {
            lines.extend(["rset", "mail", "rcpt", "data"].map(|verb| format!("{verb} {number}")));
            lines.extend(["rset", "mail", "rcpt", "data"].map(|verb| format!("reply {verb} {number}")));
            lines.extend([1, HEAD, HEAD + BODY / 2, HEAD + BODY].map(|line| format!("body {number} {line}")));
            lines.extend(["dot", "final"].map(|verb| format!("{verb} {number}")));
        }
        for line in lines {
            for &part in parts {
                self.one(&line, part);
            }
        }
        // These two come when everything has been delivered.
        self.one("quit", Part::Half);
        self.one("reply quit", Part::Half);
    }

    /// One more fetch, without a cut, brings the rest.
    fn finish(mut self, least: usize) {
        let Self { site, ledger, count, .. } = &mut self;
        assert!(*count >= least, "only {count} cuts");
        site.fetch_all();
        let balance = ledger.check_delivered(site);
        println!("{count} cuts, {} final replies in doubt, {balance:?}", ledger.doubts());
    }
}
