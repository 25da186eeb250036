//! `[serve]`: the provider.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::section::Section;
use super::values::{self, Fault, choice, fault};
use super::{hostname, keys};
use crate::sasl::Mechanism;
use crate::smtp::network::Network;

/// The provider's settings, checked.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Addresses to listen on, at least one, none twice. IPv6 sockets are to be IPv6 only.
    pub listen: Vec<SocketAddr>,
    /// The fully qualified name to greet with.
    pub hostname: String,
    /// The accounts file.
    pub accounts: PathBuf,
    /// How a turned connection reaches the mail server.
    pub handoff: ProviderHandoff,
    /// The user to become after binding; `None` is the mail server's own.
    pub user: Option<String>,
    /// Mechanisms to offer, strongest first, without those that `plaintext_without_tls` forbids: at least one.
    pub mechanisms: Vec<Mechanism>,
    /// PLAIN and LOGIN may be offered on a connection without TLS.
    pub plaintext_without_tls: bool,
    /// Networks that may connect; empty is everybody (rule R31).
    pub sources: Vec<Network>,
    /// The least time between two ATRN of one customer; zero is no limit (rule R20).
    pub retry_interval: Duration,
    /// What connections may take.
    pub limits: Limits,
    /// Settings of the hand-off to Postfix.
    pub postfix: PostfixKeys,
    /// Settings of the hand-off to Exim.
    pub exim: EximKeys,
}

/// How the provider gives a turned connection to its mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProviderHandoff {
    /// Lend it to a running Postfix through the connection cache.
    PostfixCache,
    /// Start `exim -MC` on it.
    EximContinue,
}

impl ProviderHandoff {
    /// The word in the configuration and in the log.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            ProviderHandoff::PostfixCache => "postfix-cache",
            ProviderHandoff::EximContinue => "exim-continue",
        }
    }
}

/// `[serve.limits]`: what connections may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// Connections at the same time from one IPv4 address or one IPv6 /64.
    pub connections_per_address: usize,
    /// Wait for one command, and for one reply to be taken.
    pub command_time: Duration,
    /// From the connection to a successful AUTH, in all.
    pub login_time: Duration,
    /// Wait for each of the customer's first two replies after the turn.
    pub greeting_time: Duration,
    /// Wait for the mail server's word on its queue.
    pub queue_time: Duration,
    /// Failed logins before the connection is closed, at least 3 (rule B40).
    pub auth_failures: u32,
    /// Bad commands before the connection is closed.
    pub bad_commands: u32,
}

/// `[serve.postfix]`: where the provider's Postfix is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostfixKeys {
    /// The delivery service for on-demand domains.
    pub service: String,
    /// Where `postconf` and `postqueue` are.
    pub command_directory: PathBuf,
    /// Another configuration directory than Postfix's default.
    pub config_directory: Option<PathBuf>,
    /// How long an idle turned connection stays open once the queue is empty.
    pub idle_time: Duration,
    /// How long a turned connection stays with Postfix at most.
    pub total_time: Duration,
}

/// `[serve.exim]`: where the provider's Exim is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EximKeys {
    /// The Exim program.
    pub command: PathBuf,
    /// The smtp transport for on-demand domains.
    pub transport: String,
    /// How long a turned connection stays with Exim at most.
    pub total_time: Duration,
}

const POSITIVE: Duration = Duration::from_millis(1);
const SOME_TIME: &str = "give at least one millisecond, such as \"30s\"";

