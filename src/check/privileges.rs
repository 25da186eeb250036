//! A mail server that turnabout starts often has set-user-ID programs; a unit of systemd must leave them their effect.

use std::path::Path;

use super::finding::{Findings, Severity};
use super::machine::{Machine, ask};
use super::units::{self, Unit};
use crate::config::{Config, CustomerHandoff, ProviderHandoff};

/// What systemd does by filters of system calls, and how it is switched off. The kernel takes filters from who is not root
/// only if he gives up all further privileges, so systemd before [`FREE`] implies `NoNewPrivileges=yes` for each of these
/// (systemd.exec(5)).
const FILTERS: [(&str, &str); 15] = [
    ("SystemCallFilter", ""),
    ("SystemCallArchitectures", ""),
    ("SystemCallLog", ""),
    ("RestrictAddressFamilies", ""),
    ("RestrictNamespaces", "no"),
    ("RestrictRealtime", "no"),
    ("RestrictSUIDSGID", "no"),
    ("LockPersonality", "no"),
    ("MemoryDenyWriteExecute", "no"),
    ("PrivateDevices", "no"),
    ("ProtectKernelTunables", "no"),
    ("ProtectKernelModules", "no"),
    ("ProtectKernelLogs", "no"),
    ("ProtectClock", "no"),
    ("ProtectHostname", "no"),
];

/// The first systemd that sets its filters before it becomes another user.
const FREE: u32 = 255;

/// A mail server with set-user-ID programs must be allowed to gain privileges.
pub(super) async fn check(config: &Config, machine: &Machine, findings: &mut Findings) {
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
    let implied = systemd().await.is_none_or(|version| version < FREE);
    for unit in units::units(machine) {
        if !(exim && unit.starts("serve") || exec && unit.starts("fetch")) {
            continue;
        }
        let mut filters = if implied { filters(&unit) } else { Vec::new() };
        let forbids = unit.is_on("NoNewPrivileges");
        if !forbids && filters.is_empty() {
            continue;
        }
        let severity = if unit.enabled {
            Severity::Error
        } else {
            Severity::Warning
        };
        let what = if forbids {
            "NoNewPrivileges is inherited".to_owned()
        } else {
            format!(
                "User= with {} implies NoNewPrivileges for systemd before {FREE}, which is inherited",
                names(&filters)
            )
        };
        let mut fix = vec!["[Service]".to_owned(), "NoNewPrivileges=no".to_owned()];
        fix.append(&mut filters);
        findings
            .add(
                severity,
                unit.path.display().to_string(),
                format!(
                    "{what} by the mail server that turnabout starts, whose set-user-ID programs do not work then (systemctl edit {})",
                    unit.name
                ),
            )
            .fix(fix.join("\n"));
    }
}

/// The settings of these lines.
fn names(lines: &[String]) -> String {
    let names: Vec<&str> = lines
        .iter()
        .filter_map(|line| line.split_inclusive('=').next())
        .collect();
    names.join(", ")
}

/// The version of systemd, if there is one.
async fn systemd() -> Option<u32> {
    let program = Path::new("/usr/bin/systemctl");
    let arguments = vec!["--version".into()];
    let answer = ask(
        program,
        arguments,
        Vec::new(),
        Vec::new(),
        "ask systemd for its version",
    )
    .await;
    let answer = answer.ok()?;
    // systemd 252 (252.39-1~deb12u2)
    answer.output.split_whitespace().nth(1)?.parse().ok()
}

/// systemd itself makes the process another user than root.
fn is_made_another_user(unit: &Unit) -> bool {
    let command = unit.value("ExecStart").unwrap_or_default();
    let user = unit.value("User").unwrap_or_default();
    !command.starts_with(['!', '+']) && !["", "root", "0"].contains(&user)
}

/// What of it implies that nothing it starts may gain privileges, as lines that switch it off.
fn filters(unit: &Unit) -> Vec<String> {
    if !is_made_another_user(unit) {
        return Vec::new();
    }
    let on = FILTERS.iter().filter(|(key, _)| unit.is_on(key));
    on.map(|(key, off)| format!("{key}={off}")).collect()
}
