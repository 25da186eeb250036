//! `turnabout serve`: be the provider.

use std::path::Path;

use super::{Exit, failed};
use crate::accounts::{Accounts, StandInKey};
use crate::config::{self, ConfigError, Serve};
use crate::serve::{self, ServeError};
use crate::service::{self, Connection, Listener, Started};

/// The arguments of `turnabout serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check the configuration, the accounts file and the certificates, and do nothing else.
    #[arg(long)]
    check: bool,
}

impl Args {
    /// Serves until SIGTERM, or the one connection that it was started for; or checks.
    pub(super) fn run(self, path: &Path) -> Exit {
        if self.check {
            return match settings(path) {
                Ok(settings) => check(path, &settings),
                Err(error) => failed(&error, Exit::Config),
            };
        }
        match service::started_with() {
            Ok(Started::ByHand) => standing(path, Vec::new()),
            Ok(Started::Listeners(listeners)) => standing(path, listeners),
            Ok(Started::Connection(connection)) => one(path, connection),
            Err(error) => failed(&error, Exit::Config),
        }
    }
}

fn standing(path: &Path, listeners: Vec<Listener>) -> Exit {
    let served = options(path).map(|options| serve::run(options, listeners));
    ended(served)
}

fn one(path: &Path, connection: Connection) -> Exit {
    match options(path) {
        Ok(options) => ended(Ok(serve::run_one(options, connection))),
        Err(error) => {
            // What the operator reads first; the peer may take its time to go.
            let exit = failed(&error, Exit::Config);
            serve::turn_away(&connection);
            exit
        }
    }
}

fn options(path: &Path) -> Result<serve::Options, ConfigError> {
    Ok(serve::Options {
        config_file: path.to_owned(),
        serve: settings(path)?,
    })
}

fn ended(served: Result<Result<(), ServeError>, ConfigError>) -> Exit {
    match served {
        Ok(Ok(())) => Exit::Done,
        Ok(Err(error)) => failed(&error, exit(&error)),
        Err(error) => failed(&error, Exit::Config),
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
        | ServeError::NoCertificate(_)
        | ServeError::Certificates(_)
        | ServeError::Handoff(_) => Exit::Config,
        ServeError::Start(_) => Exit::Internal,
    }
}
