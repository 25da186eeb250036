//! Customer: relay the turned connection to a mail server that listens somewhere.
//!
//! For mail servers on another host, and for those that take no descriptor. The mail server sees a connection from this
//! machine, and mail servers trust their own machine; so it is told by a PROXY header whose connection it is (rule C9).
//! A server that does not expect the header takes it for a bad command, goes on, and relays anything. So before ATRN:
//!
//! 1. It is dialled, and nothing is said for a while: a server that waits for the header is silent. One that greets, or
//!    closes, is refused.
//! 2. The header is sent, and the greeting must come: 220, and nothing behind it. A server that was only slow to greet
//!    answers the header as well, as the bad command that it takes it for, and is refused.
//! 3. That answer may be long in coming. So a second connection, which is closed then, is taken a step further: EHLO is
//!    said on it. Replies come in the order of the commands; the first one is the 250 to EHLO, or the server has taken the
//!    header for a command and is refused.
//!
//! The greeting is looked at and left in the kernel: the provider gets it after the turn, from the mail server itself.
//! The connection is kept for that; if it is lost until then, or has waited too long, another is made in the same way.

mod dial;
mod greeting;
mod header;
#[cfg(test)]
mod tests;

use super::HandoffError;
use crate::config::{MailServer, Proxy};
use crate::report::safe;
use crate::smtp::literal;
use crate::wire::{Far, RelayView, Relays, Wire};
use greeting::Greeting;
pub use header::header;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, timeout};

/// How long a mail server is listened to before the header is sent.
const SILENCE: Duration = Duration::from_millis(1500);

/// How long the whole of it may take: a mail server may look up names before it greets.
const TIME: Duration = Duration::from_secs(60);

/// How long a greeted connection is thought to be kept by the mail server: less than the five minutes that SMTP gives
/// a client for its first command (RFC 5321 4.5.3.2.7).
const FRESH: Duration = Duration::from_secs(240);

/// How long our last words to a provider may take.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// A mail server that has greeted, on a connection that is the provider's from now on.
#[derive(Debug)]
pub struct Ready {
    to: MailServer,
    proxy: Proxy,
    /// The provider's address and ours.
    ends: (SocketAddr, SocketAddr),
    /// How long each step may take.
    patience: Duration,
    opened: Option<Opened>,
}

/// A connection whose greeting lies in the kernel.
#[derive(Debug)]
struct Opened {
    far: Far,
    greeting: Greeting,
    fresh_until: Instant,
}

/// Before ATRN: dials the mail server, makes sure that it heeds the header, and waits for its greeting. `peer` and
/// `local` are the two ends of the provider's connection.
///
/// # Errors
/// The mail server is not there, or may not be used so, with what to do about it.
pub async fn prepare(
    to: &MailServer,
    proxy: Proxy,
    peer: SocketAddr,
    local: SocketAddr,
) -> Result<Ready, HandoffError> {
    prepare_within(TIME, to, proxy, (peer, local)).await
}

async fn prepare_within(
    patience: Duration,
    to: &MailServer,
    proxy: Proxy,
    ends: (SocketAddr, SocketAddr),
) -> Result<Ready, HandoffError> {
    let mut ready = Ready {
        to: to.clone(),
        proxy,
        ends,
        patience,
        opened: None,
    };
    ready.opened = Some(ready.open().await?);
    if proxy != Proxy::None {
        ready.prove().await?;
    }
    Ok(ready)
}

impl Ready {
    /// After the provider's 250: joins both connections. Where the mail server cannot be had any more the provider is
    /// greeted with 421, so that it keeps its mail (rule R26).
    ///
    /// # Errors
    /// The mail server was lost since, or the provider's connection.
    pub async fn commit(
        mut self,
        mut wire: Wire,
        relays: &Relays,
        hostname: &str,
    ) -> Result<RelayView, HandoffError> {
        let opened = match self.opened.take() {
            Some(opened) if opened.is_good().await => Ok(opened),
            Some(gone) => {
                gone.leave();
                tracing::debug!(to = %self.to, "dialled again, the first connection is lost");
                self.open().await
            }
            None => self.open().await,
        };
        match opened {
            Ok(opened) => {
                let carried = wire.carry_to(opened.far, relays).await;
                carried.map_err(|error| {
                    HandoffError::new(format!("cannot relay to {}: {error} (try later)", self.to))
                })
            }
            Err(error) => {
                // RFC 5321 3.8: 421 may greet.
                let said = format!(
                    "421 {hostname} Service not available, keep the mail and try later\r\n"
                );
                timeout(LAST_WORDS, wire.send(said.as_bytes())).await.ok();
                wire.close().await;
                Err(error)
            }
        }
    }

