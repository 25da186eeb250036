//! `turnabout probe` against real programs: INetSim, and our provider in front of Postfix, whose queue it leaves alone.

use std::time::Duration;

use crate::lab::{Host, Lab, Mail, Mta, body_of_lines, turnabout};
use crate::others::start_inetsim;

const SOON: Duration = Duration::from_secs(30);

/// Probes with a login and `--atrn`; exit code and report.
fn probe(customer: &Host, whom: &[&str]) -> (i32, serde_json::Value) {
    let arguments = [&["probe", "--atrn", "--json"], whom].concat();
    let output = customer.command(turnabout(), &arguments).output().unwrap();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), report)
}

/// The texts of what deviates.
fn deviations(report: &serde_json::Value) -> Vec<&str> {
    let all = report["findings"].as_array().unwrap().iter();
    all.filter(|finding| finding["kind"] == "deviates")
        .map(|finding| finding["text"].as_str().unwrap())
        .collect()
}

#[test]
fn mail_in_postfix_is_seen_stays_queued_and_is_fetched_afterwards() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Postfix);
    let _serve = provider.serve();
    let (code, report) = probe(&customer, &["isp"]);
    assert_eq!((code, &report["mail"]), (0, &"none".into()), "{report}");
    assert_eq!(deviations(&report), [""; 0]);

    let sent = [Mail::new(
        &["alice@example.org"],
        "stays",
        &body_of_lines(40),
    )];
    provider.submit(&sent);
    let before = provider.queue();
    assert_eq!(before.len(), 1);
    let (code, report) = probe(&customer, &["isp"]);
    assert_eq!((code, &report["mail"]), (0, &"waiting".into()), "{report}");
    assert_eq!(deviations(&report), [""; 0], "{report}");
    assert_eq!(provider.queue(), before);

    // serve lets the next one in once it has seen the end of the probe.
    let (code, log) = crate::lab::wait_for("a fetch that is let in", SOON, || {
        let (code, log) = customer.fetch();
        (code != 75).then_some((code, log))
    });
    assert_eq!(code, 0, "{log}");
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", 1, SOON));
    provider.wait_empty_queue(SOON);
}

#[test]
fn what_inetsim_does_otherwise_than_the_standards_is_named() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Nothing);
    let customer = lab.customer(Mta::Postfix);
    let _inetsim = start_inetsim(&provider, "");
    let (code, report) = probe(&customer, &["isp"]);
    assert_eq!((code, &report["mail"]), (0, &"waiting".into()), "{report}");
    assert_eq!(report["login"], "accepted");
    assert_eq!(
        deviations(&report),
        ["offers PLAIN and LOGIN without TLS, where anybody on the way can read the password"]
    );
    assert!(customer.inbox("alice").is_empty());
}
