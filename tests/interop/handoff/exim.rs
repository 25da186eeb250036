//! Exim as the provider: set up with the file of contrib as shipped, and its tests.
//!
//! `TURNABOUT_EXIM_ROOT` names a tree with `usr/sbin/exim4`, where Exim is not installed (its package and Postfix's
//! exclude each other).

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use turnabout::handoff::Ended;
use turnabout::handoff::exim_continue::{EximContinue, EximSettings};
use turnabout::queue::exim::Queue;
use turnabout::smtp::domain::DomainList;

use super::customer::{Customer, Manners, Seen};
use super::machine::{become_user, in_a_machine, shell};
use super::mail::{inject, inject_many};
use super::provider::{Port, nobody_stops, runtime, say};

const PIECES: &str = include_str!("../../../contrib/exim/provider.conf");
const ALICE: &str = "[127.77.0.1]:24";
const BOB: &str = "[127.77.0.2]:24";

/// The piece of the shipped file behind `# --- title`.
fn piece(title: &str) -> &str {
    let piece = PIECES
        .split("# --- ")
        .find(|piece| piece.starts_with(title))
        .expect("no such piece");
    piece.split_once('\n').unwrap().1
}

fn start() {
    let root = std::env::var("TURNABOUT_EXIM_ROOT")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/target/lab/exim").to_owned());
    shell(&format!(
        "test -z '{root}' || {{ cp -a '{root}/usr/sbin/exim4' /usr/sbin/exim4; chmod 4755 /usr/sbin/exim4; cp '{root}/usr/sbin/exim_fixdb' /usr/sbin; }}
         rm -f /usr/sbin/exim; ln -s exim4 /usr/sbin/exim
         getent group Debian-exim >/dev/null || groupadd -r Debian-exim
         getent passwd Debian-exim >/dev/null || useradd -r -g Debian-exim -d /var/spool/exim4 Debian-exim
         mkdir -p /etc/exim4 /var/spool/exim4 /var/log/exim4
         chown -R Debian-exim:Debian-exim /var/spool/exim4 /var/log/exim4"
    ));
    let configuration = format!(
        "primary_hostname = provider.example.com\nkeep_environment =\nlocal_interfaces = 127.0.0.1\n\
         exim_path = /usr/sbin/exim4\nlog_file_path = /var/log/exim4/%slog\nspool_directory = /var/spool/exim4\n\
         exim_user = Debian-exim\nexim_group = Debian-exim\ntls_advertise_hosts =\nacl_smtp_rcpt = accept\n\
         smtp_accept_queue_per_connection = 0\nsmtp_accept_max_per_connection = 0\n{}\n\
         begin acl\naccept:\n  accept\nbegin routers\n{}\nbegin transports\n{}\nbegin retry\n{}\n",
        piece("main"),
        piece("begin routers"),
        piece("begin transports"),
        piece("begin retry"),
    );
    std::fs::write("/etc/exim4/exim4.conf", configuration).unwrap();
    std::fs::write(
        "/etc/exim4/turnabout",
        "example.org: 127.77.0.1\nexample.net: 127.77.0.1\nexample.com: 127.77.0.2\n",
    )
    .unwrap();
    // In the foreground: in a fresh machine Exim's parent is process 1, and it would believe to be in the background.
    // It ends with the machine.
    let daemon = Command::new("/usr/sbin/exim4")
        .args(["-bdf", "-odq", "-oX", "127.0.0.1.25"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::mem::forget(daemon);
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
        command: "/usr/sbin/exim4".into(),
    }
}

fn log() -> String {
    std::fs::read_to_string("/var/log/exim4/mainlog").unwrap_or_default()
}

async fn waiting(domains: &str) -> usize {
    let domains = DomainList::parse_atrn(domains).unwrap();
    queue()
        .snapshot(&domains, 100_000, Duration::from_secs(30))
        .await
        .unwrap()
        .waiting
        .len()
}

async fn exim() -> EximContinue {
    EximContinue::new(EximSettings {
        command: "/usr/sbin/exim4".into(),
        transport: "odmr".to_owned(),
        total_time: Duration::from_secs(600),
    })
    .await
    .unwrap()
}

async fn session(
    exim: &EximContinue,
    domains: &str,
    next_hop: &str,
    manners: Manners,
) -> (Ended, Seen) {
    let (port, address) = Port::open().await;
    let list = DomainList::parse_atrn(domains).unwrap();
    assert!(exim.waiting(&list, Duration::from_secs(10)).await.unwrap());
    let started = Instant::now();
    let ready = exim
        .prepare(&list, &[next_hop.parse().unwrap()])
        .await
        .unwrap();
    println!("prepared in {:?}", started.elapsed());
    let customer = Customer::dial(address, manners);
    let reversed = port.turned(domains, &[next_hop], "s1").await;
    let started = Instant::now();
    let ended = ready.run(reversed, nobody_stops()).await;
    say(&ended);
    println!("took {:?}", started.elapsed());
    (ended, customer.end())
}

/// Rules: R27
#[test]
fn one_message_is_delivered_and_the_session_ends_with_quit() {
    with_mail_server(
        "handoff::exim::one_message_is_delivered_and_the_session_ends_with_quit",
        async {
            inject(&[(&["one@example.org"], "one")]);
            let (ended, seen) =
                session(&exim().await, "example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 1);
            assert!(String::from_utf8_lossy(&seen.messages[0].data).contains("This is one."));
            assert!(seen.quit, "{:#?}", seen.lines);
            println!("{:#?}\n{}", seen.lines, log());
        },
    );
}

#[test]
fn fifty_messages_go_over_one_connection() {
    with_mail_server(
        "handoff::exim::fifty_messages_go_over_one_connection",
        async {
            inject_many(50, "user", "example.org");
            let (ended, seen) =
                session(&exim().await, "example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 50);
            assert!(seen.quit);
        },
    );
}

#[test]
fn a_put_off_message_does_not_starve_the_others() {
    with_mail_server(
        "handoff::exim::a_put_off_message_does_not_starve_the_others",
        async {
            inject_many(3, "later", "example.org");
            std::thread::sleep(Duration::from_millis(1100));
            inject_many(5, "user", "example.org");
            let exim = exim().await;
            let mut delivered = 0;
            let mut sessions = 0;
            while waiting("example.org").await > 3 {
                sessions += 1;
                assert!(sessions <= 6, "{}", log());
                let manners = Manners {
                    later: Some("later"),
                    ..Manners::default()
                };
                let (ended, seen) = session(&exim, "example.org", ALICE, manners).await;
                assert!(ended.clean);
                assert_eq!(ended.remaining, Some(true));
                assert!(seen.quit, "{:#?}\n{}", seen.lines, log());
                delivered += seen.messages.len();
                println!("session {sessions}: {:#?}", seen.lines);
            }
            assert_eq!(delivered, 5);
            println!("{sessions} sessions");
            assert!(!log().contains(" ** "), "{}", log());
        },
    );
}

/// Rules: R29
#[test]
fn a_customer_who_dies_leaves_the_rest_queued() {
    with_mail_server(
        "handoff::exim::a_customer_who_dies_leaves_the_rest_queued",
        async {
            inject_many(10, "user", "example.org");
            let exim = exim().await;
            let manners = Manners {
                die_after: Some(3),
                ..Manners::default()
            };
            let (ended, seen) = session(&exim, "example.org", ALICE, manners).await;
            assert_eq!(
                (seen.messages.len(), ended.remaining),
                (3, Some(true)),
                "{}",
                log()
            );
            assert!(waiting("example.org").await >= 7);
            let (ended, seen) = session(&exim, "example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert!((7..=8).contains(&seen.messages.len()), "{}", log());
            assert!(!log().contains(" ** "), "{}", log());
        },
    );
}

/// Rules: C10
#[test]
fn only_recipients_in_granted_domains_travel() {
    with_mail_server(
        "handoff::exim::only_recipients_in_granted_domains_travel",
        async {
            inject(&[
                (
                    &["one@example.org", "two@example.com", "three@example.org"],
                    "mixed",
                ),
                (&["four@example.com"], "foreign"),
            ]);
            let (ended, seen) =
                session(&exim().await, "example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert_eq!(seen.messages.len(), 1);
            let mut recipients = seen.messages[0].recipients.clone();
            recipients.sort();
            assert_eq!(recipients, ["one@example.org", "three@example.org"]);
            assert_eq!(waiting("example.com").await, 2, "{}", log());
            let (_, seen) = session(&exim().await, "example.com", BOB, Manners::default()).await;
            assert_eq!(seen.messages.len(), 2);
        },
    );
}

#[test]
fn at_shutdown_exim_goes_on_with_what_it_is_doing() {
    with_mail_server(
        "handoff::exim::at_shutdown_exim_goes_on_with_what_it_is_doing",
        async {
            inject_many(10, "user", "example.org");
            let exim = exim().await;
            let (port, address) = Port::open().await;
            let list = DomainList::parse_atrn("example.org").unwrap();
            let ready = exim
                .prepare(&list, &[ALICE.parse().unwrap()])
                .await
                .unwrap();
            let (stop, stopping) = tokio::sync::watch::channel(false);
            let after = Arc::new(move |count| {
                if count == 3 {
                    stop.send(true).unwrap();
                }
            });
            let manners = Manners {
                after: Some(after),
                think: Duration::from_millis(30),
                ..Manners::default()
            };
            let customer = Customer::dial(address, manners);
            let reversed = port.turned("example.org", &[ALICE], "s1").await;
            let ended = ready.run(reversed, stopping).await;
            say(&ended);
            assert!(ended.clean);
            let seen = customer.end();
            assert_eq!((seen.messages.len(), seen.quit), (10, true), "{}", log());
        },
    );
}

#[test]
fn new_mail_during_a_session_is_for_the_next_unless_exim_sees_it() {
    with_mail_server(
        "handoff::exim::new_mail_during_a_session_is_for_the_next_unless_exim_sees_it",
        async {
            inject_many(3, "user", "example.org");
            let after = Arc::new(|count| {
                if count == 1 {
                    inject_many(2, "new", "example.org");
                }
            });
            let manners = Manners {
                after: Some(after),
                ..Manners::default()
            };
            let (ended, seen) = session(&exim().await, "example.org", ALICE, manners).await;
            println!("{} messages, {ended:?}", seen.messages.len());
            assert!(seen.messages.len() >= 3);
        },
    );
}

#[test]
fn the_service_runs_as_exims_user() {
    in_a_machine("handoff::exim::the_service_runs_as_exims_user", || {
        start();
        inject_many(3, "user", "example.org");
        become_user("Debian-exim");
        runtime().block_on(async {
            let (ended, seen) =
                session(&exim().await, "example.org", ALICE, Manners::default()).await;
            assert_eq!(
                (ended.clean, ended.remaining),
                (true, Some(false)),
                "{}",
                log()
            );
            assert_eq!((seen.messages.len(), seen.quit), (3, true));
        });
    });
}
