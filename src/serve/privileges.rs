//! Becoming the mail server's own user after the ports are bound, for good.
//!
//! Port 366 needs root to bind; nothing after that does. The hand-off needs the mail server's
//! user (its private sockets belong to it), so that is who we become. If that cannot be done,
//! or could be undone, the process does not go on.

use nix::unistd::{Uid, User, getegid, geteuid, initgroups, setgid, setuid};
use std::ffi::CString;
use std::io;

/// Why we did not become the other user.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// No such user.
    #[error("cannot become user {0}: no such user (set serve.user to the mail server's user)")]
    NoSuchUser(String),
    /// Not started as root, and the user is another one.
    #[error("cannot become user {wanted}: started as {is} (start as root or as {wanted})")]
    NotRoot {
        /// Who was asked for.
        wanted: String,
        /// Who we are.
        is: String,
    },
    /// The system refused, or root could be had back.
    #[error("cannot become user {user}: {cause} (refusing to go on as root)")]
    Refused {
        /// Who was asked for.
        user: String,
        /// What went wrong.
        cause: io::Error,
    },
}

/// Becomes `name` with its groups, and proves that root cannot be had back.
///
/// Must be called before the first thread is started.
///
/// # Errors
/// Each is a reason to stop: see [`PrivilegeError`].
pub(super) fn drop_to(name: &str) -> Result<(), PrivilegeError> {
    let refused = |cause: io::Error| PrivilegeError::Refused {
        user: name.to_owned(),
        cause,
    };
    let found = User::from_name(name).map_err(|errno| refused(errno.into()))?;
    let user = found.ok_or_else(|| PrivilegeError::NoSuchUser(name.to_owned()))?;
    let is = geteuid();
    if is == user.uid {
        return Ok(());
    }
    if !is.is_root() {
        let wanted = name.to_owned();
        return Err(PrivilegeError::NotRoot {
            wanted,
            is: user_name(is),
        });
    }
    let name_c = CString::new(name).map_err(|error| refused(error.into()))?;
    initgroups(&name_c, user.gid).map_err(|errno| refused(errno.into()))?;
    setgid(user.gid).map_err(|errno| refused(errno.into()))?;
    setuid(user.uid).map_err(|errno| refused(errno.into()))?;
    let became = geteuid() == user.uid && getegid() == user.gid;
    if !became || setuid(Uid::from_raw(0)).is_ok() {
        return Err(refused(io::Error::other("root can still be had back")));
    }
    Ok(())
}

/// The name of a user for a sentence.
pub(super) fn user_name(uid: Uid) -> String {
    match User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {uid}"),
    }
}