impl Serve {
    pub(super) fn read(section: &Section<'_>) -> Result<Serve, ConfigError> {
        let plaintext_without_tls = section.switch(&keys::SERVE_PLAINTEXT)?;
        Ok(Serve {
            listen: listen(section)?,
            hostname: match section.text(&keys::SERVE_HOSTNAME, values::qualified)? {
                Some(name) => name,
                None => hostname::qualified().map_err(|cause| {
                    section.error(
                        &keys::SERVE_HOSTNAME,
                        &cause,
                        "set serve.hostname to the name customers know this provider by",
                    )
                })?,
            },
            accounts: section.required_path(&keys::SERVE_ACCOUNTS)?,
            handoff: section.required(&keys::SERVE_HANDOFF, |text| {
                choice(
                    text,
                    &[ProviderHandoff::PostfixCache, ProviderHandoff::EximContinue],
                    ProviderHandoff::name,
                )
            })?,
            user: section.text(&keys::SERVE_USER, service_user)?,
            mechanisms: values::mechanisms(
                section,
                &keys::SERVE_MECHANISMS,
                plaintext_without_tls,
            )?,
            plaintext_without_tls,
            sources: section
                .list(&keys::SERVE_SOURCES, |text| {
                    text.parse::<Network>().map_err(|error| {
                        fault(
                            format!("{text:?} is not a network: {error}"),
                            "list networks and addresses",
                        )
                    })
                })?
                .unwrap_or_default(),
            retry_interval: section.duration(&keys::SERVE_RETRY, Duration::ZERO, "")?,
            limits: Limits::read(&section.table("limits", keys::Table::Limits)?)?,
            postfix: PostfixKeys::read(&section.table("postfix", keys::Table::Postfix)?)?,
            exim: EximKeys::read(&section.table("exim", keys::Table::Exim)?)?,
        })
    }
}

fn listen(section: &Section<'_>) -> Result<Vec<SocketAddr>, ConfigError> {
    let key = &keys::SERVE_LISTEN;
    let listen: Vec<SocketAddr> = section
        .list(key, |text| {
            text.parse().map_err(|_| {
                fault(
                    format!("{text:?} is not an address with a port"),
                    "write [::]:366 or 192.0.2.1:366",
                )
            })
        })?
        .unwrap_or_default();
    if listen.is_empty() {
        return Err(section.error(key, "the list is empty", "name at least one address"));
    }
    for (index, address) in listen.iter().enumerate() {
        // Port 0 takes another free port each time.
        if address.port() != 0 && listen.iter().take(index).any(|earlier| earlier == address) {
            return Err(section.error(
                key,
                &format!("{address} is listed twice"),
                "name every address once",
            ));
        }
    }
    Ok(listen)
}

fn service_user(text: &str) -> Result<String, Fault> {
    let user = values::word(text)?;
    if user == "root" || user == "0" {
        return Err(fault(
            "the service does not stay root",
            "name the mail server's own user, such as postfix or Debian-exim, or leave the key out",
        ));
    }
    Ok(user)
}

impl Limits {
    fn read(section: &Section<'_>) -> Result<Limits, ConfigError> {
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
            command_time: time(&keys::LIMIT_COMMAND)?,
            login_time: time(&keys::LIMIT_LOGIN)?,
            greeting_time: time(&keys::LIMIT_GREETING)?,
            queue_time,
            auth_failures: section.number(&keys::LIMIT_AUTH, 3, 100)?,
            bad_commands: section.number(&keys::LIMIT_BAD, 1, 10_000)?,
        })
    }
}

impl PostfixKeys {
    fn read(section: &Section<'_>) -> Result<PostfixKeys, ConfigError> {
        Ok(PostfixKeys {
            service: section.required(&keys::POSTFIX_SERVICE, values::word)?,
            command_directory: section.required_path(&keys::POSTFIX_COMMANDS)?,
            config_directory: section.path(&keys::POSTFIX_CONFIG)?,
            idle_time: section.duration(&keys::POSTFIX_IDLE, POSITIVE, SOME_TIME)?,
            total_time: section.duration(&keys::POSTFIX_TOTAL, POSITIVE, SOME_TIME)?,
        })
    }
}

impl EximKeys {
    fn read(section: &Section<'_>) -> Result<EximKeys, ConfigError> {
        Ok(EximKeys {
            command: section.required_path(&keys::EXIM_COMMAND)?,
            transport: section.required(&keys::EXIM_TRANSPORT, values::word)?,
            total_time: section.duration(&keys::EXIM_TOTAL, POSITIVE, SOME_TIME)?,
        })
    }
}
