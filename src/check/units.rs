//! systemd's units: what they forbid is forbidden to the mail server as well that turnabout starts.

use std::fs;
use std::path::PathBuf;

use super::finding::Findings;
use super::machine::Machine;
use crate::config::{Config, CustomerHandoff, ProviderHandoff};

/// Where units are, the strongest first.
const PLACES: [&str; 3] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/lib/systemd/system",
];

/// Looks at units of ours only where the hand-off starts a program.
pub(super) fn check(config: &Config, machine: &Machine, findings: &mut Findings) {
    let exim = config
        .serve
        .as_ref()
        .is_some_and(|serve| serve.handoff == ProviderHandoff::EximContinue);
    let exec = config
        .providers
        .iter()
        .any(|provider| matches!(provider.handoff, CustomerHandoff::Exec { .. }));
    if !exim && !exec {
        return;
    }
    for file in units(machine) {
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let value = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("NoNewPrivileges="))
            .next_back();
        if value.is_some_and(|value| ["yes", "true", "on", "1"].contains(&value.trim())) {
            findings
                .error(
                    file.display().to_string(),
                    "NoNewPrivileges is inherited by the mail server that turnabout starts, whose set-user-ID programs do not work then",
                )
                .fix("NoNewPrivileges=no");
        }
    }
}

/// Unit files of this name and what is dropped into them.
fn units(machine: &Machine) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for place in PLACES {
        for entry in fs::read_dir(machine.path(place))
            .into_iter()
            .flatten()
            .flatten()
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with("turnabout") {
                continue;
            }
            if name.ends_with(".service") {
                found.push(entry.path());
            } else if name.ends_with(".service.d") {
                let dropped = fs::read_dir(entry.path()).into_iter().flatten().flatten();
                found.extend(dropped.map(|entry| entry.path()));
            }
        }
    }
    found.sort();
    found
}
