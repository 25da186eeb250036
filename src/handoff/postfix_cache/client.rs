//! Talking to scache(8), Postfix's connection cache: one question and its answer at a time.

use std::fs::read_link;
use std::io::{Error, ErrorKind, IoSlice, IoSliceMut};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::labels::Labels;
use crate::handoff::HandoffError;
use crate::handoff::attributes::{Attributes, Reader, encode};

/// How long one question may take: the cache answers from memory.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// A connection to the cache. While one is open the cache does not end for lack of work.
#[derive(Debug)]
pub(super) struct Client {
    stream: UnixStream,
    path: PathBuf,
}

impl Client {
    /// Connects, and reads the greeting where this Postfix sends one.
    ///
    /// # Errors
    /// Nobody listens there, or somebody who is not the connection cache.
    pub(super) async fn connect(path: &Path, greets: bool) -> Result<Self, HandoffError> {
        let stream = UnixStream::connect(path)
            .await
            .map_err(|cause| HandoffError::Connect {
                path: path.to_owned(),
                cause,
            })?;
        let mut client = Self {
            stream,
            path: path.to_owned(),
        };
        if greets {
            let greeting = client.bounded(Self::read).await?;
            if greeting.get("protocol") != Some("connection_cache_protocol") {
                return Err(client.broken("it does not greet as Postfix's connection cache"));
            }
        }
        Ok(client)
    }

    /// Lends the connection: its descriptor first, then each name it can be asked for by.
    ///
    /// # Errors
    /// The cache is gone or refuses. It may then have the connection or not: nobody else will use it before its time
    /// in the cache is over.
    pub(super) async fn save(
        &mut self,
        labels: &Labels,
        connection: BorrowedFd<'_>,
        ttl: u64,
    ) -> Result<(), HandoffError> {
        let ttl = ttl.to_string();
        let endpoint = encode(&[
            ("request", "save_endp"),
            ("ttl", &ttl),
            ("label", &labels.endpoint),
            ("property", &labels.endpoint_properties),
        ]);
        self.bounded(async |client| {
            client.write(&endpoint).await?;
            client.read().await?;
            client.send(connection).await?;
            client.status("save_endp").await
        })
        .await?;
        for (destination, properties) in labels
            .destinations
            .iter()
            .zip(&labels.destination_properties)
        {
            let destination = encode(&[
                ("request", "save_dest"),
                ("ttl", &ttl),
                ("label", destination),
                ("property", properties),
                ("label", &labels.endpoint),
            ]);
            self.bounded(async |client| {
                client.write(&destination).await?;
                client.status("save_dest").await
            })
            .await?;
        }
        Ok(())
    }

