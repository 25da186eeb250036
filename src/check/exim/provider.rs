//! Exim as the provider: the transport, and that mail for the customers is accepted and held.

use super::retries::retries;
use super::routes::routing;
use super::{Exim, STRANGER};
use crate::accounts::Accounts;
use crate::check::finding::Findings;
use crate::check::fragments;
use crate::config::Serve;
use crate::handoff::exim_continue::{EximContinue, EximSettings};
use crate::smtp::next_hop::NextHop;

/// Looks at everything that stands in Exim's configuration.
pub(in crate::check) async fn check(
    serve: &Serve,
    accounts: Option<&Accounts>,
    findings: &mut Findings,
) {
    let keys = &serve.exim;
    let exim = Exim::new(&keys.command, Vec::new());
    let names = ["hold_domains", "message_logs", "spool_directory"];
    let main = match exim.options(&names).await {
        Ok(main) => main,
        Err(error) => {
            findings
                .error("Exim", error.to_string())
                .fix("command = \"/usr/sbin/exim4\"");
            return;
        }
    };
    let known = EximContinue::new(EximSettings {
        command: keys.command.clone(),
        transport: keys.transport.clone(),
        total_time: keys.total_time,
    });
    if let Err(error) = known.await {
        findings.error("Exim", error.to_string()).end();
    }
    if let Some(misfit) = accounts.and_then(|accounts| accounts.differ_in_address().err()) {
        findings
            .error(serve.accounts.display().to_string(), misfit.to_string())
            .end();
    }
    let fixdb = keys.command.with_file_name("exim_fixdb");
    if !fixdb.exists() {
        findings.note(
            fixdb.display().to_string(),
            "it is not there, so a message that a customer has put off may come first again in the next session",
        ).end();
    }
    if main.get("message_logs").is_some_and(|on| on == "false") {
        findings
            .warning("Exim, main section", "message_logs is off, so it is not seen which messages a customer has put off before")
            .fix("message_logs = true");
    }
    let port = transport(&exim, &keys.transport, accounts, findings).await;
    if let Some(accounts) = accounts {
        let routes: Vec<(&str, String, &NextHop)> = accounts
            .routes()
            .map(|(user, domain, next_hop)| (user, domain.to_string(), next_hop))
            .collect();
        ports(&routes, port, &keys.transport, findings);
        let domains: Vec<String> = routes.iter().map(|(_, domain, _)| domain.clone()).collect();
        let routed = routing(&exim, &keys.transport, &routes, findings).await;
        held(&exim, main.get("hold_domains"), &domains, findings).await;
        retries(&exim, &routed, findings).await;
        accepted(&exim, &domains, findings).await;
    }
}

/// The transport's own options; gives its port.
async fn transport(
    exim: &Exim,
    name: &str,
    accounts: Option<&Accounts>,
    findings: &mut Findings,
) -> Option<u16> {
    let place = format!("Exim, transport {name}");
    let options = exim.options(&["transport", name]).await.unwrap_or_default();
    let value = |option: &str| options.get(option).map_or("", String::as_str);
    let Some(driver) = options.get("driver") else {
        findings
            .error(
                &place,
                format!("there is no transport {name}, so mail for the customers has no way out"),
            )
            .fix(fragments::exim_transport(name, accounts));
        return None;
    };
    if driver != "smtp" {
        findings
            .error(
                &place,
                format!("its driver is {driver}, and only smtp goes on with an open connection"),
            )
            .fix("  driver = smtp");
        return None;
    }
    if value("hosts_avoid_tls") != "*" {
        findings
            .error(&place, "hosts_avoid_tls is not *, so Exim begins TLS on the turned connection, which has it already")
            .fix("  hosts_avoid_tls = *");
    }
    if value("connection_max_messages") != "0" {
        findings
            .error(
                &place,
                format!("connection_max_messages is {}, and what comes after that has no connection any more", value("connection_max_messages")),
            )
            .fix("  connection_max_messages = 0");
    }
    if !value("hosts_try_fastopen").is_empty() {
        findings
            .warning(&place, "hosts_try_fastopen is not empty: the attempt that notes the waiting mail must be refused at once, and in the ordinary way")
            .fix("  hosts_try_fastopen =");
    }
    for option in [
        "fallback_hosts",
        "hosts_require_tls",
        "hosts_require_auth",
        "hosts_try_auth",
    ] {
        if !value(option).is_empty() {
            findings
                .error(
                    &place,
                    format!("{option} is set, {}", if option == "fallback_hosts" {
                        "so mail goes there instead of waiting for the customer"
                    } else {
                        "and the turned connection offers neither TLS nor AUTH, so nothing is delivered"
                    }),
                )
                .fix(format!("  {option} ="));
        }
    }
    match value("port") {
        "smtp" => Some(25),
        number => number.parse().ok(),
    }
}

/// Newer Exim compares the port as well.
fn ports(
    routes: &[(&str, String, &NextHop)],
    port: Option<u16>,
    transport: &str,
    findings: &mut Findings,
) {
    let Some(port) = port else { return };
    let other = routes.iter().find(|(_, _, hop)| hop.port() != port);
    if let Some((user, _, hop)) = other {
        findings
            .warning(
                format!("Exim, transport {transport}"),
                format!("its port is {port}, but the next hop of {user:?} is {hop}: an Exim later than 4.96 compares both"),
            )
            .fix(format!("  port = {}", hop.port()));
    }
}

/// Is the mail held until it is asked for?
async fn held(exim: &Exim, list: Option<&String>, domains: &[String], findings: &mut Findings) {
    let list = list.map_or("", String::as_str);
    let held = exim.has(list, domains).await.unwrap_or_default();
    if held.len() != domains.len() && !list.is_empty() {
        findings
            .warning("Exim, main section", "hold_domains cannot be evaluated")
            .end();
        return;
    }
    let open: Vec<&str> = domains
        .iter()
        .enumerate()
        .filter(|(index, _)| list.is_empty() || held.get(*index) != Some(&true))
        .map(|(_, domain)| domain.as_str())
        .collect();
    if !open.is_empty() {
        let more = if list.is_empty() {
            String::new()
        } else {
            format!(" : {list}")
        };
        findings
            .error(
                "Exim, main section",
                format!("hold_domains does not have {}, so Exim tries that mail at arrival and in every queue run instead of waiting for the customer", open.join(", ")),
            )
            .fix(format!("hold_domains = +odmr_domains{more}"));
    }
}

/// Does Exim take mail for the customers from a stranger, and for nobody else?
async fn accepted(exim: &Exim, domains: &[String], findings: &mut Findings) {
    let place = "Exim, as a stranger sees it";
    let what = "whether it accepts mail for the customers";
    let seen = exim.seen((STRANGER, domains), (place, what), findings);
    let Some(replies) = seen.await else { return };
    let refused = domains.iter().zip(&replies.recipients);
    for (domain, reply) in refused.filter(|(_, reply)| reply.starts_with('5')) {
        if replies.is_as_foreign(reply) {
            findings
                .error(place, format!("it refuses mail for {domain}: \"{reply}\""))
                .fix("domainlist relay_to_domains = +odmr_domains");
        } else {
            findings
                .warning(
                    place,
                    format!("it refuses postmaster@{domain}: \"{reply}\""),
                )
                .end();
        }
    }
    if let Some(reply) = replies
        .foreign
        .as_deref()
        .filter(|reply| reply.starts_with('2'))
    {
        findings
            .error(
                place,
                format!("it relays for anybody: \"{reply}\" to a recipient that is not here"),
            )
            .fix("deny message = relay not permitted");
    }
}
