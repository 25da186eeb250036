//! The service's end of its control socket.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream as StdStream;
use std::path::{Path, PathBuf};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Gid;
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::time::{sleep, timeout};

use super::peer::may_ask;
use super::{ControlError, REQUEST, Refusal, Request, TIME};
use crate::service::listen;

/// For the owner and the group.
const MODE: u32 = 0o660;

/// A control socket; its file goes with it.
#[derive(Debug)]
pub struct Listener {
    listener: UnixListener,
    path: PathBuf,
    /// What tells our file from one that somebody has put in its place.
    file: (u64, u64),
    group: Gid,
}

/// Somebody who may ask, and has said nothing so far.
#[derive(Debug)]
pub struct Asker(UnixStream);

/// A request from somebody who may ask.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    stream: UnixStream,
}

impl Listener {
    /// Makes the socket; a file that a dead service has left is replaced. To be called inside a runtime, as the user
    /// that shall own it.
    ///
    /// # Errors
    /// The directory is not there or cannot be written, or another service answers. A service goes on without it.
    pub fn bind(path: &Path) -> Result<Self, ControlError> {
        let failed = |cause| ControlError::bind(path, cause);
        if StdStream::connect(path).is_ok() {
            return Err(ControlError::Taken(path.to_owned()));
        }
        // It gets its mode before its name: nobody else can connect in between. A dead service's file goes with that.
        let new = beside(path);
        fs::remove_file(&new).ok();
        let bound = listen::unix(&new, MODE).and_then(UnixListener::from_std);
        let listener = bound.map_err(failed)?;
        if let Err(error) = fs::rename(&new, path) {
            fs::remove_file(&new).ok();
            return Err(failed(error));
        }
        let facts = fs::symlink_metadata(path).map_err(failed)?;
        Ok(Self {
            listener,
            path: path.to_owned(),
            file: (facts.dev(), facts.ino()),
            group: Gid::from_raw(facts.gid()),
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The next who asks. Whoever may not is dealt with here.
    pub async fn accept(&self) -> Asker {
        loop {
            let stream = match self.listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the control socket");
                    sleep(TIME).await;
                    continue;
                }
            };
            if may_ask(&stream, self.group) {
                return Asker(stream);
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|facts| (facts.dev(), facts.ino()) == self.file);
        if ours {
            // A file that stays is replaced at the next start.
            fs::remove_file(&self.path).ok();
        }
    }
}

/// A name in the same directory, of this process alone.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", std::process::id()));
    name.into()
}

impl Asker {
    /// The request, which must have come in [`TIME`]. Whoever asks for nothing that is known is told so here.
    pub async fn request(self) -> Option<Asked> {
        let Self(mut stream) = self;
        let mut line = String::new();
        let read = async {
            let mut reader = BufReader::new((&mut stream).take(REQUEST));
            reader.read_line(&mut line).await
        };
        timeout(TIME, read).await.ok()?.ok()?;
        match serde_json::from_str(&line) {
            Ok(request) => Some(Asked { request, stream }),
            Err(error) => {
                let error = format!("this is no request: {error}");
                write(stream, &Refusal { error }).await;
                None
            }
        }
    }
}

impl Asked {
    /// Answers, and closes. Whoever does not read the answer goes without.
    pub async fn answer(self, answer: &impl Serialize) {
        write(self.stream, answer).await;
    }

    /// Has who asked closed the connection, so that nobody waits for an answer?
    #[must_use]
    pub fn has_gone(&self) -> bool {
        let mut look = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        poll(&mut look, PollTimeout::ZERO).is_ok_and(|count| count > 0)
    }

    /// Says why there is no answer.
    pub async fn refuse(self, error: impl Into<String>) {
        let error = error.into();
        write(self.stream, &Refusal { error }).await;
    }
}

async fn write(mut stream: UnixStream, answer: &impl Serialize) {
    let written = async {
        let mut octets = serde_json::to_vec(answer)?;
        octets.push(b'\n');
        stream.write_all(&octets).await?;
        stream.shutdown().await
    };
    match timeout(TIME, written).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an answer on the control socket was not taken"),
        Err(_) => tracing::debug!("an answer on the control socket was not taken in time"),
    }
}
