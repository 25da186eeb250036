//! systemd's units: as whom they start turnabout, and what they forbid to it and so to the mail server that it starts.

use std::fs;
use std::path::{Path, PathBuf};

use super::access::Account;
use super::finding::{Findings, Severity};
use super::machine::Machine;
use crate::config::{Config, CustomerHandoff, ProviderHandoff};

/// Where units are, the strongest first.
const PLACES: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// A service that starts turnabout, with what is dropped into it.
#[derive(Debug)]
struct Unit {
    path: PathBuf,
    name: String,
    settings: Vec<(String, String)>,
    /// Something of this name is started by itself.
    enabled: bool,
}

impl Unit {
    /// The last word on a setting.
    fn value(&self, key: &str) -> Option<&str> {
        let mut settings = self.settings.iter().rev();
        let found = settings.find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Is it for this command of turnabout?
    fn starts(&self, command: &str) -> bool {
        let line = self.value("ExecStart").unwrap_or_default();
        let mut words = line.split_whitespace();
        words
            .next()
            .is_some_and(|program| program.ends_with("/turnabout"))
            && words.any(|word| word == command)
    }
}

/// A mail server with set-user-ID programs must be allowed to gain privileges.
pub(super) fn check(config: &Config, machine: &Machine, findings: &mut Findings) {
    let exim = config
        .serve
        .as_ref()
        .is_some_and(|serve| serve.handoff == ProviderHandoff::EximContinue);
    let exec = config
        .providers
        .iter()
        .any(|provider| matches!(provider.handoff, CustomerHandoff::Exec { .. }));
    for unit in units(machine) {
        let concerned = exim && unit.starts("serve") || exec && unit.starts("fetch");
        let forbids = unit
            .value("NoNewPrivileges")
            .is_some_and(|value| ["yes", "true", "on", "1"].contains(&value));
        if !concerned || !forbids {
            continue;
        }
        let severity = if unit.enabled {
            Severity::Error
        } else {
            Severity::Warning
        };
        findings
            .add(
                severity,
                unit.path.display().to_string(),
                format!(
                    "NoNewPrivileges is inherited by the mail server that turnabout starts, whose set-user-ID programs do not work then (systemctl edit {})",
                    unit.name
                ),
            )
            .fix("[Service]\nNoNewPrivileges=no");
    }
}

/// A user that a unit runs `turnabout fetch` as.
#[derive(Debug)]
pub(super) struct Fetcher {
    pub(super) unit: PathBuf,
    pub(super) user: Account,
    /// The unit is started by itself.
    pub(super) enabled: bool,
}

/// The users that units run `turnabout fetch` as.
pub(super) fn fetchers(machine: &Machine) -> Vec<Fetcher> {
    let mut found = Vec::new();
    for unit in units(machine) {
        if !unit.starts("fetch") {
            continue;
        }
        let user = unit.value("User").filter(|user| !user.is_empty());
        let user = user.unwrap_or("root");
        let account = Account::find(user).map(|account| match unit.value("Group") {
            Some(group) => account.with_group(group),
            None => account,
        });
        found.extend(account.map(|user| Fetcher {
            unit: unit.path.clone(),
            user,
            enabled: unit.enabled,
        }));
    }
    found
}

/// All services whose names begin with ours.
fn units(machine: &Machine) -> Vec<Unit> {
    let mut found: Vec<Unit> = Vec::new();
    let started = started(machine);
    for place in PLACES {
        for path in entries(&machine.path(place)) {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let ours = name.starts_with("turnabout") && name.ends_with(".service");
            if !ours || found.iter().any(|unit| unit.name == name) {
                continue;
            }
            let mut settings = settings(&path);
            for place in PLACES.iter().rev() {
                for dropped in entries(&machine.path(&format!("{place}/{name}.d"))) {
                    settings.extend(self::settings(&dropped));
                }
            }
            let enabled = started.iter().any(|one| stem(one) == stem(&name));
            found.push(Unit {
                path,
                name,
                settings,
                enabled,
            });
        }
    }
    found
}

/// The units that are started by themselves: services, timers, sockets.
fn started(machine: &Machine) -> Vec<String> {
    let wants = entries(&machine.path("/etc/systemd/system"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "wants"));
    wants
        .flat_map(|path| entries(&path))
        .filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .collect()
}

/// The name up to the instance or the type.
fn stem(name: &str) -> &str {
    name.split(['@', '.']).next().unwrap_or(name)
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut all: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    all.sort();
    all
}

fn settings(path: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.trim().split_once('='));
    pairs
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}
