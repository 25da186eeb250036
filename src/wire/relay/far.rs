//! The mail server's side of a relay: one end of a socket pair, or a connection to wherever it listens.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, send};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, Ready};
use tokio::net::{TcpStream, UnixStream};

/// A connection to a mail server.
#[derive(Debug)]
pub enum Far {
    /// Over TCP, to this machine or another.
    Tcp(TcpStream),
    /// A Unix stream socket.
    Unix(UnixStream),
}

impl Far {
    /// A connection over TCP whose mail server may vanish without a word.
    ///
    /// # Errors
    /// The kernel refuses an option: the mail server has gone already.
    pub fn tcp(stream: TcpStream) -> io::Result<Self> {
        crate::wire::watch_over(&stream)?;
        Ok(Self::Tcp(stream))
    }

    /// Says this if it can be said at once.
    ///
    /// # Errors
    /// It cannot.
    pub fn say(&self, octets: &[u8]) -> io::Result<()> {
        let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
        send(self.as_fd().as_raw_fd(), octets, flags)?;
        Ok(())
    }

    /// The octets that wait to be read, once there are more than `known`. They are looked at and left: whoever reads
    /// the connection next gets them all. At most `limit` are looked at.
    ///
    /// # Errors
    /// `UnexpectedEof` when the mail server has closed and no more will come, or the connection's own error.
    pub async fn look(&self, known: usize, limit: usize) -> io::Result<Vec<u8>> {
        let mut octets = vec![0; limit];
        loop {
            let ready = self.ready(Interest::READABLE).await?;
            let seen = self.try_io(|| {
                let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
                let count = recv(self.as_fd().as_raw_fd(), &mut octets, flags)?;
                if count > known {
                    return Ok(count);
                }
                // An end behind octets that are left shows in no reading, and is never unseen again.
                if count == 0 || ready.is_read_closed() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                Err(io::ErrorKind::WouldBlock.into())
            });
            match seen {
                Ok(count) => {
                    octets.truncate(count);
                    return Ok(octets);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Known to the reactor as a new one. What was looked at and left is not announced again: whoever reads next would
    /// wait for more.
    ///
    /// # Errors
    /// The reactor refuses it; the connection is closed then.
    pub(in crate::wire) fn anew(self) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream.into_std()?).map(Self::Tcp),
            Self::Unix(stream) => UnixStream::from_std(stream.into_std()?).map(Self::Unix),
        }
    }

    /// Has the mail server closed, as far as the kernel has told?
    pub async fn is_closed(&self) -> bool {
        let ready = self.ready(Interest::READABLE | Interest::WRITABLE).await;
        ready.map_or(true, |ready| ready.is_read_closed() || ready.is_error())
    }

    /// Has the mail server closed its end, not only half of it? Over TCP that shows only when it is told something more.
    pub(super) fn is_hung_up(&self) -> bool {
        let mut asked = [PollFd::new(self.as_fd(), PollFlags::empty())];
        let answered = poll(&mut asked, PollTimeout::ZERO);
        let [asked] = asked;
        let hung_up = asked
            .revents()
            .is_some_and(|events| events.contains(PollFlags::POLLHUP));
        answered.is_ok() && hung_up
    }

    async fn ready(&self, interest: Interest) -> io::Result<Ready> {
        match self {
            Self::Tcp(stream) => stream.ready(interest).await,
            Self::Unix(stream) => stream.ready(interest).await,
        }
    }

    fn try_io<R>(&self, operation: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, operation),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, operation),
        }
    }
}

impl AsFd for Far {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl AsyncRead for Far {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        space: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, space),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, space),
        }
    }
}

impl AsyncWrite for Far {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, octets),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, octets),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
