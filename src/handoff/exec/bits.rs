//! A set-user-ID bit, which is nothing where new privileges are forbidden.

use nix::sys::prctl::get_no_new_privs;
use nix::unistd::{Uid, User};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// `S_ISUID`, for the mode of a file.
const SET_USER_ID: u32 = 0o4000;

/// Says in the log that the program will not become its owner. Exim takes mail all the same then, and leaves the
/// delivery to its daemon.
pub(super) fn warn_if_void(program: &Path, user: Option<&User>) {
    let uid = user.map_or_else(Uid::effective, |user| user.uid);
    let becomes = fs::metadata(program)
        .is_ok_and(|file| file.mode() & SET_USER_ID != 0 && file.uid() != uid.as_raw());
    if becomes && get_no_new_privs() == Ok(true) {
        tracing::warn!(
            program = %program.display(),
            "the mail server's set-user-ID bit has no effect here, so it may not be able to deliver what it takes: whoever started turnabout forbade new privileges (with systemd see turnabout check)"
        );
    }
}
