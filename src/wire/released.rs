//! A turned socket that nobody reads or writes any more: the value a mail server is given.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A connection out of our hands: blocking, nothing of the reversed session read or written by
/// us, owned once. Whoever holds this value decides who gets the descriptor; dropping it closes
/// the connection.
#[derive(Debug)]
pub struct Released {
    fd: OwnedFd,
    peer: SocketAddr,
    local: SocketAddr,
}

impl Released {
    pub(super) fn new(fd: OwnedFd, peer: SocketAddr, local: SocketAddr) -> Self {
        Self { fd, peer, local }
    }

    /// The peer's address and port.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Our own address and port on this connection.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The descriptor itself, given up by this value.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Released {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
