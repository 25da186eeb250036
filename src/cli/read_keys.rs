//! `turnabout read-keys`: the child of `serve` that stays root. Not for people.

use std::path::PathBuf;

use super::{Exit, failed};
use crate::serve::keys;

/// The arguments of `turnabout read-keys`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The files that may be read.
    #[arg(last = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

impl Args {
    /// Answers until the parent has gone.
    pub(super) fn run(self) -> Exit {
        match keys::answer(&self.files) {
            Ok(()) => Exit::Done,
            Err(error) => failed(&error, Exit::Usage),
        }
    }
}
