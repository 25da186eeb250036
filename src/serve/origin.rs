//! Where a connection comes from, as it counts for limits: an address, and the network around it (rules C11, C12).

use crate::smtp::network::Network;
use std::net::{IpAddr, Ipv6Addr};

/// Prefix lengths, in bits, of what counts as one place: an IPv4 /24, an IPv6 /56.
const PREFIX: (u8, u8) = (24, 56);

/// What counts as one address: an IPv4 address, or the /64 that one IPv6 host can choose from freely.
pub(super) fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// The network around an address, for counting.
pub(super) fn network(peer: IpAddr) -> Option<Network> {
    let prefix = if peer.is_ipv4() { PREFIX.0 } else { PREFIX.1 };
    Network::around(peer, prefix)
}

#[cfg(test)]
mod tests {
    use super::source;
    use std::net::IpAddr;

    #[test]
    fn the_addresses_of_one_ipv6_network_count_as_one_and_ipv4_addresses_each() {
        let same = |one: &str, other: &str| {
            let parse = |text: &str| text.parse::<IpAddr>().ok().map(source);
            parse(one) == parse(other)
        };
        assert!(same("2001:db8:1:2::3", "2001:db8:1:2:ffff::4"));
        assert!(!same("2001:db8:1:2::3", "2001:db8:1:3::3"));
        assert!(!same("192.0.2.1", "192.0.2.2"));
    }
}
