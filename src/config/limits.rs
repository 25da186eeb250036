//! `[serve.limits]`: what connections may take.

use std::time::Duration;

use super::error::ConfigError;
use super::keys;
use super::section::Section;
use super::values::{POSITIVE, SOME_TIME};

/// What connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Connections at the same time from one IPv4 address or one IPv6 /64.
    pub connections_per_address: usize,
    /// How many of the connections may be ones that have not logged in, in percent of `connections`.
    pub unauthenticated_percent: usize,
    /// TLS handshakes at the same time.
    pub handshakes: usize,
    /// Wait for one command, and for one reply to be taken.
    pub command_time: Duration,
    /// From the connection to a successful AUTH, in all.
    pub login_time: Duration,
    /// For a TLS handshake.
    pub handshake_time: Duration,
    /// Wait for each of the customer's first two replies after the turn.
    pub greeting_time: Duration,
    /// Wait for the mail server's word on its queue.
    pub queue_time: Duration,
    /// Failed logins before the connection is closed, at least 3 (rule B40).
    pub auth_failures: u32,
    /// Bad commands before the connection is closed.
    pub bad_commands: u32,
    /// How long nothing may flow through the relay.
    pub relay_idle_time: Duration,
    /// How long relayed connections may go on after SIGTERM.
    pub stop_time: Duration,
    /// How long a listener that inetd has lent may go without a connection.
    pub lent_time: Duration,
}

/// The longest that a mail server may wait for a reply is ten minutes (RFC 5321 section 4.5.3.2.6).
const LONGEST_SILENCE: Duration = Duration::from_secs(15 * 60);

impl Limits {
    /// How many connections may be open at the same time that have not logged in: at least one.
    #[must_use]
    pub fn strangers(&self) -> usize {
        let hundredths = self
            .connections
            .saturating_mul(self.unauthenticated_percent);
        hundredths.div_ceil(100)
    }

    pub(super) fn read(section: &Section<'_>) -> Result<Limits, ConfigError> {
        let time = |key| section.duration(key, POSITIVE, SOME_TIME);
        let count = |key, least, most| -> Result<usize, ConfigError> {
            let number = section.number(key, least, most)?;
            Ok(usize::try_from(number).unwrap_or(usize::MAX))
        };
        let queue_time = time(&keys::LIMIT_QUEUE)?;
        if queue_time > Duration::from_secs(300) {
            return Err(section.error(
                &keys::LIMIT_QUEUE,
                "it is more than five minutes",
                "some customers stop waiting for the reply to ATRN then; give at most \"5m\"",
            ));
        }
        Ok(Limits {
            connections: count(&keys::LIMIT_CONNECTIONS, 1, 1_000_000)?,
            connections_per_address: count(&keys::LIMIT_PER_ADDRESS, 1, 1_000_000)?,
            unauthenticated_percent: count(&keys::LIMIT_UNAUTHENTICATED, 1, 100)?,
            handshakes: count(&keys::LIMIT_HANDSHAKES, 1, 1_000_000)?,
            command_time: time(&keys::LIMIT_COMMAND)?,
            login_time: time(&keys::LIMIT_LOGIN)?,
            handshake_time: time(&keys::LIMIT_HANDSHAKE)?,
            greeting_time: time(&keys::LIMIT_GREETING)?,
            queue_time,
            auth_failures: section.number(&keys::LIMIT_AUTH, 3, 100)?,
            bad_commands: section.number(&keys::LIMIT_BAD, 1, 10_000)?,
            relay_idle_time: section.duration(
                &keys::LIMIT_RELAY_IDLE,
                LONGEST_SILENCE,
                "mail servers may be silent for ten minutes (RFC 5321 section 4.5.3.2); give \"15m\" or more",
            )?,
            stop_time: section.duration(&keys::LIMIT_STOP, Duration::ZERO, "")?,
            lent_time: time(&keys::LIMIT_LENT)?,
        })
    }
}
