//! Descriptors 0, 1 and 2, of which each may be the connection.

use nix::sys::stat::fstat;
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};
use socket2::{Domain, SockRef, Type};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

const NOTHING: &str = "/dev/null";

/// Is this descriptor a connection with a peer on the network? Nothing that is not SMTP may be written there.
#[must_use]
pub fn is_connection(descriptor: BorrowedFd<'_>) -> bool {
    let socket = SockRef::from(&descriptor);
    // Anything but a socket has neither.
    let kind = (socket.domain().ok(), socket.r#type().ok());
    matches!(
        kind,
        (Some(Domain::IPV4 | Domain::IPV6), Some(Type::STREAM))
    ) && !socket.is_listener().unwrap_or(true)
}

/// Is one of descriptors 0, 1 and 2 a connection with a peer on the network?
#[must_use]
pub fn is_started_on_a_connection() -> bool {
    is_connection(io::stdin().as_fd())
        || is_connection(io::stdout().as_fd())
        || is_connection(io::stderr().as_fd())
}

/// Descriptor 0 is the connection no more: `/dev/null` stands in its place, for programs that we start.
pub(super) fn silence_stdin() -> io::Result<()> {
    Ok(dup2_stdin(File::open(NOTHING)?)?)
}

/// Puts `/dev/null` in the place of each of the three that is this socket, so that nothing is written to it by
/// mistake: no panic, no library's complaint.
pub(super) fn silence(connection: BorrowedFd<'_>) -> io::Result<()> {
    let nothing = File::options().read(true).write(true).open(NOTHING)?;
    let known = identity(connection);
    let is_it = |descriptor: BorrowedFd<'_>| known.is_some() && identity(descriptor) == known;
    if is_it(io::stdin().as_fd()) {
        dup2_stdin(&nothing)?;
    }
    if is_it(io::stdout().as_fd()) {
        dup2_stdout(&nothing)?;
    }
    if is_it(io::stderr().as_fd()) {
        dup2_stderr(&nothing)?;
    }
    Ok(())
}

/// What two descriptors of one socket have in common.
fn identity(descriptor: BorrowedFd<'_>) -> Option<(u64, u64)> {
    let facts = fstat(descriptor).ok()?;
    Some((facts.st_dev, facts.st_ino))
}
