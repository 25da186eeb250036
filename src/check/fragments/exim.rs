//! Exim's configuration and the table of routes.

use super::{Fragment, FragmentError, rewritten, table};
use crate::accounts::Accounts;
use crate::check::exim::Exim;
use crate::config::{Config, CustomerHandoff, Provider, ProviderHandoff, Serve};
use crate::handoff::exec::is_exim;
use crate::smtp::next_hop::NextHop;

const PROVIDER: &str = include_str!("../../../contrib/exim/provider.conf");
const PROVIDER_TABLE: &str = include_str!("../../../contrib/exim/provider-turnabout");
const CUSTOMER: &str = include_str!("../../../contrib/exim/customer.conf");

/// The transport's port in the shipped file.
const PORT: &str = "  port = 24";

/// Everything that Exim needs.
pub(super) async fn all(config: &Config) -> Result<Vec<Fragment>, FragmentError> {
    let mut all = Vec::new();
    let serve = config.serve.as_ref();
    if let Some(serve) = serve.filter(|serve| serve.handoff == ProviderHandoff::EximContinue) {
        all.extend(provider(serve).await?);
    }
    let customers: Vec<&Provider> = config.providers.iter().filter(|one| by_exim(one)).collect();
    if !customers.is_empty() {
        all.push(customer(&customers));
    }
    if all.is_empty() {
        return Err(FragmentError::NoHandoff("Exim"));
    }
    Ok(all)
}

fn by_exim(provider: &Provider) -> bool {
    match &provider.handoff {
        CustomerHandoff::Exec { command, .. } => command.first().is_some_and(|program| {
            is_exim(&std::fs::canonicalize(program).unwrap_or_else(|_| program.into()))
        }),
        _ => false,
    }
}

async fn provider(serve: &Serve) -> Result<[Fragment; 2], FragmentError> {
    let accounts = crate::check::accounts(serve)?;
    let exim = Exim::new(&serve.exim.command, Vec::new());
    let held = exim.options(&["hold_domains"]).await.unwrap_or_default();
    let held = held.get("hold_domains").map_or("", String::as_str);
    let text = rewritten(&named(&serve.exim.transport, Some(&accounts)), |line| {
        if line == "hold_domains = +odmr_domains" && !held.is_empty() {
            let own = held.contains("+odmr_domains");
            return Some(format!(
                "hold_domains = {}{held}",
                if own { "" } else { "+odmr_domains : " }
            ));
        }
        None
    });
    let lines = accounts
        .routes()
        .map(|(_, domain, next_hop)| table_line(domain.as_str(), next_hop));
    Ok([
        Fragment {
            name: "exim-provider.conf",
            text,
        },
        Fragment {
            name: "exim-turnabout",
            text: table(PROVIDER_TABLE, lines),
        },
    ])
}

/// The shipped file with this name and port of the transport.
fn named(name: &str, accounts: Option<&Accounts>) -> String {
    let port = accounts.and_then(|accounts| Some(accounts.routes().next()?.2.port()));
    let mut in_transports = false;
    rewritten(PROVIDER, |line| {
        if line.starts_with("# --- begin ") {
            in_transports = line.starts_with("# --- begin transports");
        }
        match line {
            "odmr:" if in_transports => Some(format!("{name}:")),
            "  transport = odmr" => Some(format!("  transport = {name}")),
            PORT => port.map(|port| format!("  port = {port}")),
            _ => None,
        }
    })
}

/// The transport's lines alone.
pub(in crate::check) fn transport(name: &str, accounts: Option<&Accounts>) -> String {
    let text = named(name, accounts);
    let (_, rest) = text
        .split_once("# --- begin transports\n")
        .unwrap_or_default();
    let (transport, _) = rest.split_once("\n\n").unwrap_or((rest, ""));
    transport.to_owned()
}

fn customer(providers: &[&Provider]) -> Fragment {
    let lists = || {
        providers
            .iter()
            .filter_map(|provider| provider.domains.as_ref())
    };
    let domains: Vec<String> = lists()
        .flat_map(|list| list.iter().map(ToString::to_string))
        .collect();
    let mut text = rewritten(CUSTOMER, |line| {
        line.starts_with("domainlist local_domains = ").then(|| {
            let all: String = domains
                .iter()
                .map(|domain| format!(" : {domain}"))
                .collect();
            format!("domainlist local_domains = @ : localhost{all}")
        })
    });
    for provider in providers
        .iter()
        .filter(|provider| provider.domains.is_none())
    {
        text.push_str(&format!(
            "# providers.{}.domains lists none: add those that the provider has for you to local_domains.\n",
            provider.name
        ));
    }
    Fragment {
        name: "exim-customer.conf",
        text,
    }
}

/// A line of the table of routes.
pub(in crate::check) fn table_line(domain: &str, next_hop: &NextHop) -> String {
    format!("{domain}: {}", next_hop.ip())
}
