//! One peer on one connection: bounded lines in, replies out, and exactly one way to let go.
//!
//! What the caller may rely on:
//!
//! * **Nothing is read beyond a line.** Bytes are looked at with `MSG_PEEK` and taken only up
//!   to the line end they belong to, so whatever a peer sends early stays in the kernel, where
//!   [`Wire::pending`] sees it and a mail server can still read it (rules C4, C5, C6).
//! * **[`Wire::release`] is the only way to the descriptor.** It leaves the reactor, clears
//!   `O_NONBLOCK` (which lives in the open file description that the mail server will share)
//!   and refuses while part of a line has been taken.
//! * Time limits are the caller's: nothing here waits on a clock except [`Wire::close`].
//!
//! TLS will stand between the socket and the lines here; callers see no difference.

pub mod follow;
mod released;
mod sock_diag;

pub use released::Released;

use crate::smtp::line::{Line, LineError, LineReader};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::TcpStream;

/// How much is looked at in one system call. A command line has at most 512 octets.
const LOOK: usize = 2048;

/// How long [`Wire::close`] waits for the peer to close as well.
const LINGER: Duration = Duration::from_secs(1);

/// Silence on the line after which the kernel begins to ask whether the peer is still there, how often it asks again,
/// and after how many silences the connection is dead. The options stay with the socket, so they serve the mail server
/// after the turn as well: a customer whose line has died is served again when the dead one is found out.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(30), 4);

/// How long sent octets may stay unacknowledged: as long as SMTP waits for a reply at least (RFC 5321 4.5.3.2.1).
const UNACKNOWLEDGED: Duration = Duration::from_secs(300);

/// Why no line came.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer closed its side.
    #[error("the peer closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(#[from] io::Error),
    /// Part of a line was taken from the socket, so it cannot be handed over.
    #[error("part of a line was already read")]
    PartialLine,
}

/// A connected peer.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    reader: LineReader,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Wire {
    /// Takes a connected socket; lines are limited to `limit` octets including CRLF.
    ///
    /// # Errors
    /// When the kernel no longer knows both ends (the peer is gone already).
    pub fn new(stream: TcpStream, limit: usize) -> Result<Self, WireError> {
        let peer = canonical(stream.peer_addr()?);
        let local = canonical(stream.local_addr()?);
        // Replies are single small writes: waiting to fill a segment only adds delay.
        stream.set_nodelay(true)?;
        let (idle, interval, retries) = KEEPALIVE;
        let keepalive = socket2::TcpKeepalive::new()
            .with_time(idle)
            .with_interval(interval)
            .with_retries(retries);
        let socket = socket2::SockRef::from(&stream);
        socket.set_tcp_keepalive(&keepalive)?;
        socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))?;
        Ok(Self {
            stream,
            reader: LineReader::new(limit),
            peer,
            local,
        })
    }

    /// The peer's address and port; IPv4 is never shown as mapped IPv6.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our own address and port on this connection.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Sets the longest line that is accepted, in octets including CRLF.
    pub fn set_limit(&mut self, limit: usize) {
        self.reader.set_limit(limit);
    }

    /// The next line, or what was wrong with it; the octets behind it stay in the kernel.
    ///
    /// Cancel-safe: a part of a line that was taken is kept for the next call.
    ///
    /// # Errors
    /// [`WireError::Closed`] when the peer closed, [`WireError::Broken`] when it is lost.
    pub async fn line(&mut self) -> Result<Result<Line, LineError>, WireError> {
        loop {
            self.stream.readable().await?;
            let (stream, reader) = (&self.stream, &mut self.reader);
            match stream.try_io(Interest::READABLE, || take_line(stream, reader)) {
                Ok(Taken::Line(line)) => return Ok(line),
                Ok(Taken::Part) => {}
                Ok(Taken::End) => return Err(WireError::Closed),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Writes all octets.
    ///
    /// # Errors
    /// [`WireError::Broken`] when the peer cannot be written to any more.
    pub async fn send(&mut self, octets: &[u8]) -> Result<(), WireError> {
        Ok(self.stream.write_all(octets).await?)
    }

    /// Has the peer sent anything that nobody has read? Asked at the turn (rules C4, C5).
    ///
    /// # Errors
    /// [`WireError::Broken`] when the connection is lost.
    pub fn pending(&self) -> Result<bool, WireError> {
        let mut one = [0_u8; 1];
        match recv(
            self.stream.as_raw_fd(),
            &mut one,
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        ) {
            Ok(octets) => Ok(octets > 0),
            Err(Errno::EAGAIN) => Ok(false),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }

    /// Lets go of the socket, ready for a mail server: blocking, nothing taken from it.
    ///
    /// # Errors
    /// [`WireError::PartialLine`] when an unfinished line was taken, [`WireError::Broken`]
    /// when the socket refuses; the connection is closed then.
    pub fn release(self) -> Result<Released, WireError> {
        if !self.reader.is_empty() {
            return Err(WireError::PartialLine);
        }
        let stream = self.stream.into_std()?;
        stream.set_nonblocking(false)?;
        Ok(Released::new(OwnedFd::from(stream), self.peer, self.local))
    }

    /// Closes in an orderly way: our last reply is on its way before the socket goes.
    ///
    /// A socket that is closed with unread octets sends a reset, which may overtake the reply
    /// and destroy it. So the peer's octets are read and dropped until it closes, or for a
    /// second.
    pub async fn close(mut self) {
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let drained = async {
            loop {
                if self.stream.readable().await.is_err() {
                    return;
                }
                let mut scrap = [0_u8; LOOK];
                match self.stream.try_read(&mut scrap) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => return,
                }
            }
        };
        // Running out of time is as good an end as the peer's own close.
        tokio::time::timeout(LINGER, drained)
            .await
            .unwrap_or_default();
    }
}

/// What one look at the socket brought.
enum Taken {
    Line(Result<Line, LineError>),
    Part,
    End,
}

/// Looks at what is there and takes no more than belongs to the line.
fn take_line(stream: &TcpStream, reader: &mut LineReader) -> io::Result<Taken> {
    let mut look = [0_u8; LOOK];
    let fd = stream.as_raw_fd();
    let seen = recv(fd, &mut look, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)?;
    let Some(octets) = look.get(..seen).filter(|octets| !octets.is_empty()) else {
        return Ok(Taken::End);
    };
    let (used, line) = reader.feed(octets);
    let Some(part) = look.get_mut(..used) else {
        return Err(io::Error::other(
            "the line reader took more than it was given",
        ));
    };
    if recv(fd, part, MsgFlags::MSG_DONTWAIT)? != used {
        return Err(io::Error::other(
            "octets vanished between looking and reading",
        ));
    }
    Ok(line.map_or(Taken::Part, Taken::Line))
}

/// An IPv4 peer on an IPv6 socket is an IPv4 peer to everybody who reads its address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
