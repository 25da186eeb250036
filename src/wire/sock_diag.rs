//! Asking the kernel for the state of one TCP connection by its two addresses: `sock_diag(7)`.
//!
//! `/proc/net/tcp` tells the same, but to print one connection the kernel walks through all buckets of its table,
//! which takes milliseconds; this is a single look into it.

use super::TcpInfo;
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
/// A netlink header and an `inet_diag_msg`: behind them stand the attributes of an answer.
const HEAD: usize = 16 + 72;
/// `TCP_ESTABLISHED` of `net/tcp_states.h`.
const ESTABLISHED: u8 = 1;

/// `INET_DIAG_INFO` of `linux/inet_diag.h`: the `tcp_info` of the connection; what is asked for is a bit, from 0 on.
const INFO: u16 = 2;
/// A cookie that any connection has: `INET_DIAG_NOCOOKIE`, twice.
const ANY: u64 = u64::MAX;

/// What the kernel tells of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Both sides can still send.
    pub(super) established: bool,
    /// Its figures, if the kernel gives them.
    pub(super) info: Option<TcpInfo>,
}

/// Whether the connection is established; `None` when the kernel cannot be asked this way. It does not tell a
/// connection that is gone from a kernel without this interface: both are `Some(false)`.
pub(super) fn is_established(local: SocketAddr, peer: SocketAddr) -> Option<bool> {
    let told = ask(local, peer, None)?;
    Some(told.is_some_and(|told| told.established))
}

/// Asks for one connection; with a cookie for no other that may have the same addresses since. Outside `None`: the
/// kernel cannot be asked. Inside: it knows no such connection.
pub(super) fn ask(
    local: SocketAddr,
    peer: SocketAddr,
    cookie: Option<u64>,
) -> Option<Option<Told>> {
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
        &question(local, peer, cookie)?,
        &kernel,
        MsgFlags::empty(),
    )
    .ok()?;
    // The kernel has answered before `sendto` returns.
    let mut answer = [0_u8; 2048];
    let length = recv(netlink.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT).ok()?;
    let answer = answer.get(..length)?;
    let kind = u16::from_ne_bytes([*answer.get(4)?, *answer.get(5)?]);
    if kind != BY_FAMILY {
        return Some(None);
    }
    Some(Some(Told {
        // inet_diag_msg: family, then state.
        established: *answer.get(17)? == ESTABLISHED,
        info: answer.get(HEAD..).and_then(info),
    }))
}

/// The figures among the attributes: each is length, type, octets, and padding to four.
fn info(mut attributes: &[u8]) -> Option<TcpInfo> {
    loop {
        let field = |at| {
            Some(u16::from_ne_bytes([
                *attributes.get(at)?,
                *attributes.get(at + 1)?,
            ]))
        };
        let (length, kind) = (usize::from(field(0)?), field(2)?);
        if kind == INFO {
            return TcpInfo::from_octets(attributes.get(4..length)?);
        }
        // A length that leads nowhere is no attribute.
        let next = length
            .checked_next_multiple_of(4)
            .filter(|next| *next >= 4)?;
        attributes = attributes.get(next..)?;
    }
}

fn question(local: SocketAddr, peer: SocketAddr, cookie: Option<u64>) -> Option<Vec<u8>> {
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
    // inet_diag_req_v2: family, protocol (6 is TCP), extensions, padding, all states.
    octets.extend([u8::try_from(family as i32).ok()?, 6, 1 << (INFO - 1), 0]);
    octets.extend(u32::MAX.to_ne_bytes());
    // inet_diag_sockid: ports and addresses in network order, any interface, the cookie's lower half first.
    octets.extend(local.port().to_be_bytes());
    octets.extend(peer.port().to_be_bytes());
    octets.extend(sixteen(local.ip()));
    octets.extend(sixteen(peer.ip()));
    octets.extend(0_u32.to_ne_bytes());
    let cookie = cookie.unwrap_or(ANY).to_le_bytes();
    for half in cookie.chunks_exact(4) {
        let half = u32::from_le_bytes(half.try_into().ok()?);
        octets.extend(half.to_ne_bytes());
    }
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
    use super::super::cookie::cookie;
    use super::{ask, is_established};
    use std::io::{Read, Write};
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

    /// Octets received and sent, by the cookie and by another one.
    fn counted(host: &str) -> std::io::Result<(Option<(u64, u64)>, bool)> {
        let listener = TcpListener::bind((host, 0))?;
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, peer) = listener.accept()?;
        let (local, own) = (server.local_addr()?, cookie(&server));
        server.write_all(&[0; 1000])?;
        client.read_exact(&mut [0; 1000])?;
        client.write_all(&[0; 300])?;
        server.read_exact(&mut [0; 300])?;
        // Acknowledged when the client's answer has come.
        let told = ask(local, peer, own).flatten().and_then(|told| told.info);
        let other = ask(local, peer, own.map(|own| own.wrapping_add(1)));
        let known = other.flatten().is_some();
        Ok((told.map(|info| (info.received, info.sent)), known))
    }

    #[test]
    fn the_kernel_counts_the_octets_of_a_connection_and_knows_it_by_its_cookie() {
        for host in ["127.0.0.1", "::1"] {
            assert_eq!(
                counted(host).ok(),
                Some((Some((300, 1000)), false)),
                "{host}"
            );
        }
    }
}
