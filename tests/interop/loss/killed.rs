//! turnabout is killed: before the turn mail stays, behind the hand-off it flows on.

use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use rustls::version::{TLS12, TLS13};

use super::ledger::Ledger;
use super::scissors::{How, Part, Plan};
use super::site::{Link, SOON, Site, spooled};
use crate::lab::{Mode, wait_for};

const MESSAGES: usize = 200;

/// Nobody's time is to run out while something is held back.
const PATIENCE: u32 = 30;

/// Whom it hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Serve,
    Fetch,
    Both,
}

fn hold(line: &str, part: Part) -> Option<Plan> {
    Some(Plan {
        line: line.to_owned(),
        part,
        how: How::Hold,
    })
}

fn start(link: Link, messages: usize) -> (Site, Ledger) {
    let (site, mut ledger) = (Site::over(link, PATIENCE, &[]), Ledger::default());
    ledger.send(&site, messages);
    (site, ledger)
}

/// Rules: R29
#[test]
fn turnabout_killed_before_the_hand_off_leaves_all_mail_in_the_queue() {
    killed_before_the_hand_off(Link::Plain, MESSAGES);
}

/// Rules: R29
#[test]
fn turnabout_killed_before_the_hand_off_over_tls_leaves_all_mail_in_the_queue() {
    killed_before_the_hand_off(Link::Relayed(Mode::Starttls, &TLS13), MESSAGES);
}

/// Whoever of the two it is, and wherever it was.
pub fn killed_before_the_hand_off(link: Link, messages: usize) {
    let (mut site, mut ledger) = start(link, messages);
    let places = [
        // Logged in, before the turn.
        ("auth ok", Victim::Serve),
        ("auth ok", Victim::Fetch),
        ("atrn", Victim::Serve),
        ("atrn", Victim::Fetch),
        // The 250 is on the way.
        ("turn", Victim::Serve),
        ("turn", Victim::Both),
        // The customer has the 250, its mail server has the connection: the provider's first words as client.
        ("greeting", Victim::Serve),
        ("ehlo", Victim::Serve),
        ("reply ehlo", Victim::Serve),
        ("reply ehlo", Victim::Both),
    ];
    for (line, victim) in places {
        let connection = site.scissors.next(hold(line, Part::Nothing));
        let mut fetch = site.customer.start_fetch();
        assert!(connection.reached(SOON), "no {line}\n{}", fetch.log());
        if victim != Victim::Serve {
            fetch.kill();
        }
        if victim != Victim::Fetch {
            site.kill_serve();
            site.serve_again();
        }
        connection.go_on();
        connection.over(SOON);
        fetch.wait(SOON);
        site.settle();
        let balance = ledger.check(&site, &format!("{victim:?} killed at {line}"));
        assert_eq!(
            (balance.waiting, balance.delivered),
            (messages, 0),
            "{victim:?} killed at {line}"
        );
    }
    site.fetch_all();
    assert_eq!(ledger.check_delivered(&site).twice, 0);
}

/// Rules: R29
#[test]
fn fetch_killed_with_the_250_in_hand_leaves_all_mail_in_the_queue() {
    fetch_killed_with_the_250_in_hand(Link::Plain, MESSAGES);
}

/// The one moment in which the provider speaks to nobody.
pub fn fetch_killed_with_the_250_in_hand(link: Link, messages: usize) {
    let (site, mut ledger) = start(link, messages);
    let connection = site.scissors.next(hold("turn", Part::Nothing));
    let mut fetch = site.customer.start_fetch();
    assert!(connection.reached(SOON), "{}", fetch.log());
    fetch.signal(Signal::SIGSTOP);
    connection.go_on();
    connection.passed("turn", SOON);
    fetch.kill();
    connection.over(SOON);
    site.settle();
    let balance = ledger.check(&site, "fetch killed with the 250 in hand");
    assert_eq!((balance.waiting, balance.delivered), (messages, 0));
    assert_eq!(
        site.connects(),
        0,
        "Postfix has got a connection from a dead program"
    );
    site.fetch_all();
    assert_eq!(ledger.check_delivered(&site).twice, 0);
}

