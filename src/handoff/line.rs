//! Looking at a lent connection without touching it.
//!
//! It tells whether an smtp(8) process is using the connection, and whether the customer has closed it, while not one
//! octet is read. The kernel counts that for each TCP connection, and a relay for its own.

use crate::wire::{Carriage, Released, TcpInfo};
use std::time::Duration;

/// The state of a connection at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// Both sides can still send.
    pub open: bool,
    /// How long nothing was sent or received, acknowledgements aside.
    pub quiet: Duration,
    /// How many octets the customer has sent so far.
    pub received: u64,
    /// The time to the customer and back.
    pub round_trip: Duration,
}

impl Line {
    /// Looks at the connection; `None` if there is nothing to be seen.
    #[must_use]
    pub(crate) fn look(connection: &Released) -> Option<Self> {
        match connection.carriage() {
            // The descriptor is no TCP connection there, and the relay knows better anyway: what lies in its buffers
            // has not moved yet.
            Carriage::Relay(relay) => Some(Self {
                open: relay.is_open(),
                quiet: relay.quiet(),
                received: relay.received(),
                round_trip: relay.round_trip(),
            }),
            Carriage::Plain | Carriage::Kernel => {
                let TcpInfo {
                    open,
                    quiet,
                    received,
                    round_trip,
                    ..
                } = TcpInfo::look(connection)?;
                Some(Self {
                    open,
                    quiet,
                    received,
                    round_trip,
                })
            }
        }
    }
}
