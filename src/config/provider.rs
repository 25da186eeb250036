//! `[providers.NAME]`: one provider to fetch mail from.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::handoff::{self, CustomerHandoff};
use super::hooks::Hooks;
use super::keys;
use super::login;
use super::mail_server;
use super::quiet::QuietHours;
use super::schedule::Schedule;
use super::secret::SecretSource;
use super::section::Section;
use super::tls::{ProviderTls, Wishes};
use super::values::{self, POSITIVE, SOME_TIME};
use crate::sasl::Mechanism;
use crate::smtp::domain::{Domain, DomainList};
use crate::tls::{Fingerprint, HandoffTls, KeyPair};

/// One provider, checked.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The operator's name for it; its host when it came from options.
    pub name: String,
    /// Host name or address to dial.
    pub host: String,
    /// Port to dial.
    pub port: u16,
    /// The user to authenticate as.
    pub user: String,
    /// How the connection is protected.
    pub tls: ProviderTls,
    /// The authorities to trust in place of the system's; not together with `fingerprints`.
    pub ca_file: Option<PathBuf>,
    /// The provider's certificate is one of these; empty: any that is valid for `host`.
    pub fingerprints: Vec<Fingerprint>,
    /// Our own certificate.
    pub certificate: Option<KeyPair>,
    /// Who encrypts after the turn.
    pub handoff_tls: HandoffTls,
    /// Where the password comes from; read it when it is needed. `None`: EXTERNAL is all there is in `mechanisms`.
    pub secret: Option<SecretSource>,
    /// The domains to ask for; `None` asks for all (rule R17).
    pub domains: Option<DomainList>,
    /// Mechanisms for which the connection's TLS, the certificate and the password are there, strongest first, at
    /// least one. Whether a -PLUS form can be used is known only after the handshake.
    pub mechanisms: Vec<Mechanism>,
    /// PLAIN and LOGIN may be used on a connection without TLS: never set where there is TLS.
    pub plaintext_without_tls: bool,
    /// How long to wait for what.
    pub timers: Timers,
    /// How the turned connection reaches this machine's mail server.
    pub handoff: CustomerHandoff,
    /// The name to say EHLO with; `None` is the connection's own address as a literal (rule B8).
    pub hostname: Option<String>,
    /// Where is kept what is worth to know the next time; it need not exist.
    pub state_directory: PathBuf,
    /// When a standing customer fetches from it.
    pub schedule: Schedule,
    /// When a standing customer does not, unless it is asked.
    pub quiet_hours: QuietHours,
    /// What to run round each fetch from it.
    pub hooks: Hooks,
}

/// `[fetch]`: what holds for every provider.
#[derive(Debug, Clone)]
pub(super) struct Common {
    pub(super) hostname: Option<String>,
    pub(super) state_directory: PathBuf,
}

impl Common {
    pub(super) fn read(section: &Section<'_>) -> Result<Common, ConfigError> {
        Ok(Common {
            hostname: section.text(&keys::FETCH_HOSTNAME, values::ehlo_name)?,
            state_directory: section.required_path(&keys::FETCH_STATE)?,
        })
    }
}

/// How long the customer waits for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// For one address to answer.
    pub connect: Duration,
    /// For the greeting and each reply but ATRN's.
    pub command: Duration,
    /// For the reply to ATRN: ten minutes or more (rule R16).
    pub atrn: Duration,
}

const TEN_MINUTES: Duration = Duration::from_secs(600);

/// A command line has at most 512 octets, `ATRN ` and CRLF included (rule B4).
const ROOM_FOR_DOMAINS: usize = 512 - 7;

impl Provider {
    pub(super) fn read(
        name: &str,
        section: &Section<'_>,
        common: Common,
    ) -> Result<Provider, ConfigError> {
        let host = section.required(&keys::HOST, values::host)?;
        let user = section.required(&keys::USER, values::login)?;
        let wishes = Wishes::read(section)?;
        let plaintext_without_tls = section.switch(&keys::PLAINTEXT)?;
        let has_tls = wishes.tls != ProviderTls::None;
        if plaintext_without_tls && has_tls {
            return Err(section.error(
                &keys::PLAINTEXT,
                &format!("there is TLS: tls is {:?}", wishes.tls.name()),
                "leave it out, or set tls = \"none\" where the connection is protected otherwise",
            ));
        }
        let secret = login::secret(section, wishes.certificate.is_some())?;
        let mechanisms =
            login::mechanisms(section, &wishes, plaintext_without_tls, secret.is_some())?;
        let handoff = handoff::read(section)?;
        if matches!(handoff, CustomerHandoff::Relay { .. }) {
            mail_server::accepts(section, wishes.handoff_tls)?;
        }
        let port = section.number(&keys::PORT, 1, u32::from(u16::MAX))?;
        Ok(Provider {
            name: name.to_owned(),
            host,
            port: u16::try_from(port).unwrap_or(0),
            user,
            tls: wishes.tls,
            ca_file: wishes.ca_file,
            fingerprints: wishes.fingerprints,
            certificate: wishes.certificate,
            handoff_tls: wishes.handoff_tls,
            secret,
            domains: domains(section)?,
            mechanisms,
            plaintext_without_tls,
            timers: Timers {
                connect: section.duration(&keys::CONNECT_TIME, POSITIVE, SOME_TIME)?,
                command: section.duration(&keys::COMMAND_TIME, POSITIVE, SOME_TIME)?,
                atrn: section.duration(
                    &keys::ATRN_TIME,
                    TEN_MINUTES,
                    "RFC 2645 section 5.2.1 demands ten minutes at least: a provider may search a large queue",
                )?,
            },
            handoff,
            hostname: common.hostname,
            state_directory: common.state_directory,
            schedule: Schedule::read(section)?,
            quiet_hours: QuietHours::read(section)?,
            hooks: Hooks::read(section)?,
        })
    }
}

fn domains(section: &Section<'_>) -> Result<Option<DomainList>, ConfigError> {
    let domains: Vec<Domain> = section
        .list(&keys::DOMAINS, values::domain)?
        .unwrap_or_default();
    let Some(list) = DomainList::try_new(domains) else {
        return Ok(None);
    };
    if list.to_string().len() > ROOM_FOR_DOMAINS {
        return Err(section.error(
            &keys::DOMAINS,
            "the list does not fit in one command line of 512 octets",
            "leave the list empty to ask for all domains, or split it over several [providers.NAME]",
        ));
    }
    Ok(Some(list))
}
