//! Postfix as the provider: the queue transport, its service, and the way of each customer's mail to it.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::Postfix;
use super::lists::{Members, is_table, members, words};
use crate::accounts::Accounts;
use crate::check::finding::Findings;
use crate::check::{files, fragments};
use crate::config::Serve;
use crate::handoff::postfix_cache::{Form, time};
use crate::smtp::next_hop::NextHop;

/// Below this time in the cache a lent connection is in danger of being closed before it is used.
const SHORT: Duration = Duration::from_secs(10);

/// One customer's domain and where its mail must go.
struct Route<'a> {
    user: &'a str,
    domain: String,
    next_hop: &'a NextHop,
}

/// Looks at everything that stands in main.cf, master.cf and the tables.
pub(in crate::check) async fn check(
    serve: &Serve,
    accounts: Option<&Accounts>,
    findings: &mut Findings,
) {
    let keys = &serve.postfix;
    let postfix = Postfix::look(&keys.command_directory, keys.config_directory.as_deref());
    let postfix = match postfix.await {
        Ok(postfix) => postfix,
        Err(error) => {
            findings
                .error("Postfix", error.to_string())
                .fix("command_directory = \"/usr/sbin\"");
            return;
        }
    };
    if let Err(error) = Form::of(postfix.main("mail_version")) {
        findings.error("Postfix", error.to_string());
    }
    alternate(&postfix, keys.config_directory.as_deref(), findings).await;
    service(&postfix, serve, findings);
    queue(&postfix, &keys.service, findings);
    running(&postfix, findings);
    if let Some(accounts) = accounts {
        let routes: Vec<Route<'_>> = accounts
            .routes()
            .map(|(user, domain, next_hop)| Route {
                user,
                domain: domain.to_string(),
                next_hop,
            })
            .collect();
        domains(&postfix, &keys.service, &routes, findings).await;
        routing(&postfix, &keys.service, &routes, findings).await;
    }
}

/// Postfix's set-group-ID programs refuse a configuration directory that the default instance does not name.
async fn alternate(postfix: &Postfix, config: Option<&Path>, findings: &mut Findings) {
    let Some(config) = config else { return };
    let Ok(default) = Postfix::look(&postfix.commands, None).await else {
        return;
    };
    let known = [
        "config_directory",
        "alternate_config_directories",
        "multi_instance_directories",
    ];
    let listed = known.iter().flat_map(|name| words(default.main(name)));
    if listed.into_iter().any(|place| Path::new(&place) == config) {
        return;
    }
    findings
        .error(
            default.file("main.cf"),
            format!(
                "neither alternate_config_directories nor multi_instance_directories names {}, so postqueue refuses to work for the service's user",
                config.display()
            ),
        )
        .fix(format!("alternate_config_directories = {}", config.display()));
}

/// The service that delivers: an smtp(8) that keeps its connections in the cache and does nothing else of its own.
fn service(postfix: &Postfix, serve: &Serve, findings: &mut Findings) {
    let name = &serve.postfix.service;
    let place = postfix.file("master.cf");
    let Some(service) = postfix
        .services(name)
        .find(|service| service.kind == "unix")
    else {
        findings
            .error(
                place,
                format!("there is no service {name} of type unix, so mail for the customers has no way out"),
            )
            .fix(fragments::provider_service(name));
        return;
    };
    if service.command != "smtp" && !service.command.ends_with("/smtp") {
        findings
            .error(
                &place,
                format!(
                    "the service {name} runs {}, and only smtp takes a connection from the cache",
                    service.command
                ),
            )
            .fix(fragments::provider_service(name));
        return;
    }
    let mut wrong = |parameter: &str, right: &str, why: &str| {
        let value = postfix.effective(service, parameter);
        findings
            .error(
                format!("{place}, service {name}"),
                format!("{parameter} is {}, {why}", shown(value)),
            )
            .fix(format!("  -o {parameter}={right}"));
    };
    let value = |parameter| postfix.effective(service, parameter);
    let is_no = |parameter| matches!(value(parameter), "no" | "");
    if !words(value("smtp_connection_cache_destinations")).contains(&"static:all".to_owned()) {
        wrong(
            "smtp_connection_cache_destinations",
            "static:all",
            "so the service does not look for the customer's connection where it is lent",
        );
    }
    let level = value("smtp_tls_security_level");
    let obsolete = level.is_empty() && (!is_no("smtp_use_tls") || !is_no("smtp_enforce_tls"));
    if !matches!(level, "none" | "") || obsolete {
        wrong(
            "smtp_tls_security_level",
            "none",
            "but turnabout speaks TLS on the turned connection already, and Postfix does not find it so",
        );
    }
    if !value("smtp_tls_policy_maps").is_empty() {
        wrong(
            "smtp_tls_policy_maps",
            "",
            "and could ask for TLS inside TLS",
        );
    }
    if !is_no("smtp_tls_wrappermode") {
        wrong("smtp_tls_wrappermode", "no", "which is TLS inside TLS");
    }
    if !is_no("smtp_sasl_auth_enable") {
        wrong(
            "smtp_sasl_auth_enable",
            "no",
            "so Postfix would log in at the customer's, and does not find its connection",
        );
    }
    if !value("smtp_sasl_password_maps").is_empty() {
        wrong(
            "smtp_sasl_password_maps",
            "",
            "which changes the name that Postfix looks for the customer's connection by",
        );
    }
    if !value("smtp_fallback_relay").is_empty() {
        wrong(
            "smtp_fallback_relay",
            "",
            "so mail goes there instead of waiting for the customer",
        );
    }
    let kept = time(value("smtp_connection_cache_time_limit"));
    if kept.is_none_or(|kept| kept < SHORT) {
        short(
            format!("{place}, service {name}"),
            "smtp_connection_cache_time_limit",
            value("smtp_connection_cache_time_limit"),
            "  -o smtp_connection_cache_time_limit=60s",
            findings,
        );
    }
}

