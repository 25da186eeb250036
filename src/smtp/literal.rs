//! An address where SMTP wants a name.

use std::net::IpAddr;

/// The address as SMTP writes it in place of a name (RFC 5321 4.1.3, rule B8); an IPv4 address is the same one on an
/// IPv6 socket.
#[must_use]
pub fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}
