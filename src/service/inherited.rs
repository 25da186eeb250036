//! Descriptors that whoever started us left open: the mail server must not get them.
//!
//! Everything this program opens is closed on exec, but what it was started with is not. It cannot
//! be closed at the start, since a password may come from there (`--password-file <(command)`), or
//! the sockets to serve.

use std::fs;
use std::os::fd::RawFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

const DESCRIPTORS: &str = "/proc/self/fd";

static INHERITED: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Notes what is open. To be called before anything is opened that is to stay.
pub fn note() {
    let Ok(entries) = fs::read_dir(DESCRIPTORS) else {
        return;
    };
    let open: Vec<RawFd> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter(|descriptor| *descriptor > 2)
        .collect();
    // The directory itself was among them, and is closed by now.
    let still_open = open.into_iter().filter(|descriptor| {
        let link = Path::new(DESCRIPTORS).join(descriptor.to_string());
        fs::read_link(link).is_ok()
    });
    let mut inherited = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    *inherited = still_open.collect();
}

/// One of them is closed now, and its number may be anybody's.
pub(super) fn forget(number: RawFd) {
    let mut inherited = INHERITED.lock().unwrap_or_else(PoisonError::into_inner);
    inherited.retain(|one| *one != number);
}

/// Closes them; a second call finds nothing to do.
pub fn close() {
    let inherited = std::mem::take(&mut *INHERITED.lock().unwrap_or_else(PoisonError::into_inner));
    for descriptor in inherited {
        if let Err(errno) = nix::unistd::close(descriptor) {
            tracing::debug!(descriptor, error = %errno, "cannot close what was inherited");
        }
    }
}
