//! Postfix as the provider: set up with the files of contrib as shipped, and its tests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use turnabout::handoff::postfix_cache::{PostfixCache, PostfixSettings};
use turnabout::handoff::{Ended, Reversed};
use turnabout::queue::postfix::Queue;
use turnabout::smtp::domain::DomainList;

use super::customer::{Customer, Manners, Seen};
use super::machine::{become_user, in_a_machine, shell};
use super::mail::{inject, inject_many};
use super::provider::{Port, nobody_stops, runtime, say};
use crate::lab::is_about_the_clock;

const MAIN: &str = include_str!("../../../contrib/postfix/provider-main.cf");
const MASTER: &str = include_str!("../../../contrib/postfix/provider-master.cf");
const ALICE: &str = "[127.77.0.1]:24";
const BOB: &str = "[127.77.0.2]:24";

/// Starts a Postfix with Debian's master.cf and the fragments.
fn start() {
    let main = format!(
        "compatibility_level = 3.6\nmyhostname = provider.example.com\nmydestination = localhost\n\
         inet_interfaces = loopback-only\nmynetworks = 127.0.0.0/8\nmaillog_file = /var/log/postfix.log\n\
         smtp_tls_security_level = may\nsmtpd_peername_lookup = no\n\
         alias_maps =\n{MAIN}"
    );
    std::fs::write("/etc/postfix/main.cf", main).unwrap();
    let master = std::fs::read_to_string("/etc/postfix/master.cf").unwrap();
    std::fs::write("/etc/postfix/master.cf", format!("{master}\n{MASTER}")).unwrap();
    std::fs::write(
        "/etc/postfix/turnabout",
        format!("example.org odmr:{ALICE}\nexample.net odmr:{ALICE}\nexample.com odmr:{BOB}\n"),
    )
    .unwrap();
    shell(
        "postconf -M postlog >/dev/null; rm -rf /var/spool/postfix/*/[0-9A-F]* ; postfix start 2>&1",
    );
}

/// Runs a test in a machine where this mail server runs.
fn with_mail_server(name: &str, test: impl Future<Output = ()>) {
    in_a_machine(name, || {
        start();
        runtime().block_on(test);
    });
}

fn queue() -> Queue {
    Queue {
        command_directory: "/usr/sbin".into(),
        config_directory: None,
    }
}

fn log() -> String {
    std::fs::read_to_string("/var/log/postfix.log").unwrap_or_default()
}

async fn waiting(domains: &str) -> usize {
    let domains = DomainList::parse_atrn(domains).unwrap();
    let queue = queue()
        .snapshot(&domains, 100_000, Duration::from_secs(30))
        .await
        .unwrap();
    queue.waiting.len() + queue.running
}

