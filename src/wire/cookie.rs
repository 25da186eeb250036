//! The kernel's own number for a socket: `SO_COOKIE`, socket(7).

use std::os::fd::AsFd;

// The macro below speaks of `libc` by this name.
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;

/// `SO_COOKIE`.
#[derive(Debug, Clone, Copy)]
struct SocketCookie;

nix::getsockopt_impl!(
    SocketCookie,
    libc::SOL_SOCKET,
    libc::SO_COOKIE,
    u64,
    GetStruct<u64>
);

/// The number of this socket, which no other has as long as the machine runs; `None` if the kernel has none to give.
pub(super) fn cookie(socket: &impl AsFd) -> Option<u64> {
    getsockopt(socket, SocketCookie).ok()
}
