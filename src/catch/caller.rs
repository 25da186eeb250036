//! One caller: who it is, its lines, and the descriptor it brings.

use crate::handoff::catch::words::{LONGEST, Word};
use crate::report;
use nix::sys::socket::{getsockopt, sockopt};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recvmsg};
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long an answer may wait to be taken.
const WRITE_TIME: Duration = Duration::from_secs(10);

/// Room for this many descriptors at once: one more than is right. What does not fit is closed by the kernel.
const DESCRIPTORS: usize = 2;

/// Why a caller gets nothing more than a refusal: the reason, for both operators.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(pub(super) String);

impl Refusal {
    pub(super) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// A process on the other end of the socket.
#[derive(Debug)]
pub(super) struct Caller {
    stream: UnixStream,
    /// Its user as the kernel knows it: that of the connect.
    pub(super) uid: u32,
    /// Its process number, 0 from another process namespace.
    pub(super) pid: i32,
    heard: Vec<u8>,
    descriptors: Vec<OwnedFd>,
}

impl Caller {
    /// Asks the kernel who it is.
    pub(super) fn new(stream: UnixStream) -> io::Result<Self> {
        let who = getsockopt(&stream, sockopt::PeerCredentials)?;
        Ok(Self {
            stream,
            uid: who.uid(),
            pid: who.pid(),
            heard: Vec::new(),
            descriptors: Vec::new(),
        })
    }

    /// The next word, of one line; `None` if it hangs up in place of one. It says nothing unasked: what lies behind the
    /// line is refused.
    pub(super) async fn word(&mut self) -> Result<Option<Word>, Refusal> {
        loop {
            if let Some(end) = self.heard.iter().position(|octet| *octet == b'\n') {
                let line: Vec<u8> = self.heard.drain(..=end).collect();
                if !self.heard.is_empty() {
                    return Err(Refusal::new("it says more than one line at once"));
                }
                let word = Word::read(line.trim_ascii_end());
                return word.map(Some).map_err(|error| {
                    let error = error.to_string();
                    Refusal::new(format!("it is not understood: {}", report::safe(&error)))
                });
            }
            if self.heard.len() >= LONGEST {
                return Err(Refusal::new(format!(
                    "its line is longer than {LONGEST} octets"
                )));
            }
            match self.hear().await {
                Ok(0) if self.heard.is_empty() && self.descriptors.is_empty() => return Ok(None),
                Ok(0) => return Err(Refusal::new("it hung up in the midst of a line")),
                Ok(_) => {}
                Err(error) => return Err(Refusal::new(format!("it cannot be heard: {error}"))),
            }
            if self.descriptors.len() >= DESCRIPTORS {
                return Err(Refusal::new("it sends more than one descriptor"));
            }
        }
    }

    /// Takes what is there: octets, and the descriptors that came with them.
    async fn hear(&mut self) -> io::Result<usize> {
        let room = LONGEST.saturating_sub(self.heard.len());
        let mut octets = vec![0; room];
        let mut come = Vec::new();
        let stream = &self.stream;
        let (count, flags) = stream
            .async_io(Interest::READABLE, || {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut slices = [IoSliceMut::new(&mut octets)];
                let how = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
                let message = recvmsg(stream, &mut slices, &mut control, how)?;
                for part in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(descriptors) = part {
                        come.extend(descriptors);
                    }
                }
                Ok((message.bytes, message.flags))
            })
            .await?;
        self.heard.extend(octets.iter().take(count));
        self.descriptors.append(&mut come);
        if flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("it sends more than one descriptor"));
        }
        Ok(count)
    }

    /// The descriptor that has come, and no other.
    pub(super) fn descriptor(&mut self) -> Result<OwnedFd, Refusal> {
        let mut all = std::mem::take(&mut self.descriptors);
        match (all.pop(), all.is_empty()) {
            (Some(one), true) => Ok(one),
            (None, _) => Err(Refusal::new("it sends no descriptor")),
            (Some(_), false) => Err(Refusal::new("it sends more than one descriptor")),
        }
    }

    /// No descriptor belongs to what was said so far.
    pub(super) fn no_descriptor(&self) -> Result<(), Refusal> {
        if self.descriptors.is_empty() {
            return Ok(());
        }
        Err(Refusal::new(
            "it sends a descriptor before it was asked for one",
        ))
    }

    /// Answers. Every descriptor that is still here is closed first when it is refused.
    pub(super) async fn say(&mut self, word: &Word) -> io::Result<()> {
        if matches!(word, Word::Refused { .. }) {
            self.descriptors.clear();
        }
        let line = word.line()?;
        timeout(WRITE_TIME, self.stream.write_all(&line)).await?
    }
}
