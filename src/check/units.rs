//! systemd's units that start turnabout: what is set in them, and whom they start it as.

use std::fs;
use std::path::{Path, PathBuf};

use super::access::Account;
use super::machine::Machine;

/// Where units are, the strongest first.
const PLACES: [&str; 4] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// A service that starts turnabout, with what is dropped into it.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) path: PathBuf,
    pub(super) name: String,
    settings: Vec<(String, String)>,
    /// Something of this name is started by itself.
    pub(super) enabled: bool,
}

impl Unit {
    /// The last word on a setting.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        let mut settings = self.settings.iter().rev();
        let found = settings.find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str())
    }

    /// Is it for this command of turnabout?
    pub(super) fn starts(&self, command: &str) -> bool {
        let line = self.value("ExecStart").unwrap_or_default();
        let mut words = line.split_whitespace();
        words
            .next()
            .is_some_and(|program| program.ends_with("/turnabout"))
            && words.any(|word| word == command)
    }

    /// A setting that is given and not switched off.
    pub(super) fn is_on(&self, key: &str) -> bool {
        let value = self.value(key).unwrap_or_default();
        !["", "no", "false", "off", "0"].contains(&value.to_ascii_lowercase().as_str())
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
pub(super) fn units(machine: &Machine) -> Vec<Unit> {
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
