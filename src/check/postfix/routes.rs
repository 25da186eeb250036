//! The way of each customer's mail to its next hop: the lists that must have its domain, and the transport table.

use std::collections::{HashMap, HashSet};

use super::Postfix;
use super::lists::{Members, is_table, joined, members, words};
use crate::check::finding::Findings;
use crate::check::fragments;
use crate::smtp::next_hop::NextHop;

/// One customer's domain and where its mail must go.
pub(super) struct Route<'a> {
    pub(super) user: &'a str,
    pub(super) domain: String,
    pub(super) next_hop: &'a NextHop,
}

/// The lists that must have every customer's domain, and those that must not.
pub(super) async fn domains(
    postfix: &Postfix,
    service: &str,
    routes: &[Route<'_>],
    findings: &mut Findings,
) {
    let names: Vec<String> = routes.iter().map(|route| route.domain.clone()).collect();
    let place = postfix.file("main.cf");
    let parents = |name: &str| {
        words(postfix.main("parent_domain_matches_subdomains"))
            .iter()
            .any(|one| one == name)
    };
    for (parameter, why) in [
        ("relay_domains", "so Postfix refuses mail for it"),
        (
            "fast_flush_domains",
            "so its mail cannot be asked for (postqueue -s)",
        ),
    ] {
        // By default it is $relay_domains, which has had its say.
        if parameter == "fast_flush_domains" && !postfix.is_set(parameter).await {
            continue;
        }
        let list = postfix.main(parameter);
        let inside = members(postfix, list, &names, parents(parameter)).await;
        untold(parameter, &inside, &place, findings);
        let missing: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| inside.lacks(name))
            .collect();
        if !missing.is_empty() {
            let tables = words(postfix.main("transport_maps"));
            let by_table = words(list)
                .iter()
                .any(|item| is_table(item) && tables.contains(item));
            findings
                .error(
                    &place,
                    format!("{parameter} does not have {}, {why}", missing.join(", ")),
                )
                .fix(if by_table {
                    // The table of the routes serves both.
                    lines(routes, &missing, service)
                } else {
                    let more = missing
                        .iter()
                        .fold(list.to_owned(), |all, one| joined(&all, one));
                    format!("{parameter} = {more}")
                });
        }
    }
    for parameter in [
        "mydestination",
        "virtual_mailbox_domains",
        "virtual_alias_domains",
    ] {
        let inside = members(postfix, postfix.main(parameter), &names, false).await;
        for name in names.iter().filter(|name| inside.inside.contains(*name)) {
            let written = postfix.as_written(parameter).await.unwrap_or_default();
            let rest: Vec<String> = words(&written)
                .into_iter()
                .filter(|one| one != name)
                .collect();
            findings
                .error(
                    &place,
                    format!("{parameter} has {name} as well, so Postfix takes its mail for this machine's own instead of keeping it for the customer"),
                )
                .fix(format!("{parameter} = {}", rest.join(", ")));
        }
    }
}

fn lines(routes: &[Route<'_>], names: &[&str], service: &str) -> String {
    let wanted = routes
        .iter()
        .filter(|route| names.contains(&route.domain.as_str()));
    let lines: Vec<String> = wanted
        .map(|route| fragments::table_line(&route.domain, service, route.next_hop))
        .collect();
    lines.join("\n")
}

fn untold(parameter: &str, members: &Members, place: &str, findings: &mut Findings) {
    for unknown in &members.unknown {
        findings
            .warning(
                place,
                format!("{parameter} names a table that cannot be asked: {unknown}"),
            )
            .end();
    }
}

/// Does `transport_maps` lead each domain to its next hop, and nothing else there?
pub(super) async fn routing(
    postfix: &Postfix,
    service: &str,
    routes: &[Route<'_>],
    findings: &mut Findings,
) {
    let place = format!("{}, transport_maps", postfix.file("main.cf"));
    let names: Vec<String> = routes.iter().map(|route| route.domain.clone()).collect();
    let mut found: HashMap<String, (String, String)> = HashMap::new();
    let mut complete = true;
    for table in words(postfix.main("transport_maps")) {
        out_of_date(&table, findings);
        match postfix.lookup(&table, &names).await {
            Ok(values) => {
                for (name, value) in values {
                    found.entry(name).or_insert((table.clone(), value));
                }
            }
            Err(error) => {
                complete = false;
                findings
                    .error(
                        &place,
                        format!("the table {table} cannot be asked: {error}"),
                    )
                    .end();
            }
        }
        others(postfix, &table, service, routes, findings).await;
    }
    for route in routes {
        let wanted = format!("{service}:{}", route.next_hop);
        let line = fragments::table_line(&route.domain, service, route.next_hop);
        match found.get(&route.domain) {
            Some((_, value)) if *value == wanted => {}
            Some((table, value)) => findings
                .error(
                    table,
                    format!(
                        "it leads {} to {value}, but the account of {:?} has the next hop {}, so Postfix does not find the customer's connection",
                        route.domain, route.user, route.next_hop
                    ),
                )
                .fix(line),
            None if complete => findings
                .error(
                    &place,
                    format!("no table has {}, so its mail does not wait for {:?} but goes where its MX record points", route.domain, route.user),
                )
                .fix(line),
            None => {}
        }
    }
}

/// What else goes to a customer's next hop travels on the customer's connection.
async fn others(
    postfix: &Postfix,
    table: &str,
    service: &str,
    routes: &[Route<'_>],
    findings: &mut Findings,
) {
    let Some(entries) = postfix.dump(table).await else {
        findings
            .note(
                table,
                "it cannot be listed, so whether it leads anything else to a customer's next hop was not seen",
            )
            .end();
        return;
    };
    let hops: HashMap<String, &Route<'_>> = routes
        .iter()
        .map(|route| (format!("{service}:{}", route.next_hop), route))
        .collect();
    let granted: HashSet<(&str, &str)> = routes
        .iter()
        .map(|route| (route.user, route.domain.as_str()))
        .collect();
    for (key, value) in entries {
        let Some(route) = hops.get(&value) else {
            continue;
        };
        let domain = key.rsplit('@').next().unwrap_or(&key);
        if !granted.contains(&(route.user, domain)) {
            findings
                .error(
                    table,
                    format!(
                        "it leads {key} to {value}, which is the next hop of {:?} whose account does not have {domain}: that mail would go to the wrong customer",
                        route.user
                    ),
                )
                .fix(format!("#{key} {value}"));
        }
    }
}

/// A compiled table that is older than its source.
fn out_of_date(table: &str, findings: &mut Findings) {
    let Some((kind, path)) = table.split_once(':') else {
        return;
    };
    let ending = match kind {
        "hash" | "btree" => "db",
        "lmdb" => "lmdb",
        "cdb" => "cdb",
        _ => return,
    };
    let changed = |path: &str| std::fs::metadata(path).and_then(|facts| facts.modified());
    if let (Ok(source), Ok(compiled)) = (changed(path), changed(&format!("{path}.{ending}")))
        && source > compiled
    {
        findings
            .warning(
                table,
                "its source was changed after postmap was run the last time",
            )
            .fix(format!("postmap {table}"));
    }
}
