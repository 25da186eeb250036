//! Owning a descriptor of which only the number is known.
//!
//! Numbers 0, 1 and 2 have a name in the standard library, which can copy them. A service manager's begin with 3. The
//! kernel gives a descriptor that comes over a socket the lowest free number: so 0 is freed, the descriptor sent to
//! ourselves, and copied from there.

use super::{inherited, stdio};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};
use nix::unistd::close;
use sendfd::SendWithFd;
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Makes the descriptor of this number our own, closed on exec; the number itself is free again. Descriptor 0 is
/// `/dev/null` afterwards.
///
/// Only before the first thread: a file that another one opens meanwhile would get the number 0.
///
/// # Errors
/// When there is no such descriptor, or none is left.
pub(super) fn own(number: RawFd) -> io::Result<OwnedFd> {
    let (near, far) = UnixStream::pair()?;
    near.send_with_fd(&[0], &[number])?;
    drop(near);
    // That it was closed is as good.
    close(io::stdin().as_raw_fd()).ok();
    let owned = receive(&far).and_then(|()| io::stdin().as_fd().try_clone_to_owned());
    stdio::silence_stdin()?;
    let owned = owned?;
    close(number)?;
    inherited::forget(number);
    Ok(owned)
}

/// Takes the descriptor off the socket, at the number 0.
fn receive(far: &UnixStream) -> io::Result<()> {
    let mut octet = [0];
    let mut slices = [IoSliceMut::new(&mut octet)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let message = recvmsg::<()>(
        far.as_raw_fd(),
        &mut slices,
        Some(&mut space),
        MsgFlags::MSG_CMSG_CLOEXEC,
    )?;
    let numbers: Vec<RawFd> = message
        .cmsgs()?
        .filter_map(|message| match message {
            ControlMessageOwned::ScmRights(numbers) => Some(numbers),
            _ => None,
        })
        .flatten()
        .collect();
    if numbers == [io::stdin().as_raw_fd()] {
        return Ok(());
    }
    for number in numbers {
        close(number).ok();
    }
    Err(io::Error::other("it did not come at the lowest number"))
}
