//! `turnabout serve`: be the provider.

use std::path::Path;

use super::{Exit, failed};
use crate::accounts::{Accounts, StandInKey};
use crate::config::{self, ConfigError, Serve};
use crate::serve::{self, ServeError};

/// The arguments of `turnabout serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check the configuration, the accounts file and the certificates, and do nothing else.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// Serves until SIGTERM, or checks.
    pub(super) fn run(self, path: &Path) -> Exit {
        let settings = match settings(path) {
            Ok(settings) => settings,
            Err(error) => return failed(&error, Exit::Config),
        };
        if self.check {
            return check(path, &settings);
        }
        let options = serve::Options {
            config_file: path.to_owned(),
            serve: settings,
        };
        match serve::run(options) {
            Ok(()) => Exit::Done,
            Err(error) => failed(&error, exit(&error)),
        }
    }
}

/// The settings of the service.
fn settings(path: &Path) -> Result<Serve, ConfigError> {
    config::load(path)?.service(path)
}

/// Says whether accounts and certificates can be read as well.
fn check(path: &Path, settings: &Serve) -> Exit {
    // Only logins need a secret key here.
    let accounts = Accounts::load(&settings.accounts, &StandInKey::new([0; 32]))
        .map_err(ServeError::from)
        .and_then(|accounts| Ok(serve::fits(settings, &accounts).map(|()| accounts)?))
        .and_then(|accounts| {
            serve::check_certificates(settings, &accounts)?;
            Ok(accounts)
        });
    match accounts {
        Ok(accounts) => {
            tracing::info!(
                config = %path.display(),
                accounts = %settings.accounts.display(),
                users = accounts.len(),
                "configuration is fine"
            );
            Exit::Done
        }
        Err(error) => failed(&error, Exit::Config),
    }
}

/// Whose fault a start that failed is.
fn exit(error: &ServeError) -> Exit {
    match error {
        ServeError::Listen(_) | ServeError::Metrics(..) => Exit::Unavailable,
        ServeError::Privileges(_) => Exit::Refused,
        ServeError::Accounts(_)
        | ServeError::Misfit(_)
        | ServeError::Certificates(_)
        | ServeError::Handoff(_) => Exit::Config,
        ServeError::Start(_) => Exit::Internal,
    }
}
