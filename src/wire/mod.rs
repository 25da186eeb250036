//! One peer on one connection: bounded lines in, replies out, and exactly one way to let go.
//!
//! What the caller may rely on:
//!
//! * **Nothing is read beyond a line.** Bytes are looked at with `MSG_PEEK` and taken only up
//!   to the line end they belong to, so whatever a peer sends early stays in the kernel, where
//!   [`Wire::pending`] sees it and a mail server can still read it (rules C4, C5, C6). Under TLS
//!   nothing is read beyond the record that the line ends in.
//! * **[`Wire::release`] is the only way to the descriptor.** It leaves the reactor, clears
//!   `O_NONBLOCK` (which lives in the open file description that the mail server will share)
//!   and refuses while part of a line has been taken. Under TLS the kernel must have the keys by
//!   then ([`Wire::into_kernel`]), or the descriptor is the end of a [`relay`].
//! * Time limits are the caller's: nothing here waits on a clock except [`Wire::close`].
//!
//! TLS stands between the socket and the lines once [`Wire::accept_tls`] or [`Wire::connect_tls`] has
//! put it there; lines come and go as before.

#[allow(
    unsafe_code,
    reason = "one call of sendmsg(2) with a control message that no library builds"
)]
mod close_notify;
mod cookie;
pub mod follow;
mod handshake;
pub mod kernel_tls;
mod reading;
pub mod received;
mod record;
pub mod relay;
mod released;
mod sock_diag;
mod stream;
mod tcp_info;
mod turn;

pub use kernel_tls::KernelTls;
pub use relay::{Far, RelayEnd, RelayView, Relays};
pub use released::{Carriage, Released};
pub use tcp_info::TcpInfo;
pub use turn::{Uncommitted, Way};

use crate::smtp::line::{LineError, LineReader};
use crate::tls::{self, Facts};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;
use stream::Stream;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// How much is dropped in one system call while a close is waited for.
const SCRAP: usize = 2048;

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
    Broken(io::Error),
    /// It ended without the end of TLS: the peer is gone, or somebody cut the connection.
    #[error("the connection was cut: it ended without the end of TLS")]
    Truncated,
    /// What the peer sent is not what TLS allows, or it said so of ours.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// Part of a line was taken from the socket, so it cannot be handed over.
    #[error("part of a line was already read")]
    PartialLine,
}

impl From<io::Error> for WireError {
    fn from(error: io::Error) -> Self {
        let inside = error.get_ref().and_then(|inner| inner.downcast_ref());
        match inside.map(tls::in_words) {
            Some(text) => Self::Tls(text),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Truncated,
            None => Self::Broken(error),
        }
    }
}

/// A connected peer.
#[derive(Debug)]
pub struct Wire {
    stream: Stream,
    reader: LineReader,
    peer: SocketAddr,
    local: SocketAddr,
    /// Of the handshake, if there was one.
    facts: Option<Box<Facts>>,
}

impl Wire {
    /// Takes a connected socket; lines are limited to `limit` octets including CRLF.
    ///
    /// # Errors
    /// When the kernel no longer knows both ends (the peer is gone already).
    pub fn new(stream: TcpStream, limit: usize) -> Result<Self, WireError> {
        let peer = canonical(stream.peer_addr()?);
        let local = canonical(stream.local_addr()?);
        watch_over(&stream)?;
        Ok(Self {
            stream: Stream::Plain(stream),
            reader: LineReader::new(limit),
            peer,
            local,
            facts: None,
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

    /// What is wrong already with the line that has begun and not ended.
    #[must_use]
    pub fn fault(&self) -> Option<LineError> {
        self.reader.fault()
    }

    /// Writes all octets.
    ///
    /// # Errors
    /// [`WireError::Broken`] when the peer cannot be written to any more.
    pub async fn send(&mut self, octets: &[u8]) -> Result<(), WireError> {
        match &mut self.stream {
            Stream::Plain(stream) | Stream::Kernel(stream) => stream.write_all(octets).await?,
            Stream::Tls(stream) => {
                stream.write_all(octets).await?;
                stream.flush().await?;
            }
            Stream::Failed(_) | Stream::Gone => return Err(WireError::Closed),
        }
        Ok(())
    }

    /// Closes in an orderly way: our last reply is on its way before the socket goes, and under TLS the
    /// `close_notify` behind it (RFC 8446 6.1, rule B56).
    ///
    /// A socket that is closed with unread octets sends a reset, which may overtake the reply
    /// and destroy it. So the peer's octets are read and dropped until it closes, or for a
    /// second.
    pub async fn close(mut self) {
        let closed = async {
            match &mut self.stream {
                Stream::Plain(stream) | Stream::Failed(stream) => stream.shutdown().await,
                Stream::Kernel(stream) => {
                    // A peer that has gone needs none.
                    close_notify::send(stream.as_fd()).ok();
                    stream.shutdown().await
                }
                Stream::Tls(stream) => stream.shutdown().await,
                Stream::Gone => return,
            }
            .ok();
            if let Some(socket) = self.stream.socket() {
                drain(socket).await;
            }
        };
        // Running out of time is as good an end as the peer's own close.
        tokio::time::timeout(LINGER, closed)
            .await
            .unwrap_or_default();
    }
}

/// Prompt, and dead when the other end is.
fn watch_over(stream: &TcpStream) -> io::Result<()> {
    // Replies are single small writes: waiting to fill a segment only adds delay.
    stream.set_nodelay(true)?;
    let (idle, interval, retries) = KEEPALIVE;
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(idle)
        .with_interval(interval)
        .with_retries(retries);
    let socket = socket2::SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED))
}

/// Reads and drops until the peer closes.
async fn drain(socket: &TcpStream) {
    loop {
        if socket.readable().await.is_err() {
            return;
        }
        let mut scrap = [0_u8; SCRAP];
        match socket.try_read(&mut scrap) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// An IPv4 peer on an IPv6 socket is an IPv4 peer to everybody who reads its address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::{LineReader, SocketAddr, Stream, Wire};
    use tokio::net::TcpStream;

    /// Thousands of connections wait without TLS: what TLS needs stands behind two pointers.
    #[test]
    fn a_plain_connection_does_not_pay_for_tls() {
        let pointer = size_of::<usize>();
        let before = size_of::<TcpStream>() + size_of::<LineReader>() + 2 * size_of::<SocketAddr>();
        assert!(size_of::<Wire>() <= before + 2 * pointer);
        assert!(size_of::<Stream>() <= size_of::<TcpStream>() + pointer);
    }
}
