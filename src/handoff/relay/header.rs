//! The PROXY header: who is connected to whom.

use crate::config::Proxy;
use proxy_header::{ProxiedAddress, ProxyHeader};
use std::net::{IpAddr, SocketAddr};

/// The header for a connection from `peer` to `local`; none without PROXY. It knows one family for both: where they
/// differ, IPv4 is written as IPv6 (RFC 4291 2.5.5.2).
#[must_use]
pub fn header(proxy: Proxy, peer: SocketAddr, local: SocketAddr) -> Option<Vec<u8>> {
    let (peer, local) = if peer.is_ipv4() == local.is_ipv4() {
        (peer, local)
    } else {
        (mapped(peer), mapped(local))
    };
    let header = ProxyHeader::with_address(ProxiedAddress::stream(peer, local));
    let mut octets = Vec::with_capacity(128);
    let written = match proxy {
        Proxy::V1 => header.encode_v1(&mut octets),
        Proxy::V2 => header.encode_v2(&mut octets),
        Proxy::None => return None,
    };
    // It fails for two families and for too many extensions; here are neither. Were it to fail after all, an empty
    // header makes the mail server wait for ever, and is so refused.
    written.map_or_else(|_| Some(Vec::new()), |()| Some(octets))
}

fn mapped(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddr::new(IpAddr::V6(ip), address.port())
}
