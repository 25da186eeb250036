//! Seeing a connection end that others hold: by its two addresses, in the kernel's own table.
//!
//! After the hand-off no descriptor is kept (a copy would delay the mail server's close and make
//! the provider wait), yet the operator wants to know how long the session took. The kernel
//! is asked for this one connection, and where it does not know it that way, its list of all
//! TCP connections of this network namespace is read: `/proc/net/tcp` and `tcp6`.
//! A connection that a relay of this process carries is seen there.

use super::relay::RelayView;
use super::sock_diag;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// The kernel's number for an established connection (`include/net/tcp_states.h`).
const ESTABLISHED: &str = "01";

/// How the watch ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Followed {
    /// The connection is no longer established: the session is over.
    Ended,
    /// It was still there at the time limit.
    StillOpen,
    /// The table cannot be read here.
    Unseen,
}

/// What can still be seen of a connection whose descriptor is somebody else's.
#[derive(Debug, Clone)]
pub enum View {
    /// The TCP connection with these addresses.
    Socket {
        /// Ours.
        local: SocketAddr,
        /// The peer's.
        peer: SocketAddr,
        /// The kernel's own number for it, which no other connection ever has.
        cookie: Option<u64>,
    },
    /// The relay that carries it.
    Relay(RelayView),
}

/// What can be seen of it at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// Neither side has closed.
    pub open: bool,
    /// Octets that came from the peer: all of the TCP connection, or those that went through the relay.
    pub received: u64,
    /// Octets that the peer has taken, likewise.
    pub sent: u64,
    /// The time to the peer and back.
    pub round_trip: Duration,
    /// For how long nothing has moved.
    pub quiet: Duration,
}

impl View {
    /// Looks at it once; `None` when it is over, or when the kernel does not tell its figures.
    #[must_use]
    pub fn look(&self) -> Option<Sight> {
        match self {
            Self::Socket {
                local,
                peer,
                cookie,
            } => {
                let told = sock_diag::ask(*local, *peer, *cookie)??;
                let info = told.info?;
                Some(Sight {
                    open: told.established,
                    received: info.received,
                    sent: info.sent,
                    round_trip: info.round_trip,
                    quiet: info.quiet,
                })
            }
            Self::Relay(relay) => Some(Sight {
                open: relay.is_open(),
                received: relay.received(),
                sent: relay.sent(),
                round_trip: relay.round_trip(),
                quiet: relay.quiet(),
            }),
        }
    }

    /// Neither side has closed; `None` where nobody can tell.
    #[must_use]
    pub fn is_open(&self) -> Option<bool> {
        match self {
            Self::Socket { local, peer, .. } => is_established(*local, *peer),
            Self::Relay(relay) => Some(relay.is_open()),
        }
    }

    /// Watches until the session is over. A relay is over when it has carried everything to its end: a process that
    /// ends before takes the last octets with it.
    pub async fn until_closed(&self, limit: Duration) -> Followed {
        match self {
            Self::Socket { local, peer, .. } => until_closed(*local, *peer, limit).await,
            Self::Relay(relay) => match timeout(limit, relay.ended()).await {
                Ok(_) => Followed::Ended,
                Err(_) => Followed::StillOpen,
            },
        }
    }
}

/// Watches the connection between `local` and `peer` until it is no longer established.
pub async fn until_closed(local: SocketAddr, peer: SocketAddr, limit: Duration) -> Followed {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(20);
    loop {
        match is_established(local, peer) {
            None => return Followed::Unseen,
            Some(false) => return Followed::Ended,
            Some(true) if Instant::now() >= deadline => return Followed::StillOpen,
            Some(true) => {}
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

/// Whether the connection is established; `None` where the kernel's table cannot be read.
#[must_use]
pub fn is_established(local: SocketAddr, peer: SocketAddr) -> Option<bool> {
    match sock_diag::is_established(local, peer) {
        Some(true) => Some(true),
        // Gone, or a kernel that cannot say: the list tells which.
        Some(false) | None => is_listed(local, peer),
    }
}

fn is_listed(local: SocketAddr, peer: SocketAddr) -> Option<bool> {
    let table = if local.is_ipv6() {
        "/proc/net/tcp6"
    } else {
        "/proc/net/tcp"
    };
    let text = fs::read_to_string(table).ok()?;
    let (local, peer) = (kernel_form(local), kernel_form(peer));
    let found = text.lines().skip(1).any(|row| {
        let mut columns = row.split_ascii_whitespace().skip(1);
        columns.next() == Some(local.as_str())
            && columns.next() == Some(peer.as_str())
            && columns.next() == Some(ESTABLISHED)
    });
    Some(found)
}

/// An address as the kernel prints it: each 32-bit word of it in host order, in hexadecimal.
fn kernel_form(address: SocketAddr) -> String {
    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut form = String::with_capacity(38);
    for word in octets.chunks_exact(4) {
        let word = <[u8; 4]>::try_from(word).unwrap_or_default();
        form.push_str(&format!("{:08X}", u32::from_ne_bytes(word)));
    }
    form.push_str(&format!(":{:04X}", address.port()));
    form
}

#[cfg(test)]
mod tests {
    use super::{Followed, until_closed};
    use std::net::TcpListener;
    use std::time::Duration;

    fn watch(host: &str) -> std::io::Result<(Followed, Followed)> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let listener = TcpListener::bind((host, 0))?;
        let client = std::net::TcpStream::connect(listener.local_addr()?)?;
        let (server, peer) = listener.accept()?;
        let local = server.local_addr()?;
        let before = runtime.block_on(until_closed(local, peer, Duration::ZERO));
        drop(client);
        drop(server);
        let after = runtime.block_on(until_closed(local, peer, Duration::from_secs(5)));
        Ok((before, after))
    }

    #[test]
    fn an_open_ipv4_connection_is_seen_and_its_end_as_well() {
        let seen = watch("127.0.0.1").ok();
        assert_eq!(seen, Some((Followed::StillOpen, Followed::Ended)));
    }

    #[test]
    fn an_open_ipv6_connection_is_seen_and_its_end_as_well() {
        let seen = watch("::1").ok();
        assert_eq!(seen, Some((Followed::StillOpen, Followed::Ended)));
    }
}
