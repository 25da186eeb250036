//! A block of addresses: `192.0.2.0/24`, `2001:db8::/32`, or one address alone.
//!
//! Limits who may connect, in addition to authentication and never instead of it (RFC 2645 8, rule R31).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A block of addresses.
///
/// An IPv4 peer is the same peer whether its address arrives as `192.0.2.1` or mapped into IPv6 as
/// `::ffff:192.0.2.1`; [`Network::contains`] treats both alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    first: IpAddr,
    prefix: u8,
}

/// Why a text is not a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The part before the slash is not an IP address.
    #[error("not an IP address (write it as 192.0.2.0/24, 2001:db8::/32 or one address)")]
    Address,
    /// The part after the slash is not a number of bits that the address has.
    #[error("not a prefix length for this address (0 to 32 bits for IPv4, 0 to 128 bits for IPv6)")]
    Prefix,
    /// There are address bits behind the prefix: one of the two is a mistake, and which one is unknown.
    #[error("address bits are set behind the prefix (write {0})")]
    HostBits(Network),
}

impl Network {
    /// True if `address` lies in this block.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.first, address.to_canonical()) {
            (IpAddr::V4(first), IpAddr::V4(other)) => {
                masked_v4(other, self.prefix) == masked_v4(first, self.prefix)
            }
            (IpAddr::V6(first), IpAddr::V6(other)) => {
                masked_v6(other, self.prefix) == masked_v6(first, self.prefix)
            }
            _ => false,
        }
    }

    /// A block from any address inside it; `None` if the address has fewer than `prefix` bits.
    ///
    /// Also the way to group peers by their surroundings, for example by /64.
    #[must_use]
    pub fn around(address: IpAddr, prefix: u8) -> Option<Network> {
        let first = match address {
            IpAddr::V4(v4) if prefix <= 32 => IpAddr::V4(masked_v4(v4, prefix)),
            IpAddr::V6(v6) if prefix <= 128 => IpAddr::V6(masked_v6(v6, prefix)),
            _ => return None,
        };
        Some(Network { first, prefix })
    }

    fn whole(address: IpAddr) -> Network {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        Network {
            first: address,
            prefix,
        }
    }
}

fn masked_v4(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    let mask = u32::MAX
        .checked_shl(32_u32.saturating_sub(u32::from(prefix)))
        .unwrap_or(0);
    Ipv4Addr::from_bits(address.to_bits() & mask)
}

fn masked_v6(address: Ipv6Addr, prefix: u8) -> Ipv6Addr {
    let mask = u128::MAX
        .checked_shl(128_u32.saturating_sub(u32::from(prefix)))
        .unwrap_or(0);
    Ipv6Addr::from_bits(address.to_bits() & mask)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Network, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address)?;
        let Some(prefix) = prefix else {
            return Ok(Network::whole(address.to_canonical()));
        };
        // `+8` and `08` are accepted by parse::<u8>, but are somebody's slip.
        let plain = prefix == "0" || (!prefix.starts_with(['0', '+']) && !prefix.is_empty());
        let bits: u8 = prefix.parse().map_err(|_| NetworkError::Prefix)?;
        let network = Network::around(address, bits)
            .filter(|_| plain)
            .ok_or(NetworkError::Prefix)?;
        if network.first != address {
            return Err(NetworkError::HostBits(network));
        }
        Ok(network.unmapped())
    }
}

impl Network {
    /// `::ffff:192.0.2.0/120` is the IPv4 block 192.0.2.0/24, because peers are compared as IPv4.
    fn unmapped(self) -> Network {
        match (self.first.to_canonical(), self.first) {
            (IpAddr::V4(v4), IpAddr::V6(_)) if self.prefix >= 96 => Network {
                first: IpAddr::V4(v4),
                prefix: self.prefix.saturating_sub(96),
            },
            _ => self,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.first, self.prefix)
    }
}
