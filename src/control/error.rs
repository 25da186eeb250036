//! What the operator is told when a service cannot be asked, or cannot be made to answer.

use std::io;
use std::path::{Path, PathBuf};

/// Why there is no asking.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The socket cannot be made.
    #[error("cannot open the control socket {path}: {cause} ({advice})")]
    Bind {
        /// Where.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// Another service answers there.
    #[error(
        "cannot open the control socket {0}: another turnabout answers there (stop it, or give this one another socket with the key control)"
    )]
    Taken(PathBuf),
    /// Nobody answers.
    #[error("cannot ask {path}: {cause} ({advice})")]
    Ask {
        /// Where.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// What answers is not turnabout.
    #[error("cannot understand the answer of {0}: {1} (is it turnabout's control socket?)")]
    Answer(PathBuf, serde_json::Error),
    /// The service will not.
    #[error("cannot ask {0}: {1}")]
    Refused(PathBuf, String),
}

impl ControlError {
    pub(super) fn bind(path: &Path, cause: io::Error) -> Self {
        let advice = match cause.kind() {
            io::ErrorKind::NotFound => {
                "make its directory, owned by the user of the service, or set the key control"
            }
            io::ErrorKind::PermissionDenied => {
                "let the user of the service write into its directory, or set the key control"
            }
            _ => "set the key control to another path, or to \"none\"",
        };
        Self::Bind {
            path: path.to_owned(),
            cause,
            advice,
        }
    }

    pub(super) fn ask(path: &Path, cause: io::Error) -> Self {
        let advice = match cause.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "is the service running? Start it, or name its socket with --socket"
            }
            io::ErrorKind::PermissionDenied => {
                "ask as root, as the user of the service, or as a member of the socket's group"
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "it gives no answer in time",
            io::ErrorKind::UnexpectedEof => {
                "it closed without an answer: only root, the user of the service and the socket's group are answered"
            }
            _ => "is it turnabout's control socket?",
        };
        Self::Ask {
            path: path.to_owned(),
            cause,
            advice,
        }
    }
}
