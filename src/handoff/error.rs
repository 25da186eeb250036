//! What the operator is told when a hand-off cannot be made.

use std::path::PathBuf;

use thiserror::Error;

use crate::queue::QueueError;

/// Why a hand-off cannot be made. Each is a sentence for the operator; the peer hears 451.
#[derive(Debug, Error)]
pub enum HandoffError {
    /// The MTA's version is not one whose interface is known.
    #[error(
        "cannot use {mta} {version}: this interface is known to work with {known} only (another hand-off may do)"
    )]
    UnknownVersion {
        /// The MTA's name.
        mta: &'static str,
        /// What it says its version is.
        version: String,
        /// What is known.
        known: &'static str,
    },
    /// The MTA's configuration does not allow the hand-off.
    #[error("cannot hand over to {mta}: {cause}")]
    Configuration {
        /// The MTA's name.
        mta: &'static str,
        /// What is wrong and what to do, in words.
        cause: String,
    },
    /// The MTA's socket cannot be reached.
    #[error(
        "cannot connect to {path}: {cause} (is the MTA running, and may this user open its sockets?)"
    )]
    Connect {
        /// The socket's path.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// The MTA's answer is not of the known interface.
    #[error("cannot hand over to {mta}: {cause}")]
    Protocol {
        /// The MTA's name.
        mta: &'static str,
        /// What it answered, in words.
        cause: String,
    },
    /// Anything else, as a whole sentence.
    #[error("{0}")]
    Other(String),
    /// The queue could not be asked.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl HandoffError {
    /// An error that is only its sentence.
    #[must_use]
    pub fn new(sentence: impl Into<String>) -> Self {
        Self::Other(sentence.into())
    }
}
