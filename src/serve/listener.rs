//! Listening sockets: bound while still root, any number of addresses.

use crate::service::listen;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// How many connections the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// An address that could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {cause} ({hint})")]
pub struct ListenError {
    address: SocketAddr,
    cause: io::Error,
    hint: &'static str,
}

/// Listens on every address, or on none.
///
/// # Errors
/// The first address that is refused.
pub(super) fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, ListenError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for &address in addresses {
        match listen::tcp(address, BACKLOG) {
            Ok(listener) => listeners.push(listener),
            // A machine without IPv6 still serves IPv4 when the wildcard default is in use.
            Err(cause)
                if address.is_ipv6()
                    && address.ip().is_unspecified()
                    && addresses.len() > 1
                    && cause.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) =>
            {
                tracing::warn!(%address, "no IPv6 on this machine, listening without it");
            }
            Err(cause) => {
                let hint = hint(&cause);
                return Err(ListenError {
                    address,
                    cause,
                    hint,
                });
            }
        }
    }
    Ok(listeners)
}

fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::AddrInUse => "another program listens there: see `ss -ltnp`",
        io::ErrorKind::PermissionDenied => "ports below 1024 need root at the start",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address",
        _ => "correct serve.listen",
    }
}

/// Lets the process hold as many connections as the system allows.
pub(super) fn raise_descriptor_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(errno) = raised {
        tracing::warn!(error = %errno, "cannot raise the limit of open files");
    }
}
