//! Customer: give the turned connection to a mail server in another container, through a socket in a shared directory.
//!
//! At the other end `turnabout catch` listens, or a program of somebody else's (turnabout-handoff(7)): descriptors go
//! where no network leads. Two questions, two answers, each a line (see [`words`]):
//!
//! 1. before ATRN: connect, `offer`; the receiver looks whether its mail server can be run, and says `ready`,
//! 2. after the 250: `connection`, with the descriptor; the receiver starts the mail server on it, and says `taken`.
//!
//! Whoever answers must be a user who may ([`receiver`]), and a peer that a mail server would take for its own machine is
//! not sent, unless the operator says so.
//!
//! Our own copy is dropped behind `taken` and not before, so that whatever goes wrong until then is still a 421 of ours
//! (rule R26). A receiver that says nothing may have given the connection away all the same; it is shut for every
//! holder then, and what was not acknowledged stays with the provider.

pub mod receiver;
pub mod words;

use super::HandoffError;
use crate::report;
use crate::wire::Released;
use sendfd::SendWithFd;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use words::{About, Connection, INBOUND, LONGEST, Offer, VERSION, Word, names_this_machine};

/// How long the receiver may take to look whether it could.
const READY_TIME: Duration = Duration::from_secs(15);

/// How long it may take to start the mail server; the provider waits five minutes for the greeting
/// (RFC 5321 4.5.3.2.1).
const TAKE_TIME: Duration = Duration::from_secs(30);

/// A receiver in another container.
#[derive(Debug, Clone)]
pub struct Catch {
    socket: PathBuf,
    receiver: Option<u32>,
    tunnel: bool,
}

/// The receiver waits for the connection.
#[derive(Debug)]
pub struct Ready {
    socket: PathBuf,
    stream: UnixStream,
}

impl Catch {
    /// `socket` is where the receiver listens, as the user `receiver`, if that is known. With `tunnel` the operator says
    /// that the mail server may be told a provider at a loopback address.
    #[must_use]
    pub fn new(socket: &Path, receiver: Option<u32>, tunnel: bool) -> Self {
        Self {
            socket: socket.to_owned(),
            receiver,
            tunnel,
        }
    }

    /// Before ATRN: is the receiver there, is it the one, does it understand us, can it run its mail server?
    /// `relay_possible` says that the connection may have to go through a relay, `peer` who is at its other end.
    ///
    /// # Errors
    /// When it is not there or refuses, with its own reason; or when the mail server would trust the peer.
    pub async fn prepare(
        &self,
        relay_possible: bool,
        peer: SocketAddr,
    ) -> Result<Ready, HandoffError> {
        self.nobody_else_can_listen()?;
        self.may_be_told(peer, relay_possible)?;
        let offer = Word::Offer(Offer {
            versions: vec![VERSION],
            direction: INBOUND.to_owned(),
            relay: relay_possible,
        });
        let asked = async {
            let mut stream = UnixStream::connect(&self.socket).await?;
            if let Err(error) = receiver::check(&stream, &self.socket, self.receiver) {
                return Ok(Err(error));
            }
            let said = stream.write_all(&offer.line()?).await;
            let answer = answer(&mut stream, said).await?;
            Ok(Ok((stream, answer)))
        };
        let answered = timeout(READY_TIME, asked).await;
        match answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Ok((stream, Word::Ready { version: VERSION }))) => Ok(Ready {
                socket: self.socket.clone(),
                stream,
            }),
            Ok(Ok((_, Word::Refused { reason }))) => Err(refused(&self.socket, &reason)),
            Ok(Ok((_, other))) => Err(strange(&self.socket, &other)),
            Ok(Err(error)) => Err(error),
            Err(error) => Err(cannot_ask(&self.socket, &error)),
        }
    }

    /// Whoever can put a socket of its own there would be given the mail.
    fn nobody_else_can_listen(&self) -> Result<(), HandoffError> {
        let Some(directory) = self.socket.parent() else {
            return Ok(());
        };
        // What is missing is found out by connecting.
        let open = fs::metadata(directory).is_ok_and(|facts| facts.mode() & 0o002 != 0);
        if !open {
            return Ok(());
        }
        let directory = directory.display();
        Err(HandoffError::new(format!(
            "cannot use {}: every user may write in its directory, and take the mail so (chmod o-w {directory})",
            self.socket.display()
        )))
    }
}

