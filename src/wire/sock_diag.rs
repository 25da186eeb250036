//! Asking the kernel for the state of one TCP connection by its two addresses: `sock_diag(7)`.
//!
//! `/proc/net/tcp` tells the same, but to print one connection the kernel walks through all buckets of its table,
//! which takes milliseconds; this is a single look into it.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;

/// `SOCK_DIAG_BY_FAMILY` of `linux/sock_diag.h`: the question's type, and that of an answer which is no error.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST` of `linux/netlink.h`.
const REQUEST: u16 = 1;
/// A netlink header and an `inet_diag_req_v2`, in octets.
const LENGTH: u32 = 16 + 56;
/// `TCP_ESTABLISHED` of `net/tcp_states.h`.
const ESTABLISHED: u8 = 1;

/// Whether the connection is established; `None` when the kernel cannot be asked this way. It does not tell a
/// connection that is gone from a kernel without this interface: both are `Some(false)`.
pub(super) fn is_established(local: SocketAddr, peer: SocketAddr) -> Option<bool> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )
    .ok()?;
    let kernel = NetlinkAddr::new(0, 0);
    sendto(
        netlink.as_raw_fd(),
        &question(local, peer)?,
        &kernel,
        MsgFlags::empty(),
    )
    .ok()?;
    // The kernel has answered before `sendto` returns.
    let mut answer = [0_u8; 512];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).ok()?;
    let answer = answer.get(..length)?;
    let kind = u16::from_ne_bytes([*answer.get(4)?, *answer.get(5)?]);
    // inet_diag_msg: family, then state.
    Some(kind == BY_FAMILY && *answer.get(17)? == ESTABLISHED)
}

fn question(local: SocketAddr, peer: SocketAddr) -> Option<Vec<u8>> {
    let family = if local.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    };
    let mut octets = Vec::new();
    // nlmsghdr: length, type, flags, sequence number, port.
    octets.extend(LENGTH.to_ne_bytes());
    octets.extend(BY_FAMILY.to_ne_bytes());
    octets.extend(REQUEST.to_ne_bytes());
    octets.extend([0; 8]);
    // inet_diag_req_v2: family, protocol (6 is TCP), no extensions, padding, all states.
    octets.extend([u8::try_from(family as i32).ok()?, 6, 0, 0]);
    octets.extend(u32::MAX.to_ne_bytes());
    // inet_diag_sockid: ports and addresses in network order, any interface, any cookie.
    octets.extend(local.port().to_be_bytes());
    octets.extend(peer.port().to_be_bytes());
    octets.extend(sixteen(local.ip()));
    octets.extend(sixteen(peer.ip()));
    octets.extend(0_u32.to_ne_bytes());
    octets.extend([0xFF; 8]);
    Some(octets)
}

fn sixteen(ip: IpAddr) -> [u8; 16] {
    let mut octets = [0; 16];
    match ip {
        IpAddr::V4(ip) => octets
            .iter_mut()
            .zip(ip.octets())
            .for_each(|(to, from)| *to = from),
        IpAddr::V6(ip) => octets = ip.octets(),
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::is_established;
    use std::net::{TcpListener, TcpStream};

    fn seen(host: &str) -> std::io::Result<(Option<bool>, Option<bool>)> {
        let listener = TcpListener::bind((host, 0))?;
        let client = TcpStream::connect(listener.local_addr()?)?;
        let (server, peer) = listener.accept()?;
        let local = server.local_addr()?;
        let open = is_established(local, peer);
        drop((client, server));
        Ok((open, is_established(local, peer)))
    }

    #[test]
    fn the_kernel_tells_an_open_connection_from_a_closed_one() {
        for host in ["127.0.0.1", "::1"] {
            assert_eq!(seen(host).ok(), Some((Some(true), Some(false))), "{host}");
        }
    }
}
