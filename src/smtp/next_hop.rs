//! The next hop of a customer: where the provider's MTA believes the mail goes.
//!
//! Nobody ever listens there. It is a name for the customer's connection inside the MTA (a key of
//! Postfix's connection cache, a host in Exim's wait database), so it is kept exactly as the operator
//! wrote it in the transport table, and it must be a literal address: a host name would be looked up.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// A literal address in brackets with an optional port: `[127.77.0.1]:24`, `[::1]:24`, `[127.77.0.1]`.
///
/// `Display` gives the text as it was written, because the MTA compares text. Equality, order and hash
/// look at address and port, because a connection goes by those: `[::1]` and `[0::1]:25` are one next hop.
#[derive(Clone, Debug)]
pub struct NextHop {
    text: String,
    ip: IpAddr,
    port: u16,
}

/// Why a text is no next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NextHopError {
    /// No `[address]` at the start; a host name would be looked up, a bare address taken for a name.
    #[error("an address in brackets is needed, like [127.77.0.1]:24")]
    NoBrackets,
    /// What stands in the brackets is neither an IPv4 nor an IPv6 address.
    #[error(
        "what stands in the brackets is not an address (write it as numbers, like [127.77.0.1]:24)"
    )]
    NotAnAddress,
    /// What follows the brackets is not `:PORT`.
    #[error("the port must be a number from 1 to 65535, like [127.77.0.1]:24")]
    BadPort,
}

/// The port an MTA uses when the next hop names none.
const DEFAULT_PORT: u16 = 25;

impl NextHop {
    /// The address, an IPv4 address in IPv6 notation as IPv4.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// The port; 25 when none was written.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The text as written, brackets included: the string an MTA's tables and labels carry.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn key(&self) -> (IpAddr, u16) {
        (self.ip, self.port)
    }
}

impl FromStr for NextHop {
    type Err = NextHopError;

    fn from_str(text: &str) -> Result<Self, NextHopError> {
        let (inside, rest) = text
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .ok_or(NextHopError::NoBrackets)?;
        let ip = if inside.contains(':') {
            // No zone: an address with one is no address to a cache key.
            inside.parse::<Ipv6Addr>().map(IpAddr::V6)
        } else {
            inside.parse().map(IpAddr::V4)
        }
        .map_err(|_| NextHopError::NotAnAddress)?
        .to_canonical();
        let port = if rest.is_empty() {
            DEFAULT_PORT
        } else {
            rest.strip_prefix(':')
                .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|digits| digits.parse().ok())
                .filter(|port| *port != 0)
                .ok_or(NextHopError::BadPort)?
        };
        Ok(Self {
            text: text.to_owned(),
            ip,
            port,
        })
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for NextHop {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for NextHop {}

impl PartialOrd for NextHop {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for NextHop {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl Hash for NextHop {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}
