//! Letting go: the connection leaves this program's hands, whole.
//!
//! Under TLS it can go in two ways. The kernel takes the keys, and the mail server gets the socket itself
//! ([`Wire::into_kernel`]); or a relay of this process goes on encrypting, and the mail server gets one end of a
//! socket pair ([`Wire::release`] does that by itself). [`Wire::way`] says which of them is possible.

use super::kernel_tls::{self, KernelTls};
use super::record::RecordIo;
use super::relay::{Far, RelayView, Relays};
use super::stream::Stream;
use super::{Carriage, Released, TcpInfo, Wire, WireError};
use crate::tls::{HandoffTls, Version};
use rustls::{ExtractedSecrets, ProtocolVersion};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

/// Why a session of another version stays out of the kernel.
const TOO_OLD: &str = "only TLS 1.3 can go to the kernel";

/// How a connection can be given to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// As it is, without TLS.
    Plain,
    /// The kernel can take the keys.
    Kernel,
    /// A relay must go on encrypting, for this reason.
    Relay(&'static str),
}

impl Way {
    /// The word in the log.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Kernel => "kernel",
            Self::Relay(_) => "relay",
        }
    }
}

/// The kernel has not taken the keys.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct Uncommitted {
    /// The session, unharmed, for a relay; `None` when the attempt has cost it.
    pub wire: Option<Wire>,
    /// What stood in the way.
    pub why: WireError,
}

impl Wire {
    /// How the connection could go, as things stand; nothing is changed by asking. Whole records that carry no
    /// content (tickets, new keys) are taken and answered.
    pub async fn way(&mut self, wish: HandoffTls, support: &KernelTls) -> Way {
        match &self.stream {
            Stream::Plain(_) | Stream::Failed(_) | Stream::Gone => return Way::Plain,
            Stream::Kernel(_) => return Way::Kernel,
            Stream::Tls(_) => {}
        }
        if wish == HandoffTls::Relay {
            return Way::Relay("the configuration says so");
        }
        let Some(facts) = &self.facts else {
            return Way::Relay("nothing is known of the handshake");
        };
        if facts.version != Version::Tls13 {
            return Way::Relay(TOO_OLD);
        }
        if *support == KernelTls::none() {
            return Way::Relay("the kernel has no TLS");
        }
        if !support.carries(facts.cipher) {
            return Way::Relay("the kernel does not have this cipher");
        }
        self.obstacle().await.map_or(Way::Kernel, Way::Relay)
    }

