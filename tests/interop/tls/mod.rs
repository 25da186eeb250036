//! TLS that survives the turn: with real mail servers, with other TLS libraries, and against those who mean ill.

mod certificates;
mod customers;
pub mod delivery;
pub mod openssl;
mod providers;
mod turn;

use std::time::Duration;

use crate::lab::{Authority, Host, Lab, Mail, Mta, Running, body_of_lines, wait_for};

pub const SOON: Duration = Duration::from_secs(30);

/// How turnabout is to carry a session over TLS: by a relay, which is possible on every kernel. Where the kernel can do
/// TLS, the tests can be run with `kernel` in the environment variable `LAB_HANDOFF_TLS`.
fn handoff_tls() -> String {
    std::env::var("LAB_HANDOFF_TLS").unwrap_or_else(|_| "relay".to_owned())
}

/// How the log says that a session was carried whose TLS it gives in these words.
fn carried(tls: &str) -> &'static str {
    match handoff_tls().as_str() {
        "kernel" if tls.starts_with("TLS1.3") => "kernel",
        _ => "relay",
    }
}

/// The log says of a session over TLS 1.3 that it was carried as it was to be.
fn assert_carried(log: &str) {
    assert!(log.contains("tls=\"TLS1.3 "), "{log}");
    let carried = format!("carried={} ", carried("TLS1.3 "));
    assert!(log.contains(&carried), "no {carried}: {log}");
}

/// Tells a customer's host how to carry its sessions.
fn carry_as_wanted(customer: &Host) {
    let quoted = format!("\"{}\"", handoff_tls());
    customer.set("providers.isp", &[("handoff_tls", &quoted)]);
}

/// A provider with TLS and a customer's host that knows its authority.
pub struct Hosts {
    pub provider: Host,
    pub customer: Host,
    pub authority: Authority,
    _lab: Lab,
}

impl Hosts {
    pub fn new(provider: Mta, customer: Mta) -> Self {
        let mut lab = Lab::new();
        let authority = Authority::new();
        let provider = lab.provider(provider);
        let customer = lab.customer(customer);
        provider.serve_with_tls(&authority);
        let quoted = format!("\"{}\"", handoff_tls());
        provider.set("serve", &[("handoff_tls", &quoted)]);
        carry_as_wanted(&customer);
        customer.know(&authority);
        Self {
            provider,
            customer,
            authority,
            _lab: lab,
        }
    }
}

/// Three messages, one of them of several TLS records.
pub fn three_messages(name: &str) -> Vec<Mail> {
    let bodies = [20, 2000, 0].map(body_of_lines);
    bodies
        .iter()
        .enumerate()
        .map(|(number, body)| Mail::new(&["alice@example.org"], &format!("{name}-{number}"), body))
        .collect()
}

/// The line with which turnabout closes its session in the log, waited for; there have been `before` such lines.
pub fn closing_line(program: &Running, before: usize) -> String {
    wait_for("closing line", SOON, || {
        let log = program.log();
        let mut ends = log.lines().filter(|line| line.contains(" end="));
        ends.nth(before).map(str::to_owned)
    })
}