/// Rules: R29
#[test]
fn fetch_killed_before_postfix_has_looked_at_the_connection_changes_nothing() {
    fetch_killed_before_postfix_has_looked(Link::Plain, MESSAGES);
}

/// The descriptor is on its way, and nobody holds it.
pub fn fetch_killed_before_postfix_has_looked(link: Link, messages: usize) {
    let (site, mut ledger) = start(link, messages);
    let master = site
        .customer
        .read("/var/spool/postfix/pid/master.pid")
        .trim()
        .to_owned();
    site.customer.run("kill", &["-STOP", &master]);
    let connection = site.scissors.next(None);
    let mut fetch = site.customer.start_fetch();
    connection.passed("turn", SOON);
    // It has passed everything when it waits for Postfix to close the socket.
    sleep(Duration::from_millis(500));
    assert_eq!(site.connects(), 0);
    fetch.kill();
    site.customer.run("kill", &["-CONT", &master]);
    wait_for("delivery without fetch", SOON, || {
        (spooled(&site.provider) == 0).then_some(())
    });
    connection.over(SOON);
    site.settle();
    assert_eq!(ledger.check_delivered(&site).twice, 0);
    assert_eq!(site.connects(), 1);
}

/// Rules: R29, B19
#[test]
fn both_turnabouts_killed_in_the_transfer_do_not_disturb_the_delivery() {
    both_killed_in_the_transfer(Link::Plain, MESSAGES, &["rset 2", "body 50 20", "final 50"]);
}

/// Nobody misses them: the mail servers have the connection.
pub fn both_killed_in_the_transfer(link: Link, messages: usize, lines: &[&str]) {
    for line in lines {
        let (mut site, ledger) = start(link, messages);
        let connection = site.scissors.next(hold(line, Part::Nothing));
        let mut fetch = site.customer.start_fetch();
        assert!(connection.reached(SOON), "no {line}\n{}", fetch.log());
        fetch.kill();
        site.kill_serve();
        connection.go_on();
        undisturbed(&site, ledger);
    }
}

/// A relay dies with its process, and both mail servers see a lost connection.
///
/// Rules: R29, B19, C7
#[test]
fn turnabout_killed_in_a_transfer_that_it_carries_loses_no_mail() {
    let mut site = Site::over(Link::Relayed(Mode::Implicit, &TLS13), PATIENCE, &[]);
    let mut ledger = Ledger::default();
    for victim in [Victim::Serve, Victim::Fetch, Victim::Both] {
        for line in ["rset 2", "body 10 20", "final 10"] {
            ledger.refill(&site, 40, 40);
            let connection = site.scissors.next(hold(line, Part::Nothing));
            let mut fetch = site.customer.start_fetch();
            assert!(connection.reached(SOON), "no {line}\n{}", fetch.log());
            if victim != Victim::Serve {
                fetch.kill();
            }
            if victim != Victim::Fetch {
                site.kill_serve();
                site.serve_again();
            }
            connection.go_on();
            connection.over(SOON);
            fetch.wait(SOON);
            site.settle();
            ledger.doubt(connection.doubt());
            let balance = ledger.check(&site, &format!("{victim:?} killed at {line}"));
            assert!(balance.waiting > 0, "{victim:?} at {line}: nothing was cut");
        }
    }
    site.fetch_all();
    ledger.check_delivered(&site);
}

/// Rules: R29
#[test]
fn serve_killed_at_any_moment_of_the_lending_loses_no_mail() {
    killed_in_the_lending(Link::Plain, &[0, 1, 2, 3, 5, 8, 13, 21]);
}

/// Rules: R29
#[test]
fn serve_killed_at_any_moment_of_the_lending_over_tls_loses_no_mail() {
    killed_in_the_lending(Link::Relayed(Mode::Implicit, &TLS12), &[0, 2, 5, 13]);
}

