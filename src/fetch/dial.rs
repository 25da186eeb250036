//! Reaching a provider: every address of its name, IPv6 and IPv4 in turn, the first that
//! answers wins.
//!
//! The order and the 250 ms between two attempts follow RFC 8305: a family that is broken
//! somewhere on the way costs a quarter of a second, not a time-out.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};

/// The pause before the next address is tried as well (RFC 8305 5).
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// Why no connection came about.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("cannot look up {host}: {cause} (is the name right, and is the network up?)")]
    Lookup {
        /// The name that was asked for.
        host: String,
        /// What the resolver said.
        cause: io::Error,
    },
    /// No address answered.
    #[error(
        "cannot reach {host} port {port}: {tried} (is the provider listening there, and does a firewall let us out?)"
    )]
    Connect {
        /// The name that was dialled.
        host: String,
        /// The port that was dialled.
        port: u16,
        /// Each address with its own cause.
        tried: String,
    },
}

/// Connects to `host`, trying all its addresses, within `limit`.
///
/// # Errors
/// When the name has no address or none of them answers in time; each is named with its cause.
pub(super) async fn dial(host: &str, port: u16, limit: Duration) -> Result<TcpStream, DialError> {
    let deadline = Instant::now() + limit;
    let lookup = |cause| DialError::Lookup {
        host: host.to_owned(),
        cause,
    };
    let found = timeout_at(deadline, lookup_host((host, port)))
        .await
        .map_err(|_| lookup(io::ErrorKind::TimedOut.into()))?
        .map_err(lookup)?;
    let mut waiting = in_turn(found).into_iter();
    let mut attempts = JoinSet::new();
    let mut tried = String::new();
    let mut next = waiting.next();
    if next.is_none() {
        return Err(lookup(io::Error::other("the name has no address")));
    }
    loop {
        if let Some(address) = next.take() {
            attempts.spawn(async move { (address, TcpStream::connect(address).await) });
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended {
                Ok((_, Ok(stream))) => return Ok(stream),
                Ok((address, Err(error))) => {
                    note(&mut tried, address, &error);
                    next = waiting.next();
                }
                Err(_) => next = waiting.next(),
            },
            () = sleep(ATTEMPT_DELAY), if more => next = waiting.next(),
            () = tokio::time::sleep_until(deadline) => {
                let silent = io::Error::other(format!("no answer in {} s", limit.as_secs()));
                let separator = if tried.is_empty() { "" } else { "; " };
                write!(tried, "{separator}{silent}").unwrap_or_default();
                break;
            }
        }
        if next.is_none() && attempts.is_empty() {
            break;
        }
    }
    Err(DialError::Connect {
        host: host.to_owned(),
        port,
        tried,
    })
}

/// The families in turn, beginning with the one the resolver put first (RFC 8305 4).
fn in_turn(found: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let all: Vec<SocketAddr> = found.collect();
    let first_is_v6 = all.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<_>, Vec<_>) = all
        .iter()
        .copied()
        .partition(|address| address.is_ipv6() == first_is_v6);
    first.reverse();
    second.reverse();
    let mut order = Vec::with_capacity(all.len());
    while !(first.is_empty() && second.is_empty()) {
        order.extend(first.pop());
        order.extend(second.pop());
    }
    order
}

fn note(tried: &mut String, address: SocketAddr, error: &io::Error) {
    let separator = if tried.is_empty() { "" } else { "; " };
    // Writing to a String cannot fail.
    write!(tried, "{separator}{address}: {error}").unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::in_turn;
    use std::net::SocketAddr;

    #[test]
    fn families_take_turns_beginning_with_the_resolvers_first() {
        let parse = |text: &str| text.parse::<SocketAddr>().ok();
        let found = [
            "[2001:db8::1]:366",
            "[2001:db8::2]:366",
            "192.0.2.1:366",
            "192.0.2.2:366",
        ];
        let expected = [
            "[2001:db8::1]:366",
            "192.0.2.1:366",
            "[2001:db8::2]:366",
            "192.0.2.2:366",
        ];
        let order = in_turn(found.iter().filter_map(|text| parse(text)));
        assert_eq!(
            order,
            expected
                .iter()
                .filter_map(|text| parse(text))
                .collect::<Vec<_>>()
        );
    }
}
