//! Lines in, and what lies behind them: each way of reading takes no octet beyond the line it gives.

use super::stream::Stream;
use super::{Wire, WireError};
use crate::smtp::line::{Line, LineError, LineReader};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsStream;

use super::record::RecordIo;

/// How much is looked at in one system call. A command line has at most 512 octets.
const LOOK: usize = 2048;

/// How long the rest of a TLS record is waited for when the turn asks whether anything is there.
const REST: Duration = Duration::from_secs(2);

impl Wire {
    /// The next line, or what was wrong with it; the octets behind it are left for who asks next.
    ///
    /// Cancel-safe: a part of a line that was taken is kept for the next call.
    ///
    /// # Errors
    /// [`WireError::Closed`] when the peer closed, [`WireError::Truncated`] when the connection ended although TLS
    /// had not, [`WireError::Broken`] when it is lost, [`WireError::Tls`] when what came is not what TLS allows.
    pub async fn line(&mut self) -> Result<Result<Line, LineError>, WireError> {
        match &mut self.stream {
            Stream::Plain(stream) => read_line(stream, &mut self.reader, take_line).await,
            // What was looked at may turn out to be the kernel's to answer: it is read octet by octet.
            Stream::Kernel(stream) => read_line(stream, &mut self.reader, take_octet).await,
            Stream::Tls(stream) => loop {
                answering(stream).await?;
                let octets = stream.fill_buf().await?;
                if octets.is_empty() {
                    return Err(WireError::Closed);
                }
                let (used, line) = self.reader.feed(octets);
                stream.consume(used);
                if let Some(line) = line {
                    return Ok(line);
                }
            },
            Stream::Failed(_) | Stream::Gone => Err(WireError::Closed),
        }
    }

    /// Has the peer sent anything that nobody has read? Asked at STARTTLS and at the turn (rules C1, C4, C5).
    ///
    /// Under TLS, records without content (tickets, new keys) are taken and answered, and are nothing. The rest of a
    /// record of which a part has come is waited for, at most 2 s; what is still unfinished then counts as something.
    ///
    /// # Errors
    /// As for [`Wire::line`]; a peer that has closed in good order has nothing pending.
    pub async fn pending(&mut self) -> Result<bool, WireError> {
        match &mut self.stream {
            Stream::Plain(stream) | Stream::Kernel(stream) => Ok(holds_octets(stream)?),
            Stream::Tls(stream) => {
                let deadline = Instant::now() + REST;
                timeout_at(deadline, holds_content(stream))
                    .await
                    .unwrap_or(Ok(true))
            }
            Stream::Failed(_) | Stream::Gone => Err(WireError::Closed),
        }
    }
}

/// What one look at the socket brought.
enum Taken {
    Line(Result<Line, LineError>),
    Part,
    End,
}

async fn read_line(
    stream: &TcpStream,
    reader: &mut LineReader,
    take: fn(&TcpStream, &mut LineReader) -> io::Result<Taken>,
) -> Result<Result<Line, LineError>, WireError> {
    loop {
        stream.readable().await?;
        match stream.try_io(Interest::READABLE, || take(stream, reader)) {
            Ok(Taken::Line(line)) => return Ok(line),
            Ok(Taken::Part) => {}
            Ok(Taken::End) => return Err(WireError::Closed),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
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

/// Takes one octet.
fn take_octet(stream: &TcpStream, reader: &mut LineReader) -> io::Result<Taken> {
    let mut octet = [0_u8; 1];
    if recv(stream.as_raw_fd(), &mut octet, MsgFlags::MSG_DONTWAIT)? == 0 {
        return Ok(Taken::End);
    }
    let (_, line) = reader.feed(&octet);
    Ok(line.map_or(Taken::Part, Taken::Line))
}

/// Waits for content or the end. What TLS itself has to answer meanwhile, such as a renegotiation that is refused, is
/// sent at once: a peer may wait for that, and the answer would otherwise wait for our next words.
async fn answering(stream: &mut TlsStream<RecordIo>) -> io::Result<()> {
    std::future::poll_fn(|cx| {
        let filled = Pin::new(&mut *stream).poll_fill_buf(cx).map_ok(drop);
        if filled.is_pending() && stream.get_ref().1.wants_write() {
            ready!(Pin::new(&mut *stream).poll_flush(cx))?;
        }
        filled
    })
    .await
}

/// Does the kernel hold octets of this socket?
fn holds_octets(stream: &TcpStream) -> io::Result<bool> {
    let mut one = [0_u8; 1];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    match recv(stream.as_raw_fd(), &mut one, flags) {
        Ok(octets) => Ok(octets > 0),
        Err(Errno::EAGAIN) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Is there content, once all records that lie in the kernel have been taken? Waits only for the rest of one.
async fn holds_content(stream: &mut TlsStream<RecordIo>) -> Result<bool, WireError> {
    let found = std::future::poll_fn(|cx| {
        loop {
            if let Poll::Ready(octets) = Pin::new(&mut *stream).poll_fill_buf(cx) {
                return Poll::Ready(octets.map(|octets| !octets.is_empty()));
            }
            let io = stream.get_ref().0;
            if io.at_boundary() && !holds_octets(io.stream())? {
                return Poll::Ready(Ok(false));
            }
            // Something is there or on its way, but the reactor has not seen it yet.
            ready!(io.stream().poll_read_ready(cx))?;
        }
    });
    let found = found.await?;
    // The answer to new keys of the peer's is kept for our next words, while our own keys have changed already:
    // whoever took those would not be understood. Nothing at all is written to bring it out.
    match stream {
        TlsStream::Client(stream) => stream.get_mut().1.writer().write(&[]).map(drop)?,
        TlsStream::Server(stream) => stream.get_mut().1.writer().write(&[]).map(drop)?,
    }
    if stream.get_ref().1.wants_write() {
        stream.flush().await?;
    }
    Ok(found)
}