/// Waits until all of this many messages are deferred.
async fn deferred(domains: &str, count: usize) {
    let list = DomainList::parse_atrn(domains).unwrap();
    let started = Instant::now();
    loop {
        let queue = queue()
            .snapshot(&list, 100_000, Duration::from_secs(30))
            .await
            .unwrap();
        if queue.waiting.len() == count && queue.running == 0 {
            return;
        }
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "{queue:?}\n{}",
            log()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn cache(idle: u64, total: u64) -> PostfixCache {
    PostfixCache::new(PostfixSettings {
        command_directory: "/usr/sbin".into(),
        config_directory: None,
        service: "odmr".to_owned(),
        idle_time: Duration::from_secs(idle),
        total_time: Duration::from_secs(total),
    })
    .await
    .unwrap()
}

async fn session(domains: &str, next_hop: &str, manners: Manners) -> (Ended, Seen, Duration) {
    let cache = cache(10, 600).await;
    let (port, address) = Port::open().await;
    let list = DomainList::parse_atrn(domains).unwrap();
    let ready = cache
        .prepare(&list, &[next_hop.parse().unwrap()])
        .await
        .unwrap();
    let customer = Customer::dial(address, manners);
    let reversed: Reversed = port.turned(domains, &[next_hop], "s1").await;
    let started = Instant::now();
    let ended = ready.run(reversed, nobody_stops()).await;
    let took = started.elapsed();
    say(&ended);
    println!("took {took:?}");
    (ended, customer.end(), took)
}

/// Rules: R27
#[test]
fn one_message_is_delivered_and_the_session_ends_with_quit() {
    with_mail_server(
        "handoff::postfix::one_message_is_delivered_and_the_session_ends_with_quit",
        async {
            inject(&[(&["one@example.org"], "one")]);
            deferred("example.org", 1).await;
            let (ended, seen, took) = session("example.org", ALICE, Manners::default()).await;
            assert!(ended.clean, "{}", log());
            assert_eq!(ended.remaining, Some(false));
            assert_eq!(seen.messages.len(), 1);
            assert!(String::from_utf8_lossy(&seen.messages[0].data).contains("This is one."));
            assert!(seen.quit);
            assert!(took < Duration::from_secs(2), "{took:?}");
            println!("{:#?}\n{}", seen.lines, log());
        },
    );
}

#[test]
fn fifty_messages_go_over_one_connection() {
    with_mail_server(
        "handoff::postfix::fifty_messages_go_over_one_connection",
        async {
            inject_many(50, "user", "example.org");
            deferred("example.org", 50).await;
            let (ended, seen, _) = session("example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 50);
            assert!(seen.quit);
            assert!(!log().contains("cannot send file descriptor"), "{}", log());
            let log = log();
            let mut warnings = log
                .lines()
                .filter(|line| line.contains("warning") && !is_about_the_clock(line));
            assert_eq!(warnings.next(), None, "{log}");
        },
    );
}

/// Rules: R4
#[test]
fn put_off_messages_are_tried_once_and_the_others_get_through() {
    with_mail_server(
        "handoff::postfix::put_off_messages_are_tried_once_and_the_others_get_through",
        async {
            inject_many(5, "later", "example.org");
            inject_many(5, "user", "example.org");
            deferred("example.org", 10).await;
            let manners = Manners {
                later: Some("later"),
                ..Manners::default()
            };
            let (ended, seen, took) = session("example.org", ALICE, manners).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(true)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 5);
            assert_eq!(seen.count("RCPT TO:<LATER"), 5, "{:#?}", seen.lines);
            assert!(seen.quit);
            assert!(took < Duration::from_secs(3), "{took:?}");
        },
    );
}

/// Rules: R29
#[test]
fn a_customer_who_dies_leaves_the_rest_queued() {
    with_mail_server(
        "handoff::postfix::a_customer_who_dies_leaves_the_rest_queued",
        async {
            inject_many(10, "user", "example.org");
            deferred("example.org", 10).await;
            let manners = Manners {
                die_after: Some(3),
                ..Manners::default()
            };
            let (ended, seen, _) = session("example.org", ALICE, manners).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (false, Some(true)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 3);
            deferred("example.org", 7).await;
            let (ended, seen, _) = session("example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 7);
            assert!(!log().contains("status=bounced"), "{}", log());
        },
    );
}

#[test]
fn mail_that_comes_in_during_the_session_goes_out_too() {
    with_mail_server(
        "handoff::postfix::mail_that_comes_in_during_the_session_goes_out_too",
        async {
            inject_many(2, "user", "example.org");
            inject_many(1, "later", "example.org");
            deferred("example.org", 3).await;
            let after = Arc::new(|count| {
                if count == 1 {
                    inject_many(2, "new", "example.org");
                }
            });
            let manners = Manners {
                after: Some(after),
                later: Some("later"),
                ..Manners::default()
            };
            let (ended, seen, _) = session("example.org", ALICE, manners).await;
            assert!(ended.clean, "{}", log());
            assert_eq!(seen.messages.len(), 4, "{}", log());
            assert!(seen.quit);
            assert_eq!(seen.count("RCPT TO:<LATER"), 1, "{:#?}", seen.lines);
        },
    );
}

/// Rules: C10
#[test]
fn only_recipients_in_granted_domains_travel() {
    with_mail_server(
        "handoff::postfix::only_recipients_in_granted_domains_travel",
        async {
            inject(&[
                (
                    &["one@example.org", "two@example.com", "three@example.org"],
                    "mixed",
                ),
                (&["four@example.com"], "foreign"),
            ]);
            deferred("example.org", 1).await;
            let (ended, seen, _) = session("example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 1);
            assert_eq!(
                seen.messages[0].recipients,
                ["one@example.org", "three@example.org"]
            );
            assert_eq!(waiting("example.com").await, 2, "{}", log());
        },
    );
}

/// Rules: C10
#[test]
fn two_customers_behind_one_address_get_their_own_mail() {
    with_mail_server(
        "handoff::postfix::two_customers_behind_one_address_get_their_own_mail",
        async {
            inject_many(60, "alice", "example.org");
            inject_many(60, "bob", "example.com");
            deferred("example.org,example.com", 120).await;
            let slow = Manners {
                lag: Duration::from_millis(3),
                ..Manners::default()
            };
            let one = session("example.org", ALICE, slow.clone());
            let two = session("example.com", BOB, slow);
            let (one, two) = tokio::join!(one, two);
            for (which, (ended, seen, _)) in [("alice", one), ("bob", two)] {
                assert_eq!(
                    (ended.clean, ended.remaining),
                    (true, Some(false)),
                    "{}",
                    log()
                );
                assert_eq!(seen.messages.len(), 60);
                for message in &seen.messages {
                    assert!(
                        message.recipients[0].starts_with(which),
                        "{which} got {message:?}"
                    );
                }
            }
        },
    );
}

#[test]
fn a_customer_who_thinks_long_is_not_disturbed() {
    with_mail_server(
        "handoff::postfix::a_customer_who_thinks_long_is_not_disturbed",
        async {
            inject_many(2, "user", "example.org");
            deferred("example.org", 2).await;
            let manners = Manners {
                think: Duration::from_secs(6),
                ..Manners::default()
            };
            let cache = cache(1, 600).await;
            let (port, address) = Port::open().await;
            let list = DomainList::parse_atrn("example.org").unwrap();
            let ready = cache
                .prepare(&list, &[ALICE.parse().unwrap()])
                .await
                .unwrap();
            let customer = Customer::dial(address, manners);
            let reversed = port.turned("example.org", &[ALICE], "s1").await;
            let ended = ready.run(reversed, nobody_stops()).await;
            say(&ended);
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            let seen = customer.end();
            assert_eq!((seen.messages.len(), seen.quit), (2, true));
        },
    );
}

#[test]
fn at_shutdown_postfix_goes_on_with_what_it_is_doing() {
    with_mail_server(
        "handoff::postfix::at_shutdown_postfix_goes_on_with_what_it_is_doing",
        async {
            inject_many(20, "user", "example.org");
            deferred("example.org", 20).await;
            let cache = cache(10, 600).await;
            let (port, address) = Port::open().await;
            let list = DomainList::parse_atrn("example.org").unwrap();
            let ready = cache
                .prepare(&list, &[ALICE.parse().unwrap()])
                .await
                .unwrap();
            let (stop, stopping) = tokio::sync::watch::channel(false);
            let after = Arc::new(move |count| {
                if count == 5 {
                    stop.send(true).unwrap();
                }
            });
            let manners = Manners {
                after: Some(after),
                think: Duration::from_millis(20),
                ..Manners::default()
            };
            let customer = Customer::dial(address, manners);
            let reversed = port.turned("example.org", &[ALICE], "s1").await;
            let ended = ready.run(reversed, stopping).await;
            say(&ended);
            assert!(ended.clean);
            let seen = customer.seen.lock().unwrap().messages.len();
            println!("{seen} at the end of run");
            let started = Instant::now();
            while customer.seen.lock().unwrap().messages.len() < 20 {
                assert!(started.elapsed() < Duration::from_secs(10), "{}", log());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        },
    );
}

#[test]
fn a_thousand_messages_take_seconds() {
    with_mail_server(
        "handoff::postfix::a_thousand_messages_take_seconds",
        async {
            inject_many(1000, "user", "example.org");
            deferred("example.org", 1000).await;
            let (ended, seen, took) = session("example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 1000);
            let last = seen.messages.last().unwrap().at.unwrap();
            println!(
                "1000 in {took:?}; last {:?} ago; connects refused: {}",
                last.elapsed(),
                log().matches("Connection refused").count()
            );
        },
    );
}

#[test]
fn the_service_runs_as_postfix() {
    in_a_machine("handoff::postfix::the_service_runs_as_postfix", || {
        start();
        inject_many(3, "user", "example.org");
        shell("sleep 1");
        become_user("postfix");
        runtime().block_on(async {
            deferred("example.org", 3).await;
            let (ended, seen, _) = session("example.org", ALICE, Manners::default()).await;
            assert_eq!((ended.clean, ended.remaining), (true, Some(false)));
            assert_eq!((seen.messages.len(), seen.quit), (3, true));
        });
    });
}

#[test]
fn a_domain_that_cannot_be_flushed_is_said_so() {
    in_a_machine(
        "handoff::postfix::a_domain_that_cannot_be_flushed_is_said_so",
        || {
            start();
            shell("postconf -e fast_flush_domains=example.com; postfix reload 2>&1");
            runtime().block_on(async {
                inject_many(1, "user", "example.org");
                deferred("example.org", 1).await;
                let error = queue()
                    .flush(&"example.org".parse().unwrap(), Duration::from_secs(9))
                    .await
                    .unwrap_err();
                println!("{error}");
                assert!(error.to_string().contains("add it there"), "{error}");
                let (ended, seen, _) = session("example.org", ALICE, Manners::default()).await;
                assert!(ended.clean);
                assert!(ended.how.contains("fast_flush_domains"), "{ended:?}");
                assert!(seen.quit);
            });
        },
    );
}

#[test]
fn a_connection_that_postfix_does_not_use_ends_with_quit() {
    with_mail_server(
        "handoff::postfix::a_connection_that_postfix_does_not_use_ends_with_quit",
        async {
            inject_many(1, "user", "example.org");
            deferred("example.org", 1).await;
            // Another next hop than the one in the table.
            let cache = cache(2, 600).await;
            let (port, address) = Port::open().await;
            let list = DomainList::parse_atrn("example.org").unwrap();
            let ready = cache
                .prepare(&list, &["[127.77.0.9]:24".parse().unwrap()])
                .await
                .unwrap();
            let customer = Customer::dial(address, Manners::default());
            let reversed = port.turned("example.org", &["[127.77.0.9]:24"], "s1").await;
            let started = Instant::now();
            let ended = ready.run(reversed, nobody_stops()).await;
            say(&ended);
            assert!(
                (2..5).contains(&started.elapsed().as_secs()),
                "{:?}",
                started.elapsed()
            );
            assert!(ended.how.contains("did not use"), "{ended:?}");
            assert!(customer.end().quit);
        },
    );
}

#[test]
fn a_reload_of_postfix_loses_nothing() {
    with_mail_server(
        "handoff::postfix::a_reload_of_postfix_loses_nothing",
        async {
            inject_many(40, "user", "example.org");
            deferred("example.org", 40).await;
            let after = Arc::new(|count| {
                if count == 10 {
                    shell("postfix reload >/dev/null 2>&1");
                }
            });
            let manners = Manners {
                after: Some(after),
                think: Duration::from_millis(20),
                ..Manners::default()
            };
            let (ended, seen, _) = session("example.org", ALICE, manners).await;
            println!("{} after the reload: {ended:?}", seen.messages.len());
            let left = waiting("example.org").await;
            assert_eq!(seen.messages.len() + left, 40, "{}", log());
            if left > 0 {
                let (ended, seen, _) = session("example.org", ALICE, Manners::default()).await;
                assert_eq!(ended.remaining, Some(false), "{}", log());
                assert_eq!(seen.messages.len(), left);
            }
            assert!(!log().contains("status=bounced"), "{}", log());
        },
    );
}

#[test]
fn shutdown_ends_an_idle_connection_with_quit() {
    with_mail_server(
        "handoff::postfix::shutdown_ends_an_idle_connection_with_quit",
        async {
            inject_many(1, "user", "example.org");
            deferred("example.org", 1).await;
            let cache = cache(60, 600).await;
            let (port, address) = Port::open().await;
            let list = DomainList::parse_atrn("example.org").unwrap();
            let ready = cache
                .prepare(&list, &["[127.77.0.9]:24".parse().unwrap()])
                .await
                .unwrap();
            let customer = Customer::dial(address, Manners::default());
            let reversed = port.turned("example.org", &["[127.77.0.9]:24"], "s1").await;
            let (stop, stopping) = tokio::sync::watch::channel(false);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(2)).await;
                stop.send(true).unwrap();
            });
            let ended = ready.run(reversed, stopping).await;
            say(&ended);
            assert!(ended.clean);
            assert!(customer.end().quit);
        },
    );
}
