//! Postfix's queue as `postqueue` gets it: from the showq(8) service, without starting a program.
//!
//! `postqueue -j` takes some 3 ms of processor time to start and to read its configuration, this question 0.1 ms. What
//! showq says is between Postfix and its own programs: a message after the other, each as a list of attributes (`name
//! NUL value NUL ... NUL`), and an empty list at the end; since 3.6 it begins with the name of this protocol. So
//! whatever looks different here is an error, and the caller asks `postqueue` instead.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

use super::QueueError;
use super::together::Askers;

/// The longest name or value we take, in octets; a reason for a delay is the longest there is.
const PART_LIMIT: usize = 64 * 1024;
const WHAT: &str = "ask showq for mail";

/// The showq service of one Postfix instance.
#[derive(Debug, Clone)]
pub struct Showq {
    socket: PathBuf,
}

impl Showq {
    /// The service of the instance with this queue, under its usual name.
    #[must_use]
    pub fn new(queue_directory: &Path) -> Self {
        Self {
            socket: queue_directory.join("public/showq"),
        }
    }

    /// Answers all who ask by one look at the queue. Held mail does not count: no session can deliver it.
    ///
    /// # Errors
    /// The service cannot be reached, is slow, or says what is not understood; some may have been answered before,
    /// none of them falsely.
    pub async fn answer(&self, askers: &mut Askers, limit: Duration) -> Result<(), QueueError> {
        match tokio::time::timeout(limit, self.read(askers)).await {
            Ok(read) => read,
            Err(_) => Err(QueueError::Slow {
                what: WHAT,
                program: self.socket.clone(),
                limit,
            }),
        }
    }

    async fn read(&self, askers: &mut Askers) -> Result<(), QueueError> {
        let failed = |cause| QueueError::Start {
            program: self.socket.clone(),
            cause,
        };
        let mut stream = UnixStream::connect(&self.socket).await.map_err(failed)?;
        let mut listing = Listing::default();
        let mut octets = Vec::with_capacity(16 * 1024);
        loop {
            octets.clear();
            if stream.read_buf(&mut octets).await.map_err(failed)? == 0 {
                return listing.ended().map_err(|cause| self.strange(cause));
            }
            for octet in &octets {
                let recipient = listing.push(*octet).map_err(|cause| self.strange(cause))?;
                if recipient.is_some_and(|address| askers.found(&address) == ControlFlow::Break(()))
                {
                    return Ok(());
                }
            }
        }
    }

    fn strange(&self, cause: &str) -> QueueError {
        QueueError::Strange {
            what: WHAT,
            program: self.socket.clone(),
            cause: cause.to_owned(),
        }
    }
}

/// What showq says, octet by octet.
#[derive(Debug, Default)]
pub struct Listing {
    part: Vec<u8>,
    /// A name was read, its value is next.
    name: Option<Vec<u8>>,
    /// The list that is being read has an attribute.
    begun: bool,
    /// A list was read.
    later: bool,
    /// The message's queue.
    queue: Option<Vec<u8>>,
    over: bool,
}

impl Listing {
    /// Takes one octet; gives a recipient of a message that can be delivered.
    ///
    /// # Errors
    /// This is not what showq is known to say.
    pub fn push(&mut self, octet: u8) -> Result<Option<String>, &'static str> {
        if self.over {
            return Err("it goes on after its end");
        }
        if octet != 0 {
            if self.part.len() >= PART_LIMIT {
                return Err("a name or value is too long");
            }
            self.part.push(octet);
            return Ok(None);
        }
        let part = std::mem::take(&mut self.part);
        match self.name.take() {
            Some(name) => self.attribute(&name, part),
            None if part.is_empty() => self.end_of_list().map(|()| None),
            None => {
                self.name = Some(part);
                Ok(None)
            }
        }
    }

    /// Whether all was said.
    ///
    /// # Errors
    /// It was not.
    pub fn ended(&self) -> Result<(), &'static str> {
        if self.over {
            Ok(())
        } else {
            Err("it ends too early")
        }
    }

    fn attribute(&mut self, name: &[u8], value: Vec<u8>) -> Result<Option<String>, &'static str> {
        let first = !std::mem::replace(&mut self.begun, true);
        match name {
            b"protocol" if first && !self.later && value == b"mail_queue_list_protocol" => {
                // Stands for a message in the place of one, and has no recipients.
                self.queue = Some(Vec::new());
                Ok(None)
            }
            b"queue_name" if first => {
                self.queue = Some(value);
                Ok(None)
            }
            b"protocol" | b"queue_name" => Err("an attribute in a strange place"),
            b"recipient" => match self.queue.as_deref() {
                None => Err("a recipient without a message"),
                Some(b"hold") => Ok(None),
                Some(_) => Ok(Some(String::from_utf8_lossy(&value).into_owned())),
            },
            _ => Ok(None),
        }
    }

    fn end_of_list(&mut self) -> Result<(), &'static str> {
        if !self.begun {
            self.over = true;
            return Ok(());
        }
        if self.queue.take().is_none() {
            return Err("a message without a queue");
        }
        self.begun = false;
        self.later = true;
        Ok(())
    }
}
