//! `turnabout serve`: be the provider.

use std::path::Path;

use super::{Exit, failed};
use crate::config::{self, ConfigError, Serve};

/// The arguments of `turnabout serve`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Check the configuration and the accounts file, and do nothing else.
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
            tracing::info!(
                config = %path.display(),
                accounts = %settings.accounts.display(),
                "configuration is fine"
            );
            return Exit::Done;
        }
        start(settings)
    }
}

/// The settings of the service.
fn settings(path: &Path) -> Result<Serve, ConfigError> {
    config::load(path)?.service(path)
}

/// Where the service begins.
fn start(_settings: Serve) -> Exit {
    failed(&"cannot serve: this build has no service", Exit::Internal)
}