/// So many milliseconds after the provider has been greeted.
pub fn killed_in_the_lending(link: Link, moments: &[u64]) {
    // What was lent and not flushed is closed by Postfix when its time in the cache is over.
    let mut site = Site::over(link, PATIENCE, &["connection_cache_ttl_limit=5s"]);
    let mut ledger = Ledger::default();
    let mut delivered = Vec::new();
    for &milliseconds in moments {
        ledger.refill(&site, 20, 20);
        let connection = site.scissors.next(None);
        let mut fetch = site.customer.start_fetch();
        connection.passed("reply ehlo", SOON);
        sleep(Duration::from_millis(milliseconds));
        site.kill_serve();
        // Long enough for what has been set going to show itself.
        sleep(Duration::from_millis(500));
        site.settle_queues();
        ledger.doubt(connection.doubt());
        delivered.push(
            ledger
                .check(&site, &format!("killed {milliseconds} ms after EHLO"))
                .delivered,
        );
        fetch.kill();
        site.serve_again();
    }
    println!("delivered after each: {delivered:?}");
    ledger.refill(&site, 20, 20);
    site.fetch_all();
    assert_eq!(ledger.check_delivered(&site).twice, 0);
}

/// Rules: R29
#[test]
fn serve_stopped_in_the_transfer_does_not_disturb_the_delivery() {
    let (mut site, ledger) = start(Link::Plain, MESSAGES);
    let connection = site.scissors.next(hold("body 50 20", Part::Nothing));
    let fetch = site.customer.start_fetch();
    assert!(connection.reached(SOON), "{}", fetch.log());
    site.serve.signal(Signal::SIGTERM);
    assert_eq!(
        site.serve.wait(SOON).code(),
        Some(0),
        "{}",
        site.serve.log()
    );
    connection.go_on();
    undisturbed(&site, ledger);
}

/// Both carry on until the session is over, and only then go.
///
/// Rules: R29, C7
#[test]
fn turnabout_stopped_in_a_transfer_that_it_carries_finishes_it_first() {
    let (mut site, ledger) = start(Link::Relayed(Mode::Starttls, &TLS12), MESSAGES);
    let connection = site.scissors.next(hold("body 50 20", Part::Nothing));
    let mut fetch = site.customer.start_fetch();
    assert!(connection.reached(SOON), "{}", fetch.log());
    site.serve.signal(Signal::SIGTERM);
    fetch.signal(Signal::SIGTERM);
    sleep(Duration::from_millis(500));
    assert_eq!(site.serve.ended(), None, "{}", site.serve.log());
    assert_eq!(fetch.ended(), None, "{}", fetch.log());
    connection.go_on();
    undisturbed(&site, ledger);
    assert_eq!(fetch.wait(SOON).code(), Some(0), "{}", fetch.log());
    let end = site.serve.wait(SOON);
    assert_eq!(end.code(), Some(0), "{}", site.serve.log());
    let names = connection.names();
    assert_eq!(names.last().map(String::as_str), Some("reply quit"));
}

/// To the last message, each one once, all over the one connection.
fn undisturbed(site: &Site, mut ledger: Ledger) {
    wait_for("delivery to the last message", SOON, || {
        (spooled(&site.provider) == 0).then_some(())
    });
    site.settle_queues();
    let balance = ledger.check_delivered(site);
    assert_eq!(balance.twice, 0);
    let messages = balance.sent;
    assert_eq!(site.connects(), 1, "{}", site.customer.mail_log());
    let log = site.provider.mail_log();
    let sent = log
        .lines()
        .filter(|line| line.contains("status=sent"))
        .count();
    let uses = log
        .lines()
        .filter_map(|line| {
            line.split("conn_use=")
                .nth(1)?
                .split(',')
                .next()?
                .parse()
                .ok()
        })
        .max();
    // The first message finds a connection that has been opened by somebody else: that counts as its first use.
    assert_eq!((sent, uses), (messages, Some(messages + 1)), "{log}");
}
