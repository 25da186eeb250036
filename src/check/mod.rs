//! `turnabout check`: the configuration and the machine, read as a careful colleague would.
//!
//! Everything is only looked at: files, modes, what the mail server says of its own settings, who listens where. Each
//! finding is one sentence with the line that mends it. What can be seen only by root is said to be unseen.
//!
//! ```text
//! turnabout.toml --+-- [serve] ---------- files, users, tls, ports, kernel, privileges
//!                  |                      postfix::provider   or   exim::provider
//!                  +-- [providers.NAME] - files, hooks, tls, kernel
//!                                         postfix::customer   or   exim::customer   or   others
//! ```

mod access;
mod courier;
mod exim;
mod files;
mod finding;
pub mod fragments;
mod hooks;
mod kernel;
mod machine;
mod others;
mod ports;
mod postfix;
mod privileges;
mod tls;
mod units;
mod users;

use std::path::Path;

use serde::Serialize;

pub use finding::{Finding, Severity};
pub use machine::Machine;

use crate::accounts::{Accounts, StandInKey};
use crate::config::{self, Config, CustomerHandoff, Provider, ProviderHandoff, Serve};
use finding::Findings;

/// All that was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The gravest first.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings are of this severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        let of = |finding: &&Finding| finding.severity == severity;
        self.findings.iter().filter(of).count()
    }
}

/// Looks at everything that the configuration file is about.
pub async fn look(path: &Path, machine: &Machine) -> Report {
    let mut findings = Findings::default();
    match config::load(path) {
        Ok(config) => everything(path, &config, machine, &mut findings).await,
        Err(error) => {
            findings.error(path.display().to_string(), error.to_string());
        }
    }
    Report {
        findings: findings.sorted(),
    }
}

async fn everything(path: &Path, config: &Config, machine: &Machine, findings: &mut Findings) {
    if config.serve.is_none() && config.providers.is_empty() {
        findings
            .error(
                path.display().to_string(),
                "it has neither [serve] nor [providers.NAME], so there is nothing that turnabout would do",
            )
            .fix("[serve]");
    }
    if !machine::is_root() {
        findings
            .note(
                "this check",
                format!(
                    "as user {} it does not see what only root may read; that is said where it matters",
                    machine::who()
                ),
            )
            .fix("sudo turnabout check");
    }
    files::configuration(path, findings);
    if let Some(serve) = &config.serve {
        provider(path, serve, machine, findings).await;
    }
    for one in &config.providers {
        customer(one, config.serve.as_ref(), machine, findings).await;
    }
    if config.serve.is_some() || !config.providers.is_empty() {
        kernel::check(config, machine, findings);
        privileges::check(config, machine, findings).await;
    }
}

/// The accounts, where they can be read: logins need a secret key, this does not.
fn accounts(serve: &Serve) -> Result<Accounts, crate::accounts::AccountsError> {
    Accounts::load(&serve.accounts, &StandInKey::new([0; 32]))
}

async fn provider(path: &Path, serve: &Serve, machine: &Machine, findings: &mut Findings) {
    let owner = match serve.handoff {
        ProviderHandoff::PostfixCache => postfix::owner(serve).await,
        ProviderHandoff::EximContinue => exim::owner(serve).await,
    };
    let user = users::service(serve, owner.as_deref(), findings);
    let accounts = files::service(path, serve, user.as_ref(), findings);
    tls::provider(serve, findings);
    ports::listening(serve, machine, findings);
    match serve.handoff {
        ProviderHandoff::PostfixCache => {
            postfix::provider::check(serve, accounts.as_ref(), findings).await;
        }
        ProviderHandoff::EximContinue => {
            exim::provider::check(serve, accounts.as_ref(), findings).await;
        }
    }
    if let Some(accounts) = &accounts {
        ports::next_hops(accounts, machine, findings);
    }
}

async fn customer(
    provider: &Provider,
    serve: Option<&Serve>,
    machine: &Machine,
    findings: &mut Findings,
) {
    files::customer(provider, machine, findings);
    hooks::check(provider, machine, findings);
    tls::customer(provider, machine, findings);
    match &provider.handoff {
        CustomerHandoff::PostfixPass { socket } => {
            postfix::customer::check(provider, socket, serve, machine, findings).await;
        }
        CustomerHandoff::Exec { command, user, .. } => {
            others::exec(provider, command, user.as_deref(), machine, findings).await;
        }
        // What the mail server there would relay is for a check over there.
        CustomerHandoff::Catch { .. } => {
            let place = format!("providers.{}.socket", provider.name);
            others::ready(provider, &place, machine, findings).await;
        }
        // Does it heed the header? Without one the operator has said that he knows.
        CustomerHandoff::Relay { to, .. } => {
            let place = format!("providers.{}.relay_to", provider.name);
            others::anybodys(to, &place, machine, findings);
            others::ready(provider, &place, machine, findings).await;
        }
    }
}