    async fn open(&self) -> Result<Opened, HandoffError> {
        let opening = self.opening();
        timeout(self.patience, opening).await.unwrap_or_else(|_| {
            let header = match self.proxy {
                Proxy::None => "",
                Proxy::V1 | Proxy::V2 => " although the PROXY header was sent",
            };
            Err(self.refused(
                &format!("it does not greet in {} s{header}", self.patience.as_secs()),
                "look at the mail server's log",
            ))
        })
    }

    /// On a connection of its own, since the real one is the provider's: is the header no command to the mail server?
    async fn prove(&self) -> Result<(), HandoffError> {
        let opened = self.open().await?;
        let answer = timeout(self.patience, opened.answer_to_ehlo(self.ends.1.ip())).await;
        opened.leave();
        let why = match answer {
            Ok(Ok(line)) if line.starts_with("250") => return Ok(()),
            Ok(Ok(line)) => format!(
                "behind the PROXY header it answers EHLO with {:?}, so it may have taken the header for a command",
                safe(&line).to_string()
            ),
            Ok(Err(error)) => format!("behind the PROXY header it does not answer EHLO: {error}"),
            Err(_) => format!(
                "behind the PROXY header it does not answer EHLO in {} s",
                self.patience.as_secs()
            ),
        };
        Err(self.refused(&why, "does it speak PROXY there, and this version of it?"))
    }

    async fn opening(&self) -> Result<Opened, HandoffError> {
        let mut far = dial::dial(&self.to)
            .await
            .map_err(|error| self.refused(&error.to_string(), "does it listen there?"))?;
        if let Some(header) = header(self.proxy, self.ends.0, self.ends.1) {
            self.is_silent(&far).await?;
            far.write_all(&header)
                .await
                .map_err(|error| self.refused(&error.to_string(), "does it speak PROXY there?"))?;
        }
        let greeting = Greeting::read(&far).await.map_err(|why| match self.proxy {
            Proxy::None => self.refused(&why, "look at the mail server's log"),
            Proxy::V1 | Proxy::V2 => self.refused(
                &format!("after the PROXY header {why}"),
                "does it speak PROXY there, and this version of it?",
            ),
        })?;
        Ok(Opened {
            far,
            greeting,
            fresh_until: Instant::now() + FRESH,
        })
    }

    /// A server that expects the header says nothing before it.
    async fn is_silent(&self, far: &Far) -> Result<(), HandoffError> {
        let Ok(heard) = timeout(SILENCE, far.look(0, greeting::LIMIT)).await else {
            return Ok(());
        };
        Err(match heard {
            Ok(_) => self.refused(
                "it greets without a PROXY header, so it would take the provider for this machine",
                "switch PROXY on for that port of the mail server, and only there",
            ),
            Err(error) => self.refused(
                &format!("it closes the connection before the PROXY header: {error}"),
                "does it let this machine connect?",
            ),
        })
    }

    fn refused(&self, cause: &str, advice: &str) -> HandoffError {
        HandoffError::new(format!("cannot relay to {}: {cause} ({advice})", self.to))
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // No mail, mostly.
        if let Some(opened) = self.opened.take() {
            opened.leave();
        }
    }
}

impl Opened {
    /// Is the mail server still there, and has it said nothing more?
    async fn is_good(&self) -> bool {
        Instant::now() < self.fresh_until
            && !self.far.is_closed().await
            && self.greeting.is_alone(&self.far).await
    }

    /// Says EHLO, and gives the first line that comes then.
    async fn answer_to_ehlo(&self, own: IpAddr) -> io::Result<String> {
        let hello = format!("EHLO {}\r\n", literal(own));
        self.far.say(hello.as_bytes())?;
        let mut seen = self.greeting.length();
        loop {
            let all = self.far.look(seen, greeting::LIMIT).await?;
            let answer = all.get(self.greeting.length()..).unwrap_or_default();
            if let Some(end) = answer.iter().position(|octet| *octet == b'\n') {
                let line = answer.get(..end).unwrap_or_default();
                return Ok(String::from_utf8_lossy(line).trim_end().to_owned());
            }
            seen = all.len();
            if seen >= greeting::LIMIT {
                return Err(io::Error::other("its answer has no end"));
            }
        }
    }

    /// Says QUIT, so that the mail server's log shows no lost connection; a server that has gone needs none.
    fn leave(self) {
        self.far.say(b"QUIT\r\n").ok();
    }
}
