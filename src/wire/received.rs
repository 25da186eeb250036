//! A connection that another process has let go of: what it says of it is held against the descriptor.
//!
//! A mail server asks its descriptor who the peer is and decides by the answer what may be relayed (rule C9), so a
//! descriptor that is something else than was said must not reach it: a pipe makes a user of this machine of the peer.

use super::canonical;
use super::released::{Carriage, Released};
use nix::sys::socket::{SockType, getsockopt, sockopt};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;

/// Why a descriptor is not what was said of it. Each is a phrase for the operator.
#[derive(Debug, thiserror::Error)]
pub enum Unfit {
    /// A file, a pipe, or a socket of another kind.
    #[error("the descriptor is {0}")]
    Kind(&'static str),
    /// The addresses are others.
    #[error("the descriptor's {whose} address is {is}, not {said}")]
    Address {
        /// `peer` or `own`.
        whose: &'static str,
        /// What was said.
        said: SocketAddr,
        /// What it is.
        is: SocketAddr,
    },
    /// The system cannot say; the peer may have gone.
    #[error("the descriptor cannot be looked at: {0}")]
    Unknown(#[from] io::Error),
}

/// The TCP connection between `peer` and `local`; with `in_kernel` the kernel has its TLS.
///
/// # Errors
/// It is not that connection.
pub fn tcp(
    fd: OwnedFd,
    peer: SocketAddr,
    local: SocketAddr,
    in_kernel: bool,
) -> Result<Released, Unfit> {
    connected_stream(&fd)?;
    let stream = TcpStream::from(fd);
    // Another family than TCP/IP has no address to give.
    let none = |_| Unfit::Kind("no connected TCP socket");
    for (whose, said, is) in [
        ("peer", peer, stream.peer_addr().map_err(none)?),
        ("own", local, stream.local_addr().map_err(none)?),
    ] {
        if canonical(said) != canonical(is) {
            return Err(Unfit::Address { whose, said, is });
        }
    }
    stream.set_nonblocking(false)?;
    let carriage = if in_kernel {
        Carriage::Kernel
    } else {
        Carriage::Plain
    };
    Ok(Released::new(stream.into(), (peer, local), carriage, None))
}

/// The mail server's end of another process's relay.
///
/// # Errors
/// It is no connected Unix socket.
pub fn relay_end(fd: OwnedFd) -> Result<OwnedFd, Unfit> {
    connected_stream(&fd)?;
    let stream = UnixStream::from(fd);
    if stream.local_addr().is_err() || stream.peer_addr().is_err() {
        return Err(Unfit::Kind("no connected Unix socket"));
    }
    stream.set_nonblocking(false)?;
    Ok(stream.into())
}

fn connected_stream(fd: &impl AsFd) -> Result<(), Unfit> {
    match getsockopt(fd, sockopt::SockType) {
        Ok(SockType::Stream) => {}
        Ok(_) => return Err(Unfit::Kind("no stream socket")),
        Err(_) => return Err(Unfit::Kind("no socket")),
    }
    if getsockopt(fd, sockopt::AcceptConn).map_err(io::Error::from)? {
        return Err(Unfit::Kind("a listening socket"));
    }
    Ok(())
}