impl Catch {
    /// A mail server trusts its own machine, and relays anything for it (rule C9).
    fn may_be_told(&self, peer: SocketAddr, relay_possible: bool) -> Result<(), HandoffError> {
        let (why, advice) = match (names_this_machine(peer), self.tunnel, relay_possible) {
            (false, ..) | (true, true, false) => return Ok(()),
            (true, false, _) => (
                "a mail server trusts its own machine",
                "reach the provider by its own address; or, if it is the end of a tunnel and the mail server relays for nobody \
                 there, say i_know = true, and --allow-loopback to turnabout catch",
            ),
            (true, true, true) => (
                "the receiver could not see whether it is so, since a relay may carry the connection",
                "reach the provider by its own address, or say handoff_tls = \"kernel\"",
            ),
        };
        Err(HandoffError::new(format!(
            "cannot hand over at {}: the provider has the address {}, and {why} ({advice})",
            self.socket.display(),
            peer.ip()
        )))
    }
}

impl Ready {
    /// Sends the connection and waits until the mail server has it.
    ///
    /// # Errors
    /// When the receiver did not take it; the connection comes back, so that the provider can be told.
    pub async fn commit(
        mut self,
        released: Released,
        about: &About<'_>,
    ) -> Result<(), Box<(HandoffError, Released)>> {
        let sent = timeout(TAKE_TIME, send(&mut self.stream, &released, about)).await;
        let error = match sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(Word::Taken) => return Ok(()),
            Ok(Word::Refused { reason }) => refused(&self.socket, &reason),
            Ok(other) => strange(&self.socket, &other),
            Err(error) => HandoffError::new(format!(
                "cannot hand the connection over at {}: {} (look at the log of turnabout catch)",
                self.socket.display(),
                words_of(&error)
            )),
        };
        Err(Box::new((error, released)))
    }
}

async fn send(stream: &mut UnixStream, released: &Released, about: &About<'_>) -> io::Result<Word> {
    let record = Word::Connection(Box::new(Connection::new(released, about))).line()?;
    let said = say(stream, &record, released.as_fd().as_raw_fd()).await;
    answer(stream, said).await
}

/// The descriptor goes with the first octet.
async fn say(stream: &mut UnixStream, record: &[u8], descriptor: RawFd) -> io::Result<()> {
    let sent = loop {
        stream.writable().await?;
        match stream.send_with_fd(record, &[descriptor]) {
            Ok(sent) => break sent,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    };
    stream
        .write_all(record.get(sent..).unwrap_or_default())
        .await
}

/// The answer to what was `said`. A receiver that has closed before it could be may have left a refusal all the same.
async fn answer(stream: &mut UnixStream, said: io::Result<()>) -> io::Result<Word> {
    match (hear(stream).await, said) {
        (Ok(Word::Refused { reason }), _) => Ok(Word::Refused { reason }),
        (_, Err(error)) => Err(error),
        (heard, Ok(())) => heard,
    }
}

/// One line from the receiver, which says nothing unasked.
async fn hear(stream: &mut UnixStream) -> io::Result<Word> {
    let mut line = Vec::new();
    loop {
        if let Some(end) = line.iter().position(|octet| *octet == b'\n') {
            if end + 1 != line.len() {
                return Err(io::Error::other("it says more than it was asked"));
            }
            line.truncate(end);
            return Ok(Word::read(&line)?);
        }
        if line.len() >= LONGEST {
            return Err(io::Error::other("its answer does not end"));
        }
        if stream.read_buf(&mut line).await? == 0 {
            return Err(io::Error::other("it closed without an answer"));
        }
    }
}

fn refused(socket: &Path, reason: &str) -> HandoffError {
    let reason = report::whole(reason);
    HandoffError::new(format!(
        "cannot hand over at {}: it refuses: {reason} (see the log of turnabout catch)",
        socket.display()
    ))
}

fn strange(socket: &Path, answer: &Word) -> HandoffError {
    let answer = match answer {
        Word::Offer(_) => "with an offer of its own",
        Word::Ready { .. } => "as ready out of turn, or in a version that was not offered",
        Word::Connection(_) => "with a connection of its own",
        Word::Taken => "as taken what it has not got",
        Word::Refused { .. } => "with a refusal",
    };
    HandoffError::new(format!(
        "cannot hand over at {}: it answers {answer} (is turnabout the same version at both ends?)",
        socket.display()
    ))
}

fn cannot_ask(socket: &Path, error: &io::Error) -> HandoffError {
    HandoffError::new(format!(
        "cannot hand over at {}: {} (is turnabout catch running there, and may this user open its socket?)",
        socket.display(),
        words_of(error)
    ))
}

/// In words: a line that is no JSON has a cause of its own.
fn words_of(error: &io::Error) -> String {
    report::safe(&error.to_string()).to_string()
}
