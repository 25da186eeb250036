//! Looking at a TCP connection without touching it: what the kernel counts of it.

use std::os::fd::AsFd;
use std::time::Duration;

// The macro below speaks of `libc` by this name.
use nix::libc;
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::GetStruct;

/// The first 136 octets of the kernel's `struct tcp_info` (Linux 4.1); later kernels only add behind them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
struct Raw {
    state: u8,
    _flags: [u8; 7],
    _timing: [u32; 2],
    _segments: [u32; 7],
    last_data_sent: u32,
    _last_ack_sent: u32,
    last_data_received: u32,
    _last_ack_received: u32,
    _path: [u32; 2],
    round_trip: u32,
    _more: [u32; 8],
    _pacing: [u64; 2],
    octets_acknowledged: u64,
    octets_received: u64,
}

/// `TCP_INFO`, tcp(7).
#[derive(Debug, Clone, Copy)]
struct KernelTcpInfo;

nix::getsockopt_impl!(
    KernelTcpInfo,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    Raw,
    GetStruct<Raw>
);

/// `TCP_ESTABLISHED` in the kernel's numbering.
const ESTABLISHED: u8 = 1;

/// The state of a TCP connection at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpInfo {
    /// Both sides can still send.
    pub open: bool,
    /// How long nothing was sent or received, acknowledgements aside.
    pub quiet: Duration,
    /// How many octets the peer has sent so far.
    pub received: u64,
    /// How many octets the peer has acknowledged so far.
    pub sent: u64,
    /// The time to the peer and back.
    pub round_trip: Duration,
}

impl TcpInfo {
    /// Looks at the connection; `None` if it is no TCP connection.
    #[must_use]
    pub fn look(connection: &impl AsFd) -> Option<Self> {
        let info = getsockopt(connection, KernelTcpInfo).ok()?;
        Some(Self {
            open: info.state == ESTABLISHED,
            quiet: Duration::from_millis(info.last_data_sent.min(info.last_data_received).into()),
            received: info.octets_received,
            sent: info.octets_acknowledged,
            round_trip: Duration::from_micros(info.round_trip.into()),
        })
    }

    /// The same structure as the kernel tells it of a connection that is somebody else's.
    pub(super) fn from_octets(octets: &[u8]) -> Option<Self> {
        let (sent, received) = (number(octets, 44)?, number(octets, 52)?);
        Some(Self {
            open: *octets.first()? == ESTABLISHED,
            quiet: Duration::from_millis(sent.min(received).into()),
            received: large(octets, 128)?,
            sent: large(octets, 120)?,
            round_trip: Duration::from_micros(number(octets, 68)?.into()),
        })
    }
}

/// A field of four octets by its place in the structure.
fn number(octets: &[u8], at: usize) -> Option<u32> {
    let field = octets.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

/// A field of eight.
fn large(octets: &[u8], at: usize) -> Option<u64> {
    let field = octets.get(at..at.checked_add(8)?)?;
    Some(u64::from_ne_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::Raw;
    use std::mem::offset_of;

    #[test]
    fn the_places_of_the_fields_are_those_of_the_structure() {
        assert_eq!(offset_of!(Raw, state), 0);
        assert_eq!(offset_of!(Raw, last_data_sent), 44);
        assert_eq!(offset_of!(Raw, last_data_received), 52);
        assert_eq!(offset_of!(Raw, round_trip), 68);
        assert_eq!(offset_of!(Raw, octets_acknowledged), 120);
        assert_eq!(offset_of!(Raw, octets_received), 128);
    }
}
