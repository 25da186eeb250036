//! Who may ask: root, our own user, and the group of the socket.

use std::ffi::CString;

use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};
use tokio::net::UnixStream;
use tokio::net::unix::UCred;

/// Whether the process at the other end is listened to; `group` is that of the socket's file.
pub(super) fn may_ask(stream: &UnixStream, group: Gid) -> bool {
    let Ok(peer) = stream.peer_cred() else {
        return false;
    };
    let uid = Uid::from_raw(peer.uid());
    let allowed = uid.is_root() || uid == geteuid() || is_member(&peer, uid, group);
    if !allowed {
        tracing::warn!(
            uid = peer.uid(),
            "somebody asked on the control socket who may not"
        );
    }
    allowed
}

fn is_member(peer: &UCred, uid: Uid, group: Gid) -> bool {
    if Gid::from_raw(peer.gid()) == group {
        return true;
    }
    // Its other groups, as the system would give them to this user.
    let Ok(Some(user)) = User::from_uid(uid) else {
        return false;
    };
    let Ok(name) = CString::new(user.name) else {
        return false;
    };
    getgrouplist(&name, user.gid).is_ok_and(|groups| groups.contains(&group))
}
