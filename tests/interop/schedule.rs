//! The standing customer between real mail servers: mail by the schedule, mail on a signal, and a hook that flushes what
//! the customer's own mail server has kept until the line is up.

use std::io::{Read, Write};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::lab::{Host, Lab, Mail, Mta, body_of_lines, turnabout, wait_for};

const SOON: Duration = Duration::from_secs(30);

/// The shortest interval there is, and some time for the mail.
const NEXT: Duration = Duration::from_secs(90);

const METRICS: &str = "127.0.0.1:9367";

fn incoming(name: &str) -> Mail {
    Mail::new(&["alice@example.org"], name, &body_of_lines(10))
}

/// Puts a message for somebody at the provider into the customer's queue, where it stays.
fn keep(customer: &Host, name: &str) -> Mail {
    let mail = Mail::new(&["alice@provider.test"], name, &body_of_lines(10));
    let ids = customer.submit(std::slice::from_ref(&mail));
    let kept = format!("{}: ", ids[0]);
    wait_for("deferred mail", SOON, || {
        let log = customer.mail_log();
        let mut lines = log.lines().filter(|line| line.contains(&kept));
        lines
            .any(|line| line.contains("status=deferred") && line.contains("deferred transport"))
            .then_some(())
    });
    assert_eq!(customer.queue().len(), 1);
    mail
}

fn metrics(customer: &Host) -> String {
    let mut stream = customer.connect(METRICS);
    stream
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn mail_comes_by_the_schedule_and_on_sigusr1_and_the_hook_sends_what_was_kept() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Postfix);
    // As behind a line that is not always up: nothing goes out unless the queue is flushed.
    customer.postconf(&["defer_transports=smtp", "relayhost=[10.99.0.1]"]);
    customer.set("fetch", &[("metrics", &format!("{METRICS:?}"))]);
    let settings = [
        ("interval", "\"1m\""),
        ("jitter", "\"0s\""),
        ("hook_before", "[\"/bin/sh\", \"-c\", \"echo up\"]"),
        ("hook_after", "[\"/usr/sbin/postqueue\", \"-f\"]"),
    ];
    customer.set("providers.isp", &settings);
    let mut out = vec![keep(&customer, "kept-1")];
    let _serve = provider.serve();
    let mut daemon = customer.spawn("daemon", turnabout(), &["fetch", "--daemon"]);
    let ended = |daemon: &crate::lab::Running, count: usize, limit: Duration| {
        wait_for(&format!("fetch {count}"), limit, || {
            (daemon.log().matches(" next fetch ").count() >= count).then_some(())
        });
    };

    // At the start there is nothing to fetch, and the hook flushes all the same.
    ended(&daemon, 1, SOON);
    provider.wait_inbox("alice", 1, SOON);
    customer.wait_empty_queue(SOON);

    // The schedule: nobody asks.
    out.push(keep(&customer, "kept-2"));
    let first = incoming("by-the-schedule");
    provider.submit(std::slice::from_ref(&first));
    let inbox = customer.wait_inbox("alice", 1, NEXT);
    Mail::assert_delivered(std::slice::from_ref(&first), &inbox);
    ended(&daemon, 2, SOON);
    let sent = provider.wait_inbox("alice", 2, SOON);
    Mail::assert_delivered(&out, &sent);

    // The signal: long before the next would be due.
    let second = incoming("on-a-signal");
    provider.submit(std::slice::from_ref(&second));
    daemon.signal(Signal::SIGUSR1);
    let inbox = customer.wait_inbox("alice", 2, SOON);
    Mail::assert_delivered(&[first, second], &inbox);
    ended(&daemon, 3, SOON);
    provider.wait_empty_queue(SOON);

    let log = daemon.log();
    assert!(log.contains("signal=SIGUSR1"), "{log}");
    assert!(!log.contains("WARN hook_after"), "{log}");
    // The mail server's session was over before the hook ran.
    let lines: Vec<&str> = log.lines().collect();
    let place = |text: &str| lines.iter().rposition(|line| line.contains(text)).unwrap();
    assert!(place("session ended") < place("hook=after"), "{log}");

    let text = metrics(&customer);
    let result = |result: &str, count: usize| {
        let found = text.lines().any(|line| {
            line.starts_with("turnabout_sessions_total{")
                && line.contains(&format!("result=\"{result}\""))
                && line.ends_with(&format!(" {count}"))
        });
        assert!(found, "{result} {count}:\n{text}");
    };
    result("turned", 2);
    result("no-mail", 1);

    daemon.signal(Signal::SIGTERM);
    assert!(daemon.wait(SOON).success(), "{}", daemon.log());
}
