//! `turnabout passwd`: make, change or remove an account.

use super::{Exit, failed};

/// The arguments of `turnabout passwd`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

impl Args {
    pub(super) fn run(self) -> Exit {
        failed(
            &"cannot change accounts: this build has none",
            Exit::Internal,
        )
    }
}
