//! Files: who may read what holds a secret, and who must.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::access::{Account, Obstacle, changeable_by_group, changeable_by_others};
use super::finding::Findings;
use super::machine::{self, Machine};
use super::units::{self, Fetcher};
use crate::accounts::Accounts;
use crate::config::{Provider, SecretSource, Serve, in_words};
use crate::tls::KeyPair;

/// The configuration file itself.
pub(super) fn configuration(path: &Path, findings: &mut Findings) {
    if let Some(open) = changeable_by_others(path) {
        findings
            .error(
                path.display().to_string(),
                format!(
                    "any user of this machine can change {}, and turnabout does as root what this file says",
                    open.display()
                ),
            )
            .fix(format!("chmod o-w {}", open.display()));
    } else if let Some((open, group)) = changeable_by_group(path) {
        findings
            .warning(
                path.display().to_string(),
                format!(
                    "the group {group} can change {}, and turnabout does as root what this file says",
                    open.display()
                ),
            )
            .fix(format!("chmod g-w {}", open.display()));
    }
}

/// The files of `[serve]`: the configuration again, the accounts, the keys. Gives the accounts if they are in order.
pub(super) fn service(
    path: &Path,
    serve: &Serve,
    user: Option<&Account>,
    findings: &mut Findings,
) -> Option<Accounts> {
    if let Some(user) = user {
        match user.can_read(path) {
            Ok(()) => {}
            Err(Obstacle::Mode(at)) => findings
                .warning(
                    path.display().to_string(),
                    format!(
                        "user {} cannot read it because of {}, so SIGHUP will not reload",
                        user.name,
                        at.display()
                    ),
                )
                .fix(let_read(&at, user)),
            Err(Obstacle::Unseen(at, error)) => unseen(&at, &error, findings),
        }
    }
    for pair in &serve.certificates {
        private_key(pair, findings);
    }
    if let Some(user) = user {
        runtime(&serve.runtime_directory, user, findings);
    }
    accounts(serve, user, findings)
}

/// Where processes see each other, so that a customer is served by one of them at a time.
fn runtime(directory: &Path, user: &Account, findings: &mut Findings) {
    let place = directory.display().to_string();
    let fix = format!("install -d -o {} -m 750 {place}", user.name);
    if !directory.exists() {
        findings
            .note(
                place,
                "this directory is not there: systemd makes it, or turnabout itself where it is started as root; otherwise one process cannot see that another serves a customer",
            )
            .fix(fix);
    } else if let Err(Obstacle::Mode(at)) = user.can_write_in(directory) {
        findings
            .warning(
                place,
                format!(
                    "user {} cannot write there because of {}, so several processes would not see that they serve one customer",
                    user.name,
                    at.display()
                ),
            )
            .fix(fix);
    }
    let others = changeable_by_others(directory).map(|at| (at, "any user".to_owned(), "o-w"));
    let group = || {
        let (at, group) = changeable_by_group(directory)?;
        Some((at, format!("the group {group}"), "g-w"))
    };
    if let Some((at, who, mode)) = others.or_else(group) {
        let at = at.display();
        findings
            .warning(
                directory.display().to_string(),
                format!(
                    "{who} can change {at}, and take locks away by which a customer is served once at a time"
                ),
            )
            .fix(format!("chmod {mode} {at}"));
    }
}

