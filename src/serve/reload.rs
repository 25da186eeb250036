//! SIGHUP: all files are read again, as a whole or not at all. Certificates also when they have changed.

use super::certificates::Certificates;
use super::state::{Files, State};
use crate::accounts::Accounts;
use crate::config;
use std::path::Path;
use std::sync::Arc;

/// Reads all files; if one is wrong, or asks for what only a restart can do, everything
/// stays as it was and the log says why.
pub(super) fn reload(config_file: &Path, state: &State, certificates: &mut Certificates) {
    match read(config_file, state, certificates) {
        Ok(files) => {
            let accounts = files.accounts.len();
            state.replace(files);
            tracing::info!(accounts, "reloaded, valid for new sessions");
        }
        Err(why) => tracing::error!("cannot reload: {why} (everything stays as it was)"),
    }
}

/// Takes certificates into use that have been renewed; otherwise does nothing.
pub(super) fn renew(state: &State, certificates: &mut Certificates) {
    let files = state.files();
    match certificates.renewed(&files.serve, &files.accounts) {
        None => {
            if let Some(tls) = &files.tls {
                certificates.warn_before_the_end(tls);
            }
        }
        Some(Ok(tls)) => {
            certificates.warn_before_the_end(&tls);
            state.replace(Files {
                serve: files.serve.clone(),
                accounts: Arc::clone(&files.accounts),
                tls: Some(tls),
            });
            tracing::info!("certificates were renewed, valid for new sessions");
        }
        Some(Err(error)) => {
            tracing::error!("{error} (the certificates that were read before stay in use)");
        }
    }
}

fn read(
    config_file: &Path,
    state: &State,
    certificates: &mut Certificates,
) -> Result<Files, String> {
    let serve = config::load(config_file)
        .and_then(|config| config.service(config_file))
        .map_err(|error| error.to_string())?;
    if let Some(key) = needs_restart(&state.files().serve, &serve) {
        return Err(format!("serve.{key} changed (restart to change it)"));
    }
    let accounts =
        Accounts::load(&serve.accounts, &state.key).map_err(|error| error.to_string())?;
    super::fits(&serve, &accounts).map_err(|error| error.to_string())?;
    let tls = certificates
        .load(&serve, &accounts)
        .map_err(|error| error.to_string())?;
    Ok(Files {
        serve,
        accounts: Arc::new(accounts),
        tls,
    })
}

/// Sockets, user and hand-off are set up once.
fn needs_restart(old: &config::Serve, new: &config::Serve) -> Option<&'static str> {
    let changed = [
        ("listen", old.listen != new.listen),
        ("listen_tls", old.listen_tls != new.listen_tls),
        ("user", old.user != new.user),
        ("handoff", old.handoff != new.handoff),
        ("postfix", old.postfix != new.postfix),
        ("exim", old.exim != new.exim),
        ("control, metrics or metrics_file", old.desk != new.desk),
        // Root that could read the certificates is gone, and the kernel was asked at the start.
        ("tls", old.has_tls() != new.has_tls()),
        // What was given up is gone.
        ("landlock", old.landlock != new.landlock),
        ("handoff_tls", old.handoff_tls != new.handoff_tls),
        (
            "limits.relay_idle_time",
            old.limits.relay_idle_time != new.limits.relay_idle_time,
        ),
    ];
    changed
        .into_iter()
        .find(|(_, changed)| *changed)
        .map(|(key, _)| key)
}
