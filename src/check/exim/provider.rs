//! Exim as the provider: router, transport, retry rule, and that mail for the customers is accepted and held.

use std::collections::HashMap;

use super::{Exim, STRANGER};
use crate::accounts::Accounts;
use crate::check::finding::Findings;
use crate::check::fragments;
use crate::config::Serve;
use crate::handoff::exim_continue::{EximContinue, EximSettings};
use crate::smtp::next_hop::NextHop;

/// A retry rule that gives up sooner is a danger: the customer may be away for so long.
const LONG: u64 = 30 * 24 * 3600;

/// A customer that has put off a message should find it again when he calls the next time.
const SHORT: u64 = 60;

/// For so many domains the retry rule is looked at, one by one: there is mostly one for all.
const RULES: usize = 20;

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

/// Does every domain go by the transport to its next hop? Gives those that go by the transport at all.
async fn routing(
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

/// Does a failure leave the mail in the queue, and for how long?
async fn retries(exim: &Exim, domains: &[String], findings: &mut Findings) {
    const RULE: &str = "*@+odmr_domains  *  F,365d,1s";
    let mut seen: Vec<String> = Vec::new();
    for domain in domains.iter().take(RULES) {
        let Ok(rule) = exim.retry_rule(domain).await else {
            continue;
        };
        if seen.contains(&rule) {
            continue;
        }
        let (first, last) = times(&rule);
        if rule.is_empty() {
            findings
                .error("Exim, retry", format!("there is no rule for {domain}, and without one the first failure returns the mail to its sender"))
                .fix(RULE);
        } else if last.is_none_or(|last| last < LONG) {
            findings
                .error("Exim, retry", format!("the rule for {domain} ({}) gives up too soon: what has waited longer than that for its customer is returned to the sender when he calls", rule.trim_end_matches([';', ' '])))
                .fix(RULE);
        } else if first.is_none_or(|first| first > SHORT) {
            findings
                .warning("Exim, retry", format!("the rule for {domain} begins with a long interval, so mail that a customer has put off may not be tried when he calls again"))
                .fix(RULE);
        }
        seen.push(rule);
    }
}

/// The first interval and the last end of a rule such as `*  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h;`, in seconds.
fn times(rule: &str) -> (Option<u64>, Option<u64>) {
    let parts = || {
        rule.split_whitespace().filter(|word| {
            word.starts_with("F,") || word.starts_with("G,") || word.starts_with("H,")
        })
    };
    let field = |part: &str, index: usize| {
        part.trim_end_matches(';')
            .split(',')
            .nth(index)
            .and_then(seconds)
    };
    (
        parts().next().and_then(|part| field(part, 2)),
        parts().next_back().and_then(|part| field(part, 1)),
    )
}

/// Exim's notation of a time, such as `52w1d` or `1h30m`.
fn seconds(text: &str) -> Option<u64> {
    let (mut all, mut number) = (0_u64, 0_u64);
    for c in text.chars() {
        if let Some(digit) = c.to_digit(10) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
            continue;
        }
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 24 * 3600,
            'w' => 7 * 24 * 3600,
            _ => return None,
        };
        all = all.checked_add(number.checked_mul(unit)?)?;
        number = 0;
    }
    all.checked_add(number)
}

/// Does Exim take mail for the customers from a stranger, and for nobody else?
async fn accepted(exim: &Exim, domains: &[String], findings: &mut Findings) {
    let place = "Exim, as a stranger sees it";
    let replies = match exim.session(STRANGER, domains).await {
        Ok(replies) => replies,
        Err(error) => {
            findings.note(place, error.to_string()).end();
            return;
        }
    };
    if let Some(refused) = &replies.refused {
        findings
            .warning(place, format!("whether it accepts mail for the customers could not be seen: it says \"{refused}\" to {STRANGER}"))
            .end();
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::{seconds, times};

    #[test]
    fn a_retry_rule_has_a_first_interval_and_an_end() {
        let day = 24 * 3600;
        assert_eq!(
            times("*@+odmr_domains  *  F,52w1d,1s;"),
            (Some(1), Some(365 * day))
        );
        assert_eq!(
            times("*  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h;"),
            (Some(900), Some(4 * day))
        );
        assert_eq!(times(""), (None, None));
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("x"), None);
    }
}