    /// What keeps the keys from being taken at this moment.
    async fn obstacle(&mut self) -> Option<&'static str> {
        if !self.reader.is_empty() {
            return Some("part of a line was already read");
        }
        match self.pending().await {
            Ok(false) => {}
            Ok(true) => return Some("octets of the peer's were already read"),
            Err(_) => return Some("the connection is lost"),
        }
        let Stream::Tls(stream) = &mut self.stream else {
            return Some("there is no TLS of ours on it");
        };
        if !stream.get_ref().0.at_boundary() {
            return Some("part of a TLS record was already read");
        }
        let state = match &mut **stream {
            TlsStream::Client(stream) => stream.get_mut().1.process_new_packets(),
            TlsStream::Server(stream) => stream.get_mut().1.process_new_packets(),
        };
        match state {
            Ok(state) if state.peer_has_closed() => return Some("the peer has closed"),
            Ok(state) if state.plaintext_bytes_to_read() > 0 => {
                return Some("octets of the peer's were already read");
            }
            Ok(_) => {}
            Err(_) => return Some("the connection is lost"),
        }
        let wants_write = stream.get_ref().1.wants_write();
        wants_write.then_some("the peer does not take what TLS has to say")
    }

    /// Gives the keys to the kernel. What comes of it is a wire like one without TLS, and the kernel encrypts.
    ///
    /// The provider does this before its 250, so that nothing of the customer's can be under way; the customer after
    /// it has read the 250.
    ///
    /// # Errors
    /// [`Uncommitted`]: with the wire as long as nothing has changed, without it when the session is lost.
    pub async fn into_kernel(mut self) -> Result<Self, Box<Uncommitted>> {
        // Before anything else: what would come of other versions stands in `kernel_tls`.
        if self.facts.as_ref().map(|facts| facts.version) != Some(Version::Tls13) {
            return Err(unharmed(self, io::Error::other(TOO_OLD)));
        }
        if let Some(why) = self.obstacle().await {
            return Err(unharmed(self, io::Error::other(why)));
        }
        // It cannot be taken back, but a socket without keys reads and writes as before.
        if let Some(Err(error)) = self.stream.socket().map(kernel_tls::attach) {
            return Err(unharmed(self, error));
        }
        let stream = match self.stream {
            Stream::Tls(stream) => stream,
            other => {
                self.stream = other;
                let why = io::Error::other("there is no TLS of ours on it");
                return Err(unharmed(self, why));
            }
        };
        let lost = |why: WireError| Box::new(Uncommitted { wire: None, why });
        let (stream, version, secrets) = extract(*stream).map_err(lost)?;
        kernel_tls::install(&stream, version, &secrets).map_err(|error| lost(error.into()))?;
        self.stream = Stream::Kernel(stream);
        Ok(self)
    }

    /// Has the kernel taken the keys?
    #[must_use]
    pub fn is_in_kernel(&self) -> bool {
        matches!(self.stream, Stream::Kernel(_))
    }

    /// Lets go of the connection, ready for a mail server: a blocking descriptor, nothing taken from it. Under TLS of
    /// this process a relay is started, and the descriptor is the mail server's end of it.
    ///
    /// # Errors
    /// [`WireError::PartialLine`] when an unfinished line was taken, [`WireError::Broken`]
    /// when the socket refuses; the connection is closed then.
    pub async fn release(self, relays: &Relays) -> Result<Released, WireError> {
        if !self.reader.is_empty() {
            return Err(WireError::PartialLine);
        }
        let (fd, carriage) = match self.stream {
            Stream::Plain(stream) => (blocking(stream)?, Carriage::Plain),
            Stream::Kernel(stream) => (blocking(stream)?, Carriage::Kernel),
            Stream::Tls(mut stream) => {
                let io = stream.get_mut().0;
                io.read_ahead();
                let round_trip = TcpInfo::look(io.stream()).map(|info| info.round_trip);
                let round_trip = round_trip.unwrap_or(Duration::ZERO);
                let (fd, view) = relays.start(*stream, self.peer, round_trip)?;
                (fd, Carriage::Relay(view))
            }
            Stream::Failed(_) | Stream::Gone => return Err(WireError::Closed),
        };
        let addresses = (self.peer, self.local);
        Ok(Released::new(fd, addresses, carriage, self.facts))
    }

    /// Carries the connection from here to a mail server that was reached on a socket of its own: by splice(2) where
    /// there is no TLS, else by a relay that goes on encrypting. The keys must not be with the kernel.
    ///
    /// # Errors
    /// [`WireError::PartialLine`] when an unfinished line was taken, [`WireError::Broken`] when the system gives no
    /// pipes, [`WireError::Closed`] when there is no connection that could be carried; both ends are closed then.
    pub async fn carry_to(self, mail_server: Far, relays: &Relays) -> Result<RelayView, WireError> {
        if !self.reader.is_empty() {
            return Err(WireError::PartialLine);
        }
        let mail_server = mail_server.anew()?;
        let round_trip = |socket: &TcpStream| {
            TcpInfo::look(socket).map_or(Duration::ZERO, |info| info.round_trip)
        };
        match self.stream {
            Stream::Plain(stream) => {
                let round_trip = round_trip(&stream);
                Ok(relays.splice(stream, mail_server, self.peer, round_trip)?)
            }
            Stream::Tls(mut stream) => {
                let io = stream.get_mut().0;
                io.read_ahead();
                let round_trip = round_trip(io.stream());
                Ok(relays.join(*stream, mail_server, self.peer, round_trip))
            }
            Stream::Kernel(_) | Stream::Failed(_) | Stream::Gone => Err(WireError::Closed),
        }
    }
}

fn unharmed(wire: Wire, why: io::Error) -> Box<Uncommitted> {
    Box::new(Uncommitted {
        wire: Some(wire),
        why: why.into(),
    })
}

/// Takes TLS apart: what remains are the socket, the version as the session itself knows it, and the keys of both
/// directions with their record numbers.
fn extract(
    stream: TlsStream<RecordIo>,
) -> Result<(TcpStream, Version, ExtractedSecrets), WireError> {
    if stream.get_ref().1.protocol_version() != Some(ProtocolVersion::TLSv1_3) {
        return Err(WireError::Tls(TOO_OLD.to_owned()));
    }
    let (io, secrets) = match stream {
        TlsStream::Client(stream) => {
            let (io, session) = stream.into_inner();
            (io, session.dangerous_extract_secrets())
        }
        TlsStream::Server(stream) => {
            let (io, session) = stream.into_inner();
            (io, session.dangerous_extract_secrets())
        }
    };
    let secrets = secrets.map_err(|error| WireError::Tls(error.to_string()))?;
    Ok((io.into_stream(), Version::Tls13, secrets))
}

/// As a mail server would have its socket.
fn blocking(stream: TcpStream) -> Result<OwnedFd, WireError> {
    let stream = stream.into_std()?;
    stream.set_nonblocking(false)?;
    // Its writes are parts of a message, not replies.
    stream.set_nodelay(false)?;
    Ok(OwnedFd::from(stream))
}
