//! Who takes the connections at the socket: whoever listens there is given mail, so nobody is by accident.

use super::HandoffError;
use nix::sys::socket::{getsockopt, sockopt};
use nix::unistd::geteuid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use tokio::net::UnixStream;

/// The kernel's default for users of other namespaces.
const OVERFLOW: u32 = 65534;

/// The number by which the kernel shows every user of another user namespace: it is nobody's.
#[must_use]
pub fn everybody() -> u32 {
    fs::read_to_string("/proc/sys/kernel/overflowuid")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(OVERFLOW)
}

/// Is it the user that may? Asked of the kernel, which knows who began to listen there.
///
/// Without `wanted` these are root, we, and the owner of the socket's directory, who could put any socket there.
pub(super) fn check(
    stream: &UnixStream,
    socket: &Path,
    wanted: Option<u32>,
) -> Result<(), HandoffError> {
    let cannot =
        |why: String| HandoffError::new(format!("cannot hand over at {}: {why}", socket.display()));
    let uid = getsockopt(stream, sockopt::PeerCredentials)
        .map_err(|errno| cannot(format!("it cannot be seen who listens there: {errno}")))?
        .uid();
    if uid == everybody() {
        return Err(cannot(format!(
            "the kernel shows every user of another user namespace as {uid}, also the one who listens there (start both containers with the same mapping of users)"
        )));
    }
    let allowed = match wanted {
        Some(wanted) => uid == wanted,
        None => uid == 0 || uid == geteuid().as_raw() || Some(uid) == owner(socket),
    };
    if allowed {
        return Ok(());
    }
    Err(cannot(format!(
        "user {uid} listens there, who may not take the mail (if that is turnabout catch, say receiver_uid = {uid})"
    )))
}

fn owner(socket: &Path) -> Option<u32> {
    let facts = fs::metadata(socket.parent()?).ok()?;
    Some(facts.uid())
}
