//! Exim as the customer: a session as the provider will have it.

use std::net::IpAddr;
use std::path::Path;

use super::{Exim, STRANGER};
use crate::check::finding::Findings;
use crate::check::machine::Machine;
use crate::config::{Provider, ProviderTls};

/// What the shipped configuration says.
const ADVERTISE: &str = "tls_advertise_hosts = ${if <{$received_port}{1024}{*}}";

/// Looks at the Exim that is started on the connection.
pub(in crate::check) async fn check(
    provider: &Provider,
    command: &[String],
    machine: &Machine,
    findings: &mut Findings,
) {
    let Some((program, arguments)) = command.split_first() else {
        return;
    };
    let place = format!("providers.{}.command", provider.name);
    if !arguments.iter().any(|argument| argument == "-bs") {
        findings
            .error(
                &place,
                format!("{program} without -bs does not speak SMTP on the connection"),
            )
            .fix(format!("command = [{program:?}, \"-bs\"]"));
        return;
    }
    let chosen = crate::handoff::exec::exim_configuration(arguments);
    if !chosen.is_empty() {
        findings
            .warning(&place, "with -C or -D Exim gives up its privilege, and what it received may be returned to the sender instead of being delivered")
            .fix(format!("command = [{program:?}, \"-bs\"]"));
    }
    let exim = Exim::new(Path::new(program), chosen);
    let names = [
        "smtp_accept_queue_per_connection",
        "smtp_accept_max_per_connection",
    ];
    let main = match exim.options(&names).await {
        Ok(main) => main,
        Err(error) => {
            findings.error("Exim", error.to_string()).end();
            return;
        }
    };
    let queued = main
        .get("smtp_accept_queue_per_connection")
        .map_or("", String::as_str);
    if queued != "0" {
        findings
            .warning("Exim, main section", format!("smtp_accept_queue_per_connection is {queued}: what comes after that in one connection waits for the next queue run, and from a provider everything comes in one"))
            .fix("smtp_accept_queue_per_connection = 0");
    }
    let most = main
        .get("smtp_accept_max_per_connection")
        .and_then(|most| most.parse::<u64>().ok());
    if most.is_some_and(|most| most > 0 && most < 100) {
        findings
            .warning("Exim, main section", "smtp_accept_max_per_connection is small: the rest of the mail waits for the next fetch")
            .fix("smtp_accept_max_per_connection = 1000");
    }
    session(&exim, provider, machine, findings).await;
}

/// As whom Exim sees the provider: through a tunnel it is this machine itself.
fn peer(provider: &Provider, machine: &Machine) -> IpAddr {
    let bare = provider.host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse();
    if address.is_err() && machine.is_here(&provider.host) {
        return IpAddr::from([127, 0, 0, 1]);
    }
    address.unwrap_or(STRANGER)
}

async fn session(exim: &Exim, provider: &Provider, machine: &Machine, findings: &mut Findings) {
    let domains: Vec<String> = provider
        .domains
        .iter()
        .flat_map(|list| list.iter())
        .map(ToString::to_string)
        .collect();
    let place = "Exim, as the provider will see it";
    if domains.is_empty() {
        findings.note(
            format!("providers.{}.domains", provider.name),
            "none are listed, so the provider alone knows which domains come: whether Exim receives mail for them was not looked at",
        ).end();
    }
    let peer = peer(provider, machine);
    // One that is refused anyway, so that there is a session at all.
    let asked = if domains.is_empty() {
        vec!["turnabout-check.invalid".to_owned()]
    } else {
        domains.clone()
    };
    let what = "what it does with the provider's mail";
    let seen = exim.seen((peer, &asked), (place, what), findings);
    let Some(replies) = seen.await else { return };
    if replies
        .offer
        .iter()
        .any(|line| line.get(4..).is_some_and(|word| word.trim() == "STARTTLS"))
    {
        let sentence = "it offers STARTTLS on the turned connection";
        if provider.tls == ProviderTls::None {
            findings
                .warning(
                    place,
                    format!("{sentence}, where only turnabout speaks TLS"),
                )
                .fix(ADVERTISE);
        } else {
            findings
                .error(place, format!("{sentence}, which has TLS already: a provider that takes it up cannot go on"))
                .fix(ADVERTISE);
        }
    }
    if let Some(reply) = replies
        .foreign
        .as_deref()
        .filter(|reply| reply.starts_with('2'))
    {
        findings
            .error(place, format!("it relays for the provider, which it sees as {peer}: \"{reply}\" to a recipient that is not here"))
            .fix("hostlist relay_from_hosts =");
    }
    let refused = domains.iter().zip(&replies.recipients);
    for (domain, reply) in refused.filter(|(_, reply)| reply.starts_with('5')) {
        if !replies.is_as_foreign(reply) {
            findings
                .warning(
                    place,
                    format!("it refuses postmaster@{domain}: \"{reply}\""),
                )
                .end();
            continue;
        }
        findings
            .error(place, format!("it refuses mail for {domain}, which the provider would return to the senders: \"{reply}\""))
            .fix(format!("domainlist local_domains = @ : localhost : {}", domains.join(" : ")));
    }
}
