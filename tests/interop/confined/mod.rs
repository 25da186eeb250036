//! The provider under confinement: what it can no longer do, and that mail goes on. Real mail servers.

mod apparmor;
mod units;

pub use apparmor::confined_by_apparmor;

use crate::lab::{Lab, Mail, Mta, Running, body_of_lines, wait_for};
use nix::sys::signal::Signal;
use std::fs;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);
const CONFIG: &str = "/etc/turnabout/turnabout.toml";

fn note(name: &str) -> Mail {
    Mail::new(&["alice@example.org"], name, &body_of_lines(3))
}

/// A line of /proc/PID/status.
fn status(serve: &Running, field: &str) -> String {
    let pid = serve.pid().unwrap();
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.unwrap().trim().to_owned()
}

/// Where the kernel has Landlock: what is elsewhere cannot be read any more, and mail is delivered as before.
pub fn confined_by_landlock() {
    let mut lab = Lab::new();
    let (provider, customer) = (lab.provider(Mta::Postfix), lab.customer(Mta::Postfix));
    // Readable for everybody who may look everywhere.
    let elsewhere = "/var/lib/elsewhere/accounts.toml";
    provider.run("install", &["-d", "-o", "postfix", "/var/lib/elsewhere"]);
    provider.run(
        "install",
        &[
            "-o",
            "postfix",
            "-m",
            "600",
            "/etc/turnabout/accounts.toml",
            elsewhere,
        ],
    );
    provider.submit(&[note("first")]);
    let mut serve = provider.serve();
    let log = serve.log();
    assert!(log.contains("INFO confined by Landlock"), "{log}");
    assert_eq!(status(&serve, "NoNewPrivs:"), "1");
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    customer.wait_inbox("alice", 1, SOON);

    let line = format!("accounts = \"{elsewhere}\"\n");
    provider.edit(CONFIG, "[serve]\n", &format!("[serve]\n{line}"));
    serve.signal(Signal::SIGHUP);
    wait_for("refusal", SOON, || {
        serve.log().contains("cannot reload").then_some(())
    });
    let log = serve.log();
    let refused = log
        .lines()
        .find(|line| line.contains("cannot reload"))
        .unwrap();
    assert!(
        refused.contains(elsewhere) && refused.contains("Permission denied"),
        "{refused}"
    );
    provider.edit(CONFIG, &line, "");
    serve.signal(Signal::SIGHUP);
    wait_for("reload", SOON, || {
        serve.log().contains("reloaded").then_some(())
    });

    provider.submit(&[note("second")]);
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}");
    customer.wait_inbox("alice", 2, SOON);
    provider.wait_empty_queue(SOON);

    // A process that was not confined can read it: so it was Landlock that refused.
    serve.kill();
    provider.edit(
        CONFIG,
        "[serve]\n",
        &format!("[serve]\nlandlock = false\n{line}"),
    );
    let serve = provider.serve();
    assert_eq!(status(&serve, "NoNewPrivs:"), "0");
}

#[test]
fn mail_is_delivered_through_postfix_confined_by_landlock_and_nothing_else_is_readable() {
    let mut lab = Lab::new();
    let serve = lab.provider(Mta::Postfix).serve();
    if serve.log().contains("not confined by Landlock") {
        println!("The running kernel has no Landlock: only the guest can show it.");
        return;
    }
    drop((serve, lab));
    confined_by_landlock();
}