fn accounts(serve: &Serve, user: Option<&Account>, findings: &mut Findings) -> Option<Accounts> {
    let file = &serve.accounts;
    let place = file.display().to_string();
    match fs::File::open(file) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !machine::is_root() => {
            unseen(file, &error, findings);
            return None;
        }
        _ => {}
    }
    let accounts = match super::accounts(serve) {
        Ok(accounts) => accounts,
        Err(error) => {
            let finding = findings.error(&place, error.to_string());
            match fs::metadata(file).map(|facts| facts.mode()) {
                Ok(mode) if mode & 0o027 != 0 => finding.fix(format!("chmod g-w,o= {place}")),
                Ok(_) => {}
                Err(_) => finding.fix(
                    "turnabout passwd USER --domains example.org --next-hop '[127.77.0.1]:24'",
                ),
            }
            return None;
        }
    };
    if accounts.is_empty() {
        findings
            .warning(&place, "there is no account in it, so nobody can log in")
            .fix("turnabout passwd USER --domains example.org --next-hop '[127.77.0.1]:24'");
    }
    if let Some(user) = user {
        match user.can_read(file) {
            Ok(()) => {}
            Err(Obstacle::Mode(at)) => findings
                .error(
                    place,
                    format!(
                        "user {}, which the service becomes, cannot read it because of {}, so turnabout serve cannot start",
                        user.name,
                        at.display()
                    ),
                )
                .fix(let_read(&at, user)),
            Err(Obstacle::Unseen(at, error)) => unseen(&at, &error, findings),
        }
    }
    Some(accounts)
}

/// The command that lets a user in, and nobody else.
fn let_read(at: &Path, user: &Account) -> String {
    let mode = if at.is_dir() { "g+x" } else { "g+r" };
    let at = at.display();
    format!("chgrp {} {at} && chmod {mode} {at}", user.group())
}

/// The secrets of `[providers.NAME]`.
pub(super) fn customer(provider: &Provider, machine: &Machine, findings: &mut Findings) {
    let secrets = match &provider.secret {
        Some(SecretSource::File(path)) => Some(path),
        _ => None,
    };
    let secrets = secrets.into_iter();
    let secrets = secrets.chain(provider.certificate.iter().map(|pair| &pair.key));
    let fetchers = units::fetchers(machine);
    for secret in secrets {
        for Fetcher { unit, user, .. } in &fetchers {
            if let Err(Obstacle::Mode(at)) = user.can_read(secret) {
                findings
                    .warning(
                        secret.display().to_string(),
                        format!(
                            "{} fetches as user {}, who cannot read this because of {}",
                            unit.display(),
                            user.name,
                            at.display()
                        ),
                    )
                    .fix(let_read(&at, user));
            }
        }
    }
    if let Some(pair) = &provider.certificate {
        private_key(pair, findings);
    }
    match &provider.secret {
        Some(source @ SecretSource::File(path)) => {
            let Err(error) = source.read() else { return };
            let denied = fs::File::open(path)
                .is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
            if denied && !machine::is_root() {
                findings.note(path.display().to_string(), error.to_string());
                return;
            }
            let open = fs::metadata(path).is_ok_and(|facts| facts.mode() & 0o007 != 0);
            let finding = findings.error(path.display().to_string(), error.to_string());
            if open {
                finding.fix(format!("chmod o-rwx {}", path.display()));
            }
        }
        Some(SecretSource::Command(words)) => {
            let program = words.first().map_or("", String::as_str);
            if let Err(errno) = nix::unistd::access(program, nix::unistd::AccessFlags::X_OK) {
                findings.error(
                    format!("providers.{}.password_command", provider.name),
                    format!("{program} cannot be run: {}", errno.desc()),
                );
            }
        }
        Some(SecretSource::StandardInput) | None => {}
    }
}

/// A private key is the owner's and the group's at most.
fn private_key(pair: &KeyPair, findings: &mut Findings) {
    let file = &pair.key;
    let Ok(facts) = fs::metadata(file) else {
        // That it is missing is said where its content is looked at.
        return;
    };
    if facts.mode() & 0o007 == 0 {
        return;
    }
    // The mode of the file does not matter where others cannot come near it, as with Let's Encrypt.
    let reachable = Account::find("nobody").is_none_or(|nobody| nobody.can_read(file).is_ok());
    if reachable || facts.mode() & 0o003 != 0 {
        findings
            .error(
                file.display().to_string(),
                "any user of this machine can read this private key (make a new one if somebody may have)",
            )
            .fix(format!("chmod o= {}", file.display()));
    }
}

pub(super) fn unseen(path: &Path, error: &io::Error, findings: &mut Findings) {
    findings.note(
        path.display().to_string(),
        format!(
            "it could not be looked at as user {}: {}",
            machine::who(),
            in_words(error)
        ),
    );
}
