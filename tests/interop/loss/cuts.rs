//! The connection is cut at every kind of place, by a reset and by silence.

use std::time::{Duration, Instant};

use rustls::version::{TLS12, TLS13};

use super::ledger::{BODY, HEAD, Ledger};
use super::scissors::{How, Part, Plan};
use super::site::{Link, SOON, Site};
use crate::lab::Mode;

/// Messages in the queue at the start.
const MESSAGES: usize = 200;
/// The queue is refilled below this: a cut may be in the third message of a session.
const LEAST: usize = 10;
const REFILL: usize = 50;

/// Seconds that everybody waits for the other side.
const PATIENCE: u32 = 3;
/// The same in an emulated machine.
const EMULATED: u32 = 20;

const RESET: How = How::Reset;
/// Longer than everybody's patience; who still waits then (a customer waits ten minutes for ATRN's reply) gets a reset.
const SILENCE: How = silence(PATIENCE);

const fn silence(patience: u32) -> How {
    How::Silence(Duration::from_millis(patience as u64 * 1000 + 700))
}

/// Rules: R29, B19
#[test]
fn a_connection_that_is_reset_anywhere_loses_no_mail() {
    let mut cuts = Cuts::new(RESET);
    let parts = [Part::Half, Part::All];
    cuts.negotiation(&parts);
    cuts.first_words(&parts);
    cuts.message(1, &parts);
    cuts.message(3, &parts);
    cuts.last_words();
    cuts.finish(90);
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
fn a_connection_that_falls_silent_in_its_first_message_loses_no_mail() {
    let mut cuts = Cuts::new(SILENCE);
    cuts.first_words(&[Part::Half]);
    cuts.message(1, &[Part::Half]);
    cuts.finish(18);
}

/// Rules: R29, B19
#[test]
fn a_connection_that_falls_silent_in_a_later_message_loses_no_mail() {
    let mut cuts = Cuts::new(SILENCE);
    cuts.message(3, &[Part::Half]);
    for line in ["dot 2", "final 2"] {
        cuts.one(line, Part::All);
    }
    cuts.last_words();
    cuts.finish(18);
}

/// A half line is a whole record and half of the next one.
///
/// Rules: R29, B19, C7
#[test]
fn a_session_over_tls_that_is_reset_anywhere_loses_no_mail() {
    let mut cuts = Cuts::over(Link::Relayed(Mode::Starttls, &TLS13), RESET);
    cuts.negotiation(&[Part::Half]);
    cuts.one("handshake", Part::All);
    cuts.first_words(&[Part::Half]);
    cuts.message(1, &[Part::Half]);
    cuts.message(3, &[Part::All]);
    cuts.last_words();
    cuts.finish(50);
}

/// Rules: R29, B19, C7
#[test]
fn a_session_over_tls_that_falls_silent_loses_no_mail() {
    let mut cuts = Cuts::over(Link::Relayed(Mode::Implicit, &TLS12), SILENCE);
    for line in ["handshake", "auth ok", "atrn", "greeting", "reply ehlo"] {
        cuts.one(line, Part::Half);
    }
    for line in [
        "mail 3",
        "reply rcpt 1",
        "body 1 20",
        "dot 3",
        "final 1",
        "quit",
    ] {
        cuts.one(line, Part::Half);
    }
    cuts.one("final 3", Part::All);
    cuts.finish(12);
}

/// The mail servers have the connection: they see the half record and the reset themselves.
pub fn reset_in_the_kernels_tls() {
    let mut cuts = Cuts::in_the_kernels_tls(RESET);
    cuts.one("handshake", Part::All);
    for line in ["atrn", "turn", "greeting", "reply ehlo", "rcpt 1"] {
        cuts.one(line, Part::Half);
    }
    for line in ["body 1 20", "dot 2", "final 2"] {
        cuts.one(line, Part::Half);
    }
    cuts.one("final 1", Part::All);
    cuts.one("quit", Part::Half);
    cuts.finish_in_the_kernels_tls(8, 11);
}

/// They see themselves that nothing comes any more, and give up in their own time.
pub fn silence_in_the_kernels_tls() {
    let mut cuts = Cuts::in_the_kernels_tls(silence(EMULATED));
    cuts.one("turn", Part::Half);
    for line in ["greeting", "reply rcpt 1", "body 1 20", "final 2"] {
        cuts.one(line, Part::Half);
    }
    cuts.finish_in_the_kernels_tls(4, 5);
}

/// Rules: R29
#[test]
fn a_silence_that_never_ends_is_noticed_by_the_provider() {
    endless_silence(Link::Plain);
}

/// Rules: R29, C7
#[test]
fn a_silence_over_tls_that_never_ends_is_noticed_by_the_provider() {
    endless_silence(Link::Relayed(Mode::Starttls, &TLS13));
}

fn endless_silence(link: Link) {
    let mut ledger = Ledger::default();
    let site = Site::over(link, PATIENCE, &[]);
    ledger.send(&site, LEAST);
    for line in ["customer 2", "greeting", "dot 2", "final 1"] {
        let plan = Plan {
            line: line.to_owned(),
            part: Part::Half,
            how: How::Silence(SOON),
        };
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
        Self::over(Link::Plain, how)
    }

    fn over(link: Link, how: How) -> Self {
        Self::between(Site::over(link, PATIENCE, &[]), MESSAGES, how)
    }

    /// With few messages, for an emulated machine.
    fn in_the_kernels_tls(how: How) -> Self {
        let link = Link::InKernel(Mode::Starttls);
        Self::between(Site::over(link, EMULATED, &[]), 30, how)
    }

    fn between(site: Site, messages: usize, how: How) -> Self {
        let (mut ledger, began) = (Ledger::default(), Instant::now());
        ledger.send(&site, messages);
        Self {
            site,
            ledger,
            how,
            count: 0,
            began,
        }
    }

    /// One fetch with one cut; afterwards every message must be where it belongs. Gives the lines up to the cut.
    fn one(&mut self, line: &str, part: Part) -> Vec<String> {
        let (site, ledger) = (&self.site, &mut self.ledger);
        ledger.refill(site, LEAST, REFILL);
        let connection = site.scissors.next(Some(Plan {
            line: line.to_owned(),
            part,
            how: self.how,
        }));
        let mut fetch = site.customer.start_fetch();
        assert!(
            connection.reached(SOON),
            "no {line} among {:?}\n{}",
            connection.names(),
            fetch.log()
        );
        connection.over(SOON);
        fetch.wait(SOON);
        site.settle();
        ledger.doubt(connection.doubt());
        let balance = ledger.check(site, &format!("cut at {line}, {part:?}"));
        self.count += 1;
        println!(
            "{:5.1} s: {line}, {part:?}: {balance:?}",
            self.began.elapsed().as_secs_f32()
        );
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

    /// Cuts between the turn and the first message.
    fn first_words(&mut self, parts: &[Part]) {
        self.each(
            ["greeting", "ehlo", "reply ehlo 1", "reply ehlo"].map(str::to_owned),
            parts,
        );
    }

    /// Cuts all around one message, counted within its session.
    fn message(&mut self, number: usize, parts: &[Part]) {
        let verbs = ["rset", "mail", "rcpt", "data"];
        self.each(verbs.map(|verb| format!("{verb} {number}")), parts);
        self.each(verbs.map(|verb| format!("reply {verb} {number}")), parts);
        let lines = [1, HEAD, HEAD + BODY / 2, HEAD + BODY];
        self.each(lines.map(|line| format!("body {number} {line}")), parts);
        self.each(
            ["dot", "final"].map(|verb| format!("{verb} {number}")),
            parts,
        );
    }

    /// Cuts when everything has been delivered.
    fn last_words(&mut self) {
        self.one("quit", Part::Half);
        self.one("reply quit", Part::Half);
    }

    fn each<const COUNT: usize>(&mut self, lines: [String; COUNT], parts: &[Part]) {
        for line in lines {
            for &part in parts {
                self.one(&line, part);
            }
        }
    }

    /// So many sessions came to the kernel's part, and none was relayed.
    fn finish_in_the_kernels_tls(self, carried: usize, cuts: usize) {
        let log = self.site.serve.log();
        assert!(log.matches(" carried=kernel").count() >= carried, "{log}");
        assert!(!log.contains("carried=relay"), "{log}");
        self.finish(cuts);
    }

    /// One more fetch, without a cut, brings the rest.
    fn finish(mut self, least: usize) {
        let Self {
            site,
            ledger,
            count,
            ..
        } = &mut self;
        assert!(*count >= least, "only {count} cuts");
        site.fetch_all();
        let balance = ledger.check_delivered(site);
        println!(
            "{count} cuts, {} final replies in doubt, {balance:?}",
            ledger.doubts()
        );
    }
}
