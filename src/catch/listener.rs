//! The socket in the shared directory: made here, and taken away at the end.

use super::allow::Allowed;
use crate::service::listen;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use tokio::net::{UnixListener, UnixStream};

/// Why the socket is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another program has it.
    #[error("cannot listen on {0}: somebody does already (is turnabout catch running?)")]
    Busy(PathBuf),
    /// Something else is there.
    #[error("cannot listen on {0}: it is no socket (choose another name)")]
    NoSocket(PathBuf),
    /// A service manager has opened another one.
    #[error(
        "cannot listen on {path}: the service manager's socket is {is} (name it so, or correct ListenStream=)"
    )]
    Elsewhere {
        /// The socket that was named.
        path: PathBuf,
        /// The one that is open.
        is: String,
    },
    /// The system refuses.
    #[error(
        "cannot listen on {path}: {cause} (is the directory there, and may this user write in it?)"
    )]
    Refused {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// A socket that listens, and the file that leads to it.
#[derive(Debug)]
pub(super) struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// Device and number of the file, if it is ours to remove.
    file: Option<(u64, u64)>,
}

impl Listener {
    /// Listens; what a process that was killed has left there is removed. To be called before there are threads, and inside the runtime.
    pub(super) fn bind(path: &Path, allowed: &Allowed) -> Result<Self, ListenError> {
        let refused = |cause| ListenError::Refused {
            path: path.to_owned(),
            cause,
        };
        remove_stale(path)?;
        let mode = if allowed.others() { 0o666 } else { 0o600 };
        let bound = listen::unix(path, mode).map_err(refused)?;
        let listener = UnixListener::from_std(bound).map_err(refused)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: identity(path),
        })
    }

    /// Listens on what a service manager has opened there, with whatever mode it has; the file stays the manager's.
    pub(super) fn given(listener: StdListener, path: &Path) -> Result<Self, ListenError> {
        let refused = |cause| ListenError::Refused {
            path: path.to_owned(),
            cause,
        };
        let address = listener.local_addr().map_err(refused)?;
        if address.as_pathname() != Some(path) {
            return Err(ListenError::Elsewhere {
                path: path.to_owned(),
                is: address.as_pathname().map_or_else(
                    || "without a path".to_owned(),
                    |is| is.display().to_string(),
                ),
            });
        }
        listener.set_nonblocking(true).map_err(refused)?;
        Ok(Self {
            listener: UnixListener::from_std(listener).map_err(refused)?,
            path: path.to_owned(),
            file: None,
        })
    }
}

impl Listener {
    /// The next caller.
    pub(super) async fn accept(&self) -> io::Result<UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }
}

/// Takes the file away, unless somebody has put another one there.
impl Drop for Listener {
    fn drop(&mut self) {
        if self.file.is_some()
            && identity(&self.path) == self.file
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!(socket = %self.path.display(), %error, "the socket is left");
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let facts = fs::symlink_metadata(path).ok()?;
    Some((facts.dev(), facts.ino()))
}

fn remove_stale(path: &Path) -> Result<(), ListenError> {
    let Ok(facts) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !facts.file_type().is_socket() {
        return Err(ListenError::NoSocket(path.to_owned()));
    }
    match StdStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => fs::remove_file(path)
            .map_err(|cause| ListenError::Refused {
                path: path.to_owned(),
                cause,
            }),
        // Whether it answers or only cannot be asked: it is not ours to remove.
        Ok(_) | Err(_) => Err(ListenError::Busy(path.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowed, Listener};
    use nix::unistd::geteuid;
    use std::error::Error;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    #[tokio::test]
    async fn the_socket_is_made_with_the_mode_for_those_who_may_connect()
    -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let other = geteuid().as_raw().saturating_add(4711);
        for (uids, mode) in [(vec![], 0o600), (vec![other], 0o666)] {
            let path = directory.path().join("catch.sock");
            let _listener = Listener::bind(&path, &Allowed::new(&uids, &[])?)?;
            assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, mode);
        }
        Ok(())
    }
}