fn short(place: String, parameter: &str, value: &str, fix: &str, findings: &mut Findings) {
    findings
        .warning(
            place,
            format!(
                "{parameter} is {}, which is too short to lend a connection comfortably",
                shown(value)
            ),
        )
        .fix(fix);
}

fn shown(value: &str) -> String {
    if value.is_empty() {
        "empty".to_owned()
    } else {
        format!("\"{value}\"")
    }
}

/// What main.cf says of the transport.
fn queue(postfix: &Postfix, name: &str, findings: &mut Findings) {
    let place = postfix.file("main.cf");
    let deferred = postfix.main("defer_transports");
    if !words(deferred).iter().any(|one| one == name) {
        findings
            .error(
                &place,
                format!("defer_transports does not name {name}, so Postfix tries the customers' mail all the time instead of waiting for them"),
            )
            .fix(format!("defer_transports = {}", joined(deferred, name)));
    }
    concurrency(postfix, name, &place, findings);
    let ttl = postfix.main("connection_cache_ttl_limit");
    match time(ttl) {
        Some(ttl) if ttl >= SHORT => {}
        Some(ttl) if !ttl.is_zero() => short(
            place,
            "connection_cache_ttl_limit",
            postfix.main("connection_cache_ttl_limit"),
            "connection_cache_ttl_limit = 60s",
            findings,
        ),
        _ => findings
            .error(
                place,
                format!(
                    "connection_cache_ttl_limit is {}, so no connection can be lent to Postfix",
                    shown(ttl)
                ),
            )
            .fix("connection_cache_ttl_limit = 60s"),
    }
}

/// How many deliveries at a time. Postfix tells of a service's own parameters only if there is the service.
fn concurrency(postfix: &Postfix, name: &str, place: &str, findings: &mut Findings) {
    if postfix.services(name).all(|service| service.kind != "unix") {
        return;
    }
    let parameter = format!("{name}_destination_concurrency_limit");
    let limit = match postfix.main(&parameter) {
        "" => postfix.main("default_destination_concurrency_limit"),
        own => own,
    };
    if limit != "1" {
        findings
            .error(
                place,
                format!("{parameter} is {limit}, but a customer has one connection: the second delivery at a time finds nobody and stops the others"),
            )
            .fix(format!("{parameter} = 1"));
    }
}

/// A list with more items, each once.
pub(in crate::check) fn joined(list: &str, more: &str) -> String {
    let mut all: Vec<String> = Vec::new();
    for item in words(list).into_iter().chain(words(more)) {
        if !all.contains(&item) {
            all.push(item);
        }
    }
    all.join(", ")
}

/// Is the cache there at this moment?
fn running(postfix: &Postfix, findings: &mut Findings) {
    let socket = Path::new(postfix.main("queue_directory"))
        .join("private")
        .join(postfix.main("connection_cache_service_name"));
    match knock(&socket) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            files::unseen(&socket, &error, findings);
        }
        Err(_) => findings
            .warning(
                socket.display().to_string(),
                "Postfix does not run at this moment: nobody answers on its connection cache",
            )
            .fix("postfix start"),
    }
}

/// Is somebody there? Asked with the wrong kind of socket, so that nobody is disturbed: where a stream socket is alive
/// the kernel says EPROTOTYPE.
pub(super) fn knock(socket: &Path) -> std::io::Result<()> {
    let knock = std::os::unix::net::UnixDatagram::unbound()?;
    match knock.connect(socket) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => Ok(()),
        other => other,
    }
}

/// The lists that must have every customer's domain, and those that must not.
async fn domains(postfix: &Postfix, service: &str, routes: &[Route<'_>], findings: &mut Findings) {
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
async fn routing(postfix: &Postfix, service: &str, routes: &[Route<'_>], findings: &mut Findings) {
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
