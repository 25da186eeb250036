//! main.cf, master.cf and the table of routes.

use std::path::Path;

use super::{Fragment, FragmentError, rewritten, table};
use crate::check::Machine;
use crate::check::postfix::{Postfix, joined, words};
use crate::config::{Config, CustomerHandoff, ProviderHandoff, Serve};
use crate::smtp::next_hop::NextHop;

const PROVIDER_MAIN: &str = include_str!("../../../contrib/postfix/provider-main.cf");
const PROVIDER_MASTER: &str = include_str!("../../../contrib/postfix/provider-master.cf");
const PROVIDER_TABLE: &str = include_str!("../../../contrib/postfix/provider-turnabout");
const CUSTOMER_MAIN: &str = include_str!("../../../contrib/postfix/customer-main.cf");
const CUSTOMER_MASTER: &str = include_str!("../../../contrib/postfix/customer-master.cf");

/// The name of the services in the shipped files.
const SERVICE: &str = "odmr";

/// Everything that Postfix needs.
pub(super) async fn all(
    config: &Config,
    machine: &Machine,
) -> Result<Vec<Fragment>, FragmentError> {
    let mut all = Vec::new();
    let serve = config.serve.as_ref();
    if let Some(serve) = serve.filter(|serve| serve.handoff == ProviderHandoff::PostfixCache) {
        let keys = &serve.postfix;
        let postfix = Postfix::look(&keys.command_directory, keys.config_directory.as_deref());
        all.extend(provider(serve, postfix.await.ok().as_ref()).await?);
    }
    let sockets: Vec<&Path> = config
        .providers
        .iter()
        .filter_map(|provider| match &provider.handoff {
            CustomerHandoff::PostfixPass { socket } => Some(socket.as_path()),
            _ => None,
        })
        .collect();
    if !sockets.is_empty() {
        let commands = serve.map_or(Path::new("/usr/sbin"), |serve| {
            &serve.postfix.command_directory
        });
        let postfix = Postfix::look(commands, machine.config_directory.as_deref());
        all.extend(customer(config, &sockets, postfix.await.ok().as_ref()).await);
    }
    if all.is_empty() {
        return Err(FragmentError::NoHandoff("Postfix"));
    }
    Ok(all)
}

async fn provider(
    serve: &Serve,
    postfix: Option<&Postfix>,
) -> Result<[Fragment; 3], FragmentError> {
    let accounts = crate::check::accounts(serve)?;
    let service = serve.postfix.service.as_str();
    let directory = postfix.map_or("/etc/postfix", |postfix| postfix.main("config_directory"));
    let routes = format!("texthash:{directory}/turnabout");
    let relayed = own(postfix, "relay_domains").await;
    let transports = own(postfix, "transport_maps").await;
    let deferred = own(postfix, "defer_transports").await;
    let ttl = own(postfix, "connection_cache_ttl_limit").await;
    let main = rewritten(PROVIDER_MAIN, |line| {
        let (name, _) = line.split_once(" = ")?;
        let value = match name {
            "relay_domains" => joined(&relayed, &routes),
            // The first table that has a domain decides.
            "transport_maps" if words(&transports).contains(&routes) => transports.clone(),
            "transport_maps" => joined(&routes, &transports),
            "defer_transports" => joined(&deferred, service),
            "connection_cache_ttl_limit" if long(&ttl) => ttl.clone(),
            _ => {
                let parameter = name.strip_prefix(SERVICE)?;
                return line
                    .strip_prefix(SERVICE)
                    .map(|_| format!("{service}{parameter} = 1"));
            }
        };
        (name != "connection_cache_ttl_limit" || long(&ttl)).then(|| format!("{name} = {value}"))
    })
    .replace("/etc/postfix", directory);
    let lines = accounts
        .routes()
        .map(|(_, domain, next_hop)| table_line(domain.as_str(), service, next_hop));
    Ok([
        Fragment {
            name: "postfix-provider-main.cf",
            text: main,
        },
        Fragment {
            name: "postfix-provider-master.cf",
            text: renamed(PROVIDER_MASTER, service),
        },
        Fragment {
            name: "postfix-turnabout",
            text: table(PROVIDER_TABLE, lines).replace("/etc/postfix", directory),
        },
    ])
}

async fn customer(config: &Config, sockets: &[&Path], postfix: Option<&Postfix>) -> [Fragment; 2] {
    let mut names: Vec<String> = sockets
        .iter()
        .filter_map(|socket| socket.file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    let mut domains: Vec<String> = Vec::new();
    let mut open = Vec::new();
    for provider in &config.providers {
        if !matches!(provider.handoff, CustomerHandoff::PostfixPass { .. }) {
            continue;
        }
        match &provider.domains {
            Some(list) => domains.extend(list.iter().map(ToString::to_string)),
            None => open.push(provider.name.clone()),
        }
    }
    if let Some(postfix) = postfix {
        domains = postfix.without_a_home(&domains).await;
    }
    let written = own(postfix, "mydestination").await;
    let local = if written.is_empty() {
        "$myhostname, localhost.$mydomain, localhost"
    } else {
        &written
    };
    let all = domains
        .iter()
        .fold(words(local).join(", "), |all, one| joined(&all, one));
    let mut main = rewritten(CUSTOMER_MAIN, |line| {
        line.starts_with("mydestination = ")
            .then(|| format!("mydestination = {all}"))
    });
    for name in open {
        main.push_str(&format!(
            "# providers.{name}.domains lists none: add those that the provider has for you.\n"
        ));
    }
    let services: Vec<String> = names
        .iter()
        .map(|name| renamed(CUSTOMER_MASTER, name))
        .collect();
    [
        Fragment {
            name: "postfix-customer-main.cf",
            text: main,
        },
        Fragment {
            name: "postfix-customer-master.cf",
            text: services.join("\n"),
        },
    ]
}

/// What main.cf sets itself, as it stands there; empty where it is Postfix's default.
async fn own(postfix: Option<&Postfix>, name: &str) -> String {
    match postfix {
        Some(postfix) if postfix.is_set(name).await => {
            postfix.as_written(name).await.unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// A time that the cache may keep a connection, and that is no less than ours.
fn long(ttl: &str) -> bool {
    let minute = std::time::Duration::from_secs(60);
    crate::handoff::postfix_cache::time(ttl).is_some_and(|ttl| ttl >= minute)
}

/// The service under another name.
fn renamed(shipped: &str, name: &str) -> String {
    if name == SERVICE {
        return shipped.to_owned();
    }
    rewritten(shipped, |line| {
        let line = line.replace("=postfix/odmr", &format!("=postfix/{name}"));
        let line = line.replace("private/odmr", &format!("private/{name}"));
        Some(match line.strip_prefix("odmr      ") {
            Some(rest) => format!("{name:<9} {rest}"),
            None => line,
        })
    })
}

/// The lines of the service alone.
fn lines_of(shipped: &str, name: &str) -> String {
    let text = renamed(shipped, name);
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    lines.join("\n")
}

/// The provider's service.
pub(in crate::check) fn provider_service(name: &str) -> String {
    lines_of(PROVIDER_MASTER, name)
}

/// The customer's service.
pub(in crate::check) fn customer_service(name: &str) -> String {
    lines_of(CUSTOMER_MASTER, name)
}

/// A line of the table of routes.
pub(in crate::check) fn table_line(domain: &str, service: &str, next_hop: &NextHop) -> String {
    format!("{domain:<15} {service}:{next_hop}")
}
