//! The way of each customer's mail through Exim's routers to its next hop.

use std::collections::HashMap;

use super::Exim;
use crate::check::finding::Findings;
use crate::check::fragments;
use crate::smtp::next_hop::NextHop;

/// Does every domain go by the transport to its next hop? Gives those that go by the transport at all.
pub(super) async fn routing(
    exim: &Exim,
    transport: &str,
    routes: &[(&str, String, &NextHop)],
    findings: &mut Findings,
) -> Vec<String> {
    let domains: Vec<String> = routes.iter().map(|(_, domain, _)| domain.clone()).collect();
    let ways = match exim.ways(&domains).await {
        Ok(ways) => ways,
        Err(error) => {
            findings.error("Exim, routers", error.to_string()).end();
            return Vec::new();
        }
    };
    let mut routed = Vec::new();
    let mut routers: HashMap<&str, ()> = HashMap::new();
    for (user, domain, next_hop) in routes {
        let Some(way) = ways.get(domain) else {
            continue;
        };
        let line = fragments::exim_table_line(domain, next_hop);
        let place = "Exim, routers";
        if let Some(trouble) = &way.trouble {
            findings
                .error(
                    place,
                    format!("mail for {domain} {trouble}, so nothing waits for {user:?}"),
                )
                .fix(if trouble.contains("local host") {
                    "  self = send".to_owned()
                } else {
                    line
                });
        } else if way.transport != transport {
            findings
                .error(
                    place,
                    format!(
                        "mail for {domain} goes by the router {} and the transport {}, not by {transport}, so it does not wait for {user:?}",
                        way.router, way.transport
                    ),
                )
                .fix(line);
        } else if way.hosts != [next_hop.ip()] {
            let hosts: Vec<String> = way.hosts.iter().map(ToString::to_string).collect();
            findings
                .error(
                    place,
                    format!(
                        "mail for {domain} goes to {}, but the account of {user:?} has the next hop {next_hop}, so Exim does not find it for the customer's connection",
                        hosts.join(" ")
                    ),
                )
                .fix(line);
        } else {
            routed.push(domain.clone());
            routers.insert(&way.router, ());
        }
    }
    for name in routers.keys() {
        router(exim, name, findings).await;
    }
    others(exim, transport, &routers, findings).await;
    routed
}

/// What a router must not do with mail that it cannot place at this moment.
async fn router(exim: &Exim, name: &str, findings: &mut Findings) {
    let options = exim.options(&["router", name]).await.unwrap_or_default();
    let place = format!("Exim, router {name}");
    if options.get("more").is_some_and(|more| more != "false") {
        findings
            .warning(&place, "it lets other routers follow, so mail for a customer whose line in the table is missing goes where its MX record points")
            .fix("  no_more");
    }
    if options
        .get("fallback_hosts")
        .is_some_and(|hosts| !hosts.is_empty())
    {
        findings
            .error(
                place,
                "fallback_hosts is set, so mail goes there instead of waiting for the customer",
            )
            .fix("  fallback_hosts =");
    }
}

/// Another router that leads to the transport brings mail of others to a customer's connection.
async fn others(exim: &Exim, transport: &str, known: &HashMap<&str, ()>, findings: &mut Findings) {
    for name in exim.routers().await.unwrap_or_default() {
        if known.contains_key(name.as_str()) || known.is_empty() {
            continue;
        }
        let options = exim.options(&["router", &name]).await.unwrap_or_default();
        if options
            .get("transport")
            .is_some_and(|used| used == transport)
        {
            findings
                .warning(
                    format!("Exim, router {name}"),
                    format!("it uses the transport {transport} too: what it sends to a customer's next hop goes to that customer"),
                )
                .fix("  transport = remote_smtp");
        }
    }
}
