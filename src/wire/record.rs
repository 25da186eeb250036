//! Octets for TLS, record by record: never one beyond the record that is being read.
//!
//! A TLS library takes all that a socket gives. Here it is given the five octets of a record's
//! head, then at most that record's body, so that the next record stays in the kernel: for the
//! kernel's own TLS after the turn, or for whoever looks whether anything is there (rule C6). Only
//! a relay, which keeps the connection for good, reads all there is.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A record's head: its type, a version, and the length of its body (RFC 8446 5.1).
const HEAD: usize = 5;

/// How much is read at once by a relay: three of the largest records.
const AHEAD: usize = 48 * 1024;

/// Where the reading stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// So many octets of the head are read, and the length as far as it is known.
    Head { read: usize, length: u16 },
    /// So many octets of the body are still to come.
    Body { left: u16 },
}

const BOUNDARY: Place = Place::Head { read: 0, length: 0 };

/// A socket that is read one record at a time, and written as it is.
#[derive(Debug)]
pub(super) struct RecordIo {
    stream: TcpStream,
    place: Place,
    /// Set: the records are nobody else's any more, and are taken many at a time.
    ahead: Option<Ahead>,
}

/// What was read and is not yet asked for.
struct Ahead {
    octets: Box<[u8]>,
    start: usize,
    end: usize,
}

impl std::fmt::Debug for Ahead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").finish_non_exhaustive()
    }
}

impl RecordIo {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            place: BOUNDARY,
            ahead: None,
        }
    }

    /// From here on reads as much as there is: for a relay, which keeps the connection to its end. Two or more
    /// system calls for each record would be most of its work.
    pub(super) fn read_ahead(&mut self) {
        self.ahead = Some(Ahead {
            octets: vec![0; AHEAD].into_boxed_slice(),
            start: 0,
            end: 0,
        });
    }

    /// No part of a record has been read: whatever comes next begins with a head.
    pub(super) fn at_boundary(&self) -> bool {
        self.place == BOUNDARY
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// How many octets may be read without passing the end of what is being read.
    fn room(&self) -> usize {
        match self.place {
            Place::Head { read, .. } => HEAD.saturating_sub(read),
            Place::Body { left } => usize::from(left),
        }
    }
}

impl Place {
    /// Where the reading stands after these octets, of which there are no more than fit.
    fn after(self, octets: &[u8]) -> Self {
        match self {
            Self::Body { left } => {
                let taken = u16::try_from(octets.len()).unwrap_or(u16::MAX);
                Self::body(left.saturating_sub(taken))
            }
            Self::Head {
                mut read,
                mut length,
            } => {
                for octet in octets {
                    if read >= 3 {
                        length = (length << 8) | u16::from(*octet);
                    }
                    read = read.saturating_add(1);
                }
                if read >= HEAD {
                    Self::body(length)
                } else {
                    Self::Head { read, length }
                }
            }
        }
    }

    fn body(left: u16) -> Self {
        if left == 0 {
            BOUNDARY
        } else {
            Self::Body { left }
        }
    }
}

impl Ahead {
    fn poll_read(
        &mut self,
        stream: &mut TcpStream,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.start == self.end {
            let mut space = ReadBuf::new(&mut self.octets);
            ready!(Pin::new(stream).poll_read(cx, &mut space))?;
            (self.start, self.end) = (0, space.filled().len());
        }
        let held = self.octets.get(self.start..self.end).unwrap_or_default();
        let given = held.get(..buffer.remaining()).unwrap_or(held);
        buffer.put_slice(given);
        self.start = self.start.saturating_add(given.len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for RecordIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(ahead) = &mut this.ahead {
            return ahead.poll_read(&mut this.stream, cx, buffer);
        }
        let room = this.room().min(buffer.remaining());
        let mut part = ReadBuf::new(buffer.initialize_unfilled_to(room));
        ready!(Pin::new(&mut this.stream).poll_read(cx, &mut part))?;
        this.place = this.place.after(part.filled());
        let taken = part.filled().len();
        buffer.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RecordIo {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

impl AsRawFd for RecordIo {
    fn as_raw_fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }
}
