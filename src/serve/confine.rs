//! What this process may still open once it has started: enough to serve, and nothing else of the machine.
//!
//! Landlock is the kernel's way for a process to give up access for good, whatever its user may do. The process reads
//! what strangers send; should one of them ever take it over, it finds the system's programs and configuration, our own
//! files, and no place to write but those named here.
//!
//! The rules are for directories, since files are replaced: a renewed certificate or an edited accounts file is another
//! file by the same name. What the process starts is confined with it (that cannot be otherwise), and gains no rights by
//! set-user-ID bits. Postfix's programs need neither; Exim needs both, so beside Exim there is no such confinement. The
//! child that reads keys as root is started before, and is not confined.

use crate::config::{self, ProviderHandoff};
use landlock::{
    ABI, Access, AccessFs, LandlockStatus, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
    RulesetStatus, path_beneath_rules,
};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The newest rights that are known here; an older kernel takes what it knows of them.
const RIGHTS: ABI = ABI::V5;

/// Programs, their libraries and the system's configuration: users, names, time zones, Postfix's own.
const SYSTEM: [&str; 7] = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc"];

/// Files of the system's configuration that may be links to elsewhere.
const LINKED: [&str; 3] = ["/etc/resolv.conf", "/etc/nsswitch.conf", "/etc/ld.so.cache"];

/// What libraries read: descriptors and sockets, processors, random octets.
const KERNEL: [&str; 4] = [
    "/proc",
    "/sys/devices/system/cpu",
    "/dev/urandom",
    "/dev/random",
];

/// Confines this thread and all that it starts, and says so in one line. To be called before there are other threads,
/// and when all that only the start needs has been opened.
///
/// `config_file` is there if SIGHUP reads it again. It is one defence of several: without it, for whatever reason, the
/// service goes on.
pub(super) fn confine(serve: &config::Serve, config_file: Option<&Path>) {
    if !serve.landlock {
        return;
    }
    if serve.handoff == ProviderHandoff::EximContinue {
        tracing::debug!("not confined by Landlock: Exim could not become root");
        return;
    }
    let own = own_directories(serve, config_file);
    match rules(serve, &own) {
        Ok((RulesetStatus::NotEnforced, _)) if config_file.is_none() => {}
        Ok((RulesetStatus::NotEnforced, _)) => tracing::info!(
            "not confined by Landlock: this kernel has none, or it is switched off (see CONFINEMENT in turnabout-serve(8))"
        ),
        // A process for one connection need not say so each time.
        Ok((_, abi)) if config_file.is_none() => tracing::debug!(abi, "confined by Landlock"),
        Ok((_, abi)) => tracing::info!(
            readable = list(&own),
            abi,
            "confined by Landlock to the system's programs and configuration, and to its own files"
        ),
        Err(error) => tracing::warn!(
            %error,
            "cannot confine the process with Landlock (it serves without; serve.landlock = false says so)"
        ),
    }
}

/// The status, and the kernel's version of the rights.
fn rules(
    serve: &config::Serve,
    own: &BTreeSet<PathBuf>,
) -> Result<(RulesetStatus, i32), RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(RIGHTS))?
        .create()?
        .add_rules(path_beneath_rules(SYSTEM, read | AccessFs::Execute))?
        .add_rules(path_beneath_rules(
            programs(serve),
            read | AccessFs::Execute,
        ))?
        .add_rules(path_beneath_rules(KERNEL, read))?
        .add_rules(path_beneath_rules(own, read))?
        .add_rules(path_beneath_rules(
            [&serve.runtime_directory],
            AccessFs::from_all(RIGHTS) & !AccessFs::Execute,
        ))?
        .add_rules(path_beneath_rules(
            ["/dev/null"],
            AccessFs::ReadFile | AccessFs::WriteFile,
        ))?
        .restrict_self()?;
    let abi = match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as i32,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    };
    Ok((status.ruleset, abi))
}

/// Where Postfix's programs are, if not with the system's: with what belongs to them beside.
fn programs(serve: &config::Serve) -> BTreeSet<PathBuf> {
    let commands = &serve.postfix.command_directory;
    let around = commands.parent().filter(|around| around.parent().is_some());
    [Some(commands.as_path()), around]
        .into_iter()
        .flatten()
        .map(Path::to_path_buf)
        .collect()
}

/// The directories of what is read again at SIGHUP and when certificates change, and of what libraries read. A link
/// counts with the directory that it stands in and with the one that it leads to.
fn own_directories(serve: &config::Serve, config_file: Option<&Path>) -> BTreeSet<PathBuf> {
    let mut files: Vec<&Path> = vec![&serve.accounts];
    files.extend(config_file);
    files.extend(LINKED.map(Path::new));
    for pair in &serve.certificates {
        files.extend([pair.certificate.as_path(), pair.key.as_path()]);
    }
    files.extend(serve.client_ca.as_deref());
    let directory = |file: &Path| file.parent().map(Path::to_path_buf);
    let led_to = files
        .iter()
        .filter_map(|file| directory(&fs::canonicalize(file).ok()?));
    let mut own: BTreeSet<PathBuf> = led_to.collect();
    own.extend(files.iter().filter_map(|file| directory(file)));
    own.extend(serve.postfix.config_directory.clone());
    own.retain(|directory| !directory.starts_with("/etc"));
    own
}

fn list(directories: &BTreeSet<PathBuf>) -> String {
    let names: Vec<String> = directories
        .iter()
        .map(|directory| directory.display().to_string())
        .collect();
    names.join(",")
}
