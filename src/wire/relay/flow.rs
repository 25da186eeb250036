//! One direction of a relay: read, write all of it, flush when there is no more, and at the end close.

use super::BUFFER;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Which end of a direction failed.
#[derive(Debug)]
pub(super) enum Fault {
    Read(io::Error),
    Write(io::Error),
}

/// One direction: what was read and is not yet written, and how far it has come.
#[derive(Debug)]
pub(super) struct Flow {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    unflushed: bool,
    /// Nothing more is read.
    ended: bool,
    /// Because the reading side has ended.
    seen_end: bool,
    /// All is written, flushed, and the writing side closed.
    done: bool,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self {
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            // Whatever was written before the relay began.
            unflushed: true,
            ended: false,
            seen_end: false,
            done: false,
        }
    }

    /// Reads no more: what is held is still written, then the writing side is closed.
    pub(super) fn finish(&mut self) {
        self.ended = true;
    }

    /// Drops what is held and goes no further.
    pub(super) fn abandon(&mut self) {
        self.ended = true;
        self.done = true;
    }

    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// The reading side has closed in good order.
    pub(super) fn has_seen_end(&self) -> bool {
        self.seen_end
    }

    /// Carries octets until one side is not ready, or to the end. `passed` is shown what was written, and says
    /// whether the direction ends behind it; it is shown nothing when the end has come and is about to be told.
    pub(super) fn poll_carry<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        from: &mut R,
        to: &mut W,
        mut passed: impl FnMut(&[u8]) -> bool,
    ) -> Poll<Result<(), Fault>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.done {
            let held = self.buffer.get(self.start..self.end).unwrap_or_default();
            if !held.is_empty() {
                let written = ready!(Pin::new(&mut *to).poll_write(cx, held));
                let octets = match written.map(|octets| held.get(..octets)) {
                    Ok(Some(octets)) if !octets.is_empty() => octets,
                    Ok(_) => {
                        return Poll::Ready(Err(Fault::Write(io::ErrorKind::WriteZero.into())));
                    }
                    Err(error) => return Poll::Ready(Err(Fault::Write(error))),
                };
                self.unflushed = true;
                self.ended |= passed(octets);
                self.start = self.start.saturating_add(octets.len());
                continue;
            }
            if self.ended {
                passed(&[]);
                // Flushes as well.
                ready!(Pin::new(&mut *to).poll_shutdown(cx)).map_err(Fault::Write)?;
                self.done = true;
                continue;
            }
            let mut space = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *from).poll_read(cx, &mut space) {
                Poll::Ready(Ok(())) => {
                    self.seen_end = space.filled().is_empty();
                    self.ended = self.seen_end;
                    (self.start, self.end) = (0, space.filled().len());
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Read(error))),
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(&mut *to).poll_flush(cx)).map_err(Fault::Write)?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
