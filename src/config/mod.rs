//! `turnabout.toml`: one table of keys, a strict loader, checked values.
//!
//! [`load`] reads the whole file or refuses it: an unknown key, a wrong type or a value that cannot
//! work is an error that names file, line and column, and says what to do. What comes out needs no
//! further checks. [`ProviderOptions`] makes the same [`Provider`] from options of the command line.

mod desk;
mod error;
mod handoff;
mod hooks;
mod hostname;
pub mod keys;
mod limits;
mod login;
mod mail_server;
mod mail_servers;
mod options;
mod provider;
mod quiet;
mod schedule;
mod secret;
mod section;
mod sendmail;
mod serve;
pub mod suggest;
mod tls;
mod tree;
mod values;

use std::path::Path;

pub use desk::Desk;
pub use error::{ConfigError, in_words};
pub use handoff::{CommandPeer, CustomerHandoff};
pub use hooks::Hooks;
pub use hostname::from_hosts;
pub use limits::Limits;
pub use mail_server::{MailServer, Proxy};
pub use mail_servers::{EximKeys, PostfixKeys};
pub use options::ProviderOptions;
pub use provider::{Provider, Timers};
pub use quiet::QuietHours;
pub use schedule::Schedule;
pub use secret::SecretSource;
pub use sendmail::is_postfix_sendmail_bs;
pub use serve::{ProviderHandoff, Serve};
pub use tls::{ProviderTls, ServeTls};

use keys::Table;
use provider::Common;
use section::Section;
use tree::{Origin, Value};

/// Where the file is unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/turnabout/turnabout.toml";

/// Where the accounts file is, unless the configuration says otherwise.
pub const DEFAULT_ACCOUNTS: &str = "/etc/turnabout/accounts.toml";

/// A whole `turnabout.toml`, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[serve]`, if the file has it.
    pub serve: Option<Serve>,
    /// Every `[providers.NAME]`, in the order of the file; names differ.
    pub providers: Vec<Provider>,
    /// What a process shows that fetches: `[fetch]`.
    pub fetch_desk: Desk,
}

/// The fully qualified name of this machine, where there is no configuration to say another; nothing if it has none.
#[must_use]
pub fn own_name() -> Option<String> {
    hostname::qualified().ok()
}

impl Config {
    /// The providers of these names, in this order; `path` only names the file in errors.
    ///
    /// # Errors
    /// A name that the file does not have.
    pub fn named_providers(
        self,
        path: &Path,
        names: &[String],
    ) -> Result<Vec<Provider>, ConfigError> {
        let find = |name: &String| {
            let known = || self.providers.iter().map(|provider| provider.name.as_str());
            let found = self
                .providers
                .iter()
                .find(|provider| provider.name == *name);
            found.cloned().ok_or_else(|| {
                let advice = match suggest::suggest(name, known()) {
                    Some(word) => format!("did you mean {word:?}?"),
                    None => "add a table [providers.NAME] for it".to_owned(),
                };
                let cause = format!("{} has no such provider", path.display());
                ConfigError::new("fetch from", format!("{name:?}"), cause, advice)
            })
        };
        names.iter().map(find).collect()
    }

    /// All providers, at least one; `path` only names the file in errors.
    ///
    /// # Errors
    /// The file has none.
    pub fn all_providers(self, path: &Path) -> Result<Vec<Provider>, ConfigError> {
        if self.providers.is_empty() {
            let cause = format!("{} has none", path.display());
            let advice = "add [providers.NAME], or give --host and the other options";
            return Err(ConfigError::new(
                "fetch",
                "from all providers",
                cause,
                advice,
            ));
        }
        Ok(self.providers)
    }

    /// The provider's settings; `path` only names the file in errors.
    ///
    /// # Errors
    /// The file has no `[serve]`.
    pub fn service(self, path: &Path) -> Result<Serve, ConfigError> {
        self.serve.ok_or_else(|| {
            let cause = format!("{} has no [serve]", path.display());
            let advice = "add a table [serve] with certificate and key, or with tls = \"none\"";
            ConfigError::new("serve", "mail", cause, advice)
        })
    }
}

/// Reads and checks a file.
///
/// # Errors
/// The first mistake in the file, or why it cannot be read.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let (origin, top) = tree::read(path)?;
    check(&origin, &top)
}

/// Checks the text of a file; `path` only names it in errors.
///
/// # Errors
/// The first mistake in the text.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigError> {
    let (origin, top) = tree::parse(path, text.to_owned())?;
    check(&origin, &top)
}

fn check(origin: &Origin, top: &tree::Table) -> Result<Config, ConfigError> {
    let empty = tree::Table::default();
    let mut serve = None;
    let mut fetch = (&empty, 0);
    let mut providers = (&empty, 0);
    for entry in &top.entries {
        let table = match (entry.name.as_str(), &entry.node.value) {
            ("serve" | "fetch" | "providers", Value::Table(table)) => table,
            ("serve" | "fetch" | "providers", other) => {
                return Err(section::not_a_table(origin, entry, &entry.name, other));
            }
            _ => {
                let known = ["serve", "fetch", "providers"];
                return Err(section::unknown(origin, entry, "", &known));
            }
        };
        match entry.name.as_str() {
            "serve" => {
                let section = Section::open(origin, Table::Serve, "serve", table, entry.at)?;
                serve = Some(Serve::read(&section)?);
            }
            "fetch" => fetch = (table, entry.at),
            _ => providers = (table, entry.at),
        }
    }
    let fetch = Section::open(origin, Table::Fetch, "fetch", fetch.0, fetch.1)?;
    let common = Common::read(&fetch)?;
    Ok(Config {
        serve,
        fetch_desk: Desk::of_fetch(&fetch)?,
        providers: read_providers(origin, providers.0, common)?,
    })
}

fn read_providers(
    origin: &Origin,
    table: &tree::Table,
    mut common: Common,
) -> Result<Vec<Provider>, ConfigError> {
    if table.entries.is_empty() {
        return Ok(Vec::new());
    }
    common.hostname = common.hostname.or_else(|| hostname::qualified().ok());
    let mut providers = Vec::with_capacity(table.entries.len());
    for entry in &table.entries {
        let title = format!("providers.{}", entry.name);
        let Value::Table(table) = &entry.node.value else {
            return Err(section::not_a_table(
                origin,
                entry,
                &title,
                &entry.node.value,
            ));
        };
        values::word(&entry.name).map_err(|fault| {
            ConfigError::new("use", origin.place(entry.at), fault.cause, fault.advice)
        })?;
        let section = Section::open(origin, Table::Provider, title, table, entry.at)?;
        providers.push(Provider::read(&entry.name, &section, common.clone())?);
    }
    Ok(providers)
}