    /// Asks for the connection back under one of its names. True: the cache has let go of it, and as we hold a
    /// descriptor of the same connection ourselves, it is ours alone again.
    ///
    /// The last name is that of the connection itself. smtp(8) saves the destination first: when the cache ends
    /// between the two, its successor has a connection to which no destination leads, and Postfix finds it no more.
    ///
    /// # Errors
    /// The cache is gone or answers strangely.
    pub(super) async fn take_back(
        &mut self,
        labels: &Labels,
        connection: BorrowedFd<'_>,
    ) -> Result<bool, HandoffError> {
        let destinations = labels.destinations.iter();
        let names = destinations
            .map(|label| ("find_dest", label))
            .chain([("find_endp", &labels.endpoint)]);
        for (request, label) in names {
            let question = encode(&[("request", request), ("label", label)]);
            let dummy = encode(&[("dummy", "")]);
            let ours = self
                .bounded(async |client| {
                    client.write(&question).await?;
                    let answer = client.read().await?;
                    match answer.get("status") {
                        Some("0") => {}
                        Some(_) => return Ok(false),
                        None => return Err(client.broken("an answer without status")),
                    }
                    client.write(&dummy).await?;
                    let ours = client.receive(connection).await?;
                    // Without this last word the cache logs "cannot send file descriptor".
                    client.write(&dummy).await?;
                    Ok(ours)
                })
                .await?;
            if ours {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the cache has closed this connection, as it does when it ends.
    pub(super) fn is_gone(&self) -> bool {
        // Between two questions there is nothing to read.
        !matches!(self.stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    async fn bounded<T>(
        &mut self,
        exchange: impl AsyncFnOnce(&mut Self) -> Result<T, HandoffError>,
    ) -> Result<T, HandoffError> {
        let path = self.path.clone();
        timeout(ANSWER_TIME, exchange(self))
            .await
            .unwrap_or_else(|_| {
                let cause = Error::other("no answer");
                Err(HandoffError::Connect { path, cause })
            })
    }

    async fn write(&mut self, list: &[u8]) -> Result<(), HandoffError> {
        self.stream
            .write_all(list)
            .await
            .map_err(|cause| self.lost(cause))
    }

    async fn status(&mut self, request: &str) -> Result<(), HandoffError> {
        let answer = self.read().await?;
        match answer.get("status") {
            Some("0") => Ok(()),
            status => Err(self.broken(&format!(
                "it answers {request} with status {}",
                status.unwrap_or("missing")
            ))),
        }
    }

    /// Reads one list. Nothing can follow it unasked, so what does is an error.
    async fn read(&mut self) -> Result<Attributes, HandoffError> {
        let mut reader = Reader::new();
        let mut buffer = [0; 4096];
        loop {
            let count = self
                .stream
                .read(&mut buffer)
                .await
                .map_err(|cause| self.lost(cause))?;
            let bytes = buffer.get(..count).unwrap_or_default();
            if bytes.is_empty() {
                return Err(self.lost(Error::other("it closed the connection")));
            }
            let (taken, list) = reader
                .feed(bytes)
                .map_err(|error| self.broken(&error.to_string()))?;
            match list {
                Some(list) if taken == count => return Ok(list),
                Some(_) => return Err(self.broken("it says more than it was asked")),
                None => {}
            }
        }
    }

    /// Sends a copy of the descriptor, with the one octet that carries it.
    async fn send(&mut self, connection: BorrowedFd<'_>) -> Result<(), HandoffError> {
        let rights = [connection.as_raw_fd()];
        let stream = &self.stream;
        stream
            .async_io(Interest::WRITABLE, || {
                let octet = [IoSlice::new(&[0])];
                let rights = [ControlMessage::ScmRights(&rights)];
                sendmsg::<()>(
                    stream.as_raw_fd(),
                    &octet,
                    &rights,
                    MsgFlags::MSG_NOSIGNAL,
                    None,
                )?;
                Ok(())
            })
            .await
            .map_err(|cause| self.lost(cause))
    }

    /// Receives a descriptor and closes it: the caller has one already. Says whether both are the same connection.
    async fn receive(&mut self, connection: BorrowedFd<'_>) -> Result<bool, HandoffError> {
        let stream = &self.stream;
        let received = stream
            .async_io(Interest::READABLE, || {
                let mut octet = [0];
                let mut slices = [IoSliceMut::new(&mut octet)];
                let mut space = nix::cmsg_space!([RawFd; 1]);
                let flags = MsgFlags::MSG_CMSG_CLOEXEC;
                let message =
                    recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags)?;
                let mut received = Vec::new();
                for control in message.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(descriptors) = control {
                        received.extend(descriptors);
                    }
                }
                Ok(received)
            })
            .await
            .map_err(|cause| self.lost(cause))?;
        let mut ours = false;
        for descriptor in &received {
            ours |= same_socket(*descriptor, connection.as_raw_fd());
            if let Err(error) = nix::unistd::close(*descriptor) {
                return Err(self.lost(error.into()));
            }
        }
        if received.is_empty() {
            Err(self.broken("no descriptor where one was announced"))
        } else {
            Ok(ours)
        }
    }

    fn broken(&self, cause: &str) -> HandoffError {
        HandoffError::Protocol {
            mta: "Postfix",
            cause: format!("{}: {cause}", self.path.display()),
        }
    }

    fn lost(&self, cause: Error) -> HandoffError {
        HandoffError::Connect {
            path: self.path.clone(),
            cause,
        }
    }
}

/// Whether both descriptors are one socket, by the inode that the kernel names. Where `/proc` is missing the label,
/// which no other customer has, must do.
fn same_socket(one: RawFd, other: RawFd) -> bool {
    let inode = |descriptor: RawFd| read_link(format!("/proc/self/fd/{descriptor}")).ok();
    inode(one) == inode(other)
}
