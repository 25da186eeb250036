//! The end of TLS on a socket whose TLS the kernel does: the `close_notify` alert (RFC 8446 6.1).
//!
//! A record that is not data is sent with its type in a control message of `sendmsg(2)`, level `SOL_TLS`, type
//! `TLS_SET_RECORD_TYPE`. No library in the tree can build that message for sending (nix can for receiving), so the
//! call is made here. It is the only place in the program with `unsafe`, and it stands alone for that reason.

use nix::errno::Errno;
use nix::libc;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The type of an alert record.
const ALERT: u8 = 21;
/// Level "warning", description "`close_notify`".
const CLOSE_NOTIFY: [u8; 2] = [1, 0];

/// Room for one control message with one octet in it, aligned as the kernel wants it: 24 octets on 64-bit Linux,
/// of which `CMSG_LEN(1)` are used.
#[repr(C)]
struct Control {
    head: libc::cmsghdr,
    record_type: u8,
    padding: [u8; 7],
}

/// Sends `close_notify` without waiting: when there is no room for it, nobody reads it either.
///
/// # Errors
/// The socket is closed already, or full, or its TLS is not the kernel's.
pub(super) fn send(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut alert = CLOSE_NOTIFY;
    let mut slice = libc::iovec {
        iov_base: alert.as_mut_ptr().cast(),
        iov_len: alert.len(),
    };
    // SAFETY: CMSG_LEN only computes with its argument.
    let length = unsafe { libc::CMSG_LEN(1) };
    // SAFETY: a cmsghdr is integers only (on some systems with padding): all zeros is one.
    let mut head: libc::cmsghdr = unsafe { std::mem::zeroed() };
    head.cmsg_len = length as _;
    head.cmsg_level = libc::SOL_TLS;
    head.cmsg_type = libc::TLS_SET_RECORD_TYPE;
    let mut control = Control {
        head,
        record_type: ALERT,
        padding: [0; 7],
    };
    // SAFETY: a msghdr is integers and pointers: all zeros is one without address, octets and control message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut slice;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = length as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `socket` is open as long as it is borrowed. `message` leads to `slice`, which leads to `alert`, and to
    // `control`, of which `length` octets lie inside it (its octet of data follows the head, whose size is a multiple
    // of its alignment, so that CMSG_DATA is `record_type`). All of them live until the call is over, and the kernel
    // only reads them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, flags) };
    Errno::result(sent)?;
    Ok(())
}
