//! `[providers.NAME]`: one provider to fetch mail from.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ConfigError;
use super::keys;
use super::secret::SecretSource;
use super::section::Section;
use super::sendmail::is_postfix_sendmail_bs;
use super::tls::{ProviderTls, Wishes};
use super::values::{self, choice, fault};
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
    /// Where the password comes from; read it when it is needed.
    pub secret: SecretSource,
    /// The domains to ask for; `None` asks for all (rule R17).
    pub domains: Option<DomainList>,
    /// Mechanisms that may be used on a connection that is protected as `tls` says, strongest first, at least one.
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

/// How the customer gives the turned connection to its mail server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomerHandoff {
    /// Pass the descriptor to a running Postfix.
    PostfixPass {
        /// The socket of a service of type `pass`.
        socket: PathBuf,
    },
    /// Start a program with the connection on descriptors 0 and 1.
    Exec {
        /// The program by its absolute path, and its arguments.
        command: Vec<String>,
        /// The user to run it as; `None` is our own.
        user: Option<String>,
        /// How it learns the provider's address; `None` is told from the program's name.
        peer: Option<CommandPeer>,
    },
}

/// How a program learns the provider's address when its descriptors do not tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandPeer {
    /// By the arguments `-oMa` and `-oMi`.
    Exim,
    /// By `TCPREMOTEIP` and its like (UCSPI).
    Environment,
}

impl CommandPeer {
    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            CommandPeer::Exim => "exim",
            CommandPeer::Environment => "environment",
        }
    }
}

impl CustomerHandoff {
    /// The word in the configuration and in the log.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            CustomerHandoff::PostfixPass { .. } => POSTFIX_PASS,
            CustomerHandoff::Exec { .. } => EXEC,
        }
    }
}

const POSTFIX_PASS: &str = "postfix-pass";
const EXEC: &str = "exec";

const POSITIVE: Duration = Duration::from_millis(1);
const SOME_TIME: &str = "give at least one millisecond, such as \"30s\"";
const TEN_MINUTES: Duration = Duration::from_secs(600);

/// A command line has at most 512 octets, `ATRN ` and CRLF included (rule B4).
const ROOM_FOR_DOMAINS: usize = 512 - 7;

impl Provider {
    pub(super) fn read(
        name: &str,
        section: &Section<'_>,
        common: Common,
    ) -> Result<Provider, ConfigError> {
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
        let port = section.number(&keys::PORT, 1, u32::from(u16::MAX))?;
        Ok(Provider {
            name: name.to_owned(),
            host: section.required(&keys::HOST, values::host)?,
            port: u16::try_from(port).unwrap_or(0),
            user: section.required(&keys::USER, values::login)?,
            tls: wishes.tls,
            ca_file: wishes.ca_file,
            fingerprints: wishes.fingerprints,
            certificate: wishes.certificate,
            handoff_tls: wishes.handoff_tls,
            secret: secret(section)?,
            domains: domains(section)?,
            mechanisms: mechanisms(section, has_tls, plaintext_without_tls)?,
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
            handoff: handoff(section)?,
            hostname: common.hostname,
            state_directory: common.state_directory,
        })
    }
}

fn mechanisms(
    section: &Section<'_>,
    has_tls: bool,
    plaintext_without_tls: bool,
) -> Result<Vec<Mechanism>, ConfigError> {
    let usable = |mechanism| has_tls || values::allowed_in_clear(mechanism, plaintext_without_tls);
    let mut listed = values::mechanisms(section, &keys::MECHANISMS, usable)?;
    listed.retain(|mechanism| usable(*mechanism));
    Ok(listed)
}

fn secret(section: &Section<'_>) -> Result<SecretSource, ConfigError> {
    let file = section.path(&keys::PASSWORD_FILE)?;
    let command = command(section, &keys::PASSWORD_COMMAND)?;
    match (file, command) {
        (Some(file), None) if section.is_options() && file.as_os_str() == "-" => {
            Ok(SecretSource::StandardInput)
        }
        (Some(file), None) => Ok(SecretSource::File(file)),
        (None, Some(command)) => Ok(SecretSource::Command(command)),
        (Some(_), Some(_)) => Err(section.error(
            &keys::PASSWORD_COMMAND,
            "password_file is given as well",
            "give one of the two",
        )),
        (None, None) => Err(section.error(
            &keys::PASSWORD_FILE,
            "it is missing",
            "give a file with the password, or password_command",
        )),
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Pass,
    Exec,
}

fn handoff(section: &Section<'_>) -> Result<CustomerHandoff, ConfigError> {
    let way = section.required(&keys::HANDOFF, |text| {
        choice(text, &[Way::Pass, Way::Exec], |way| match way {
            Way::Pass => POSTFIX_PASS,
            Way::Exec => EXEC,
        })
    })?;
    let foreign = match way {
        Way::Pass => [&keys::COMMAND, &keys::COMMAND_USER, &keys::COMMAND_PEER].as_slice(),
        Way::Exec => [&keys::SOCKET].as_slice(),
    };
    if let Some(key) = foreign.iter().find(|key| section.has(key)) {
        return Err(section.error(
            key,
            "it belongs to the other kind of hand-off",
            "leave it out, or change handoff",
        ));
    }
    if way == Way::Pass {
        let socket = section.required_path(&keys::SOCKET)?;
        return Ok(CustomerHandoff::PostfixPass { socket });
    }
    let Some(command) = command(section, &keys::COMMAND)? else {
        return Err(section.error(
            &keys::COMMAND,
            "it is missing",
            "handoff \"exec\" needs the program to start, such as /usr/sbin/exim4 -bs",
        ));
    };
    if is_postfix_sendmail_bs(&command) {
        return Err(section.error(
            &keys::COMMAND,
            "this is Postfix's sendmail -bs, which takes the provider for a local user and relays anything for it",
            "use handoff \"postfix-pass\", or Postfix's smtpd -S as its mail_owner",
        ));
    }
    Ok(CustomerHandoff::Exec {
        command,
        user: section.text(&keys::COMMAND_USER, values::word)?,
        peer: section.text(&keys::COMMAND_PEER, |text| {
            let all = &[CommandPeer::Exim, CommandPeer::Environment];
            choice(text, all, CommandPeer::name)
        })?,
    })
}

/// A program by its absolute path, and its arguments.
fn command(section: &Section<'_>, key: &keys::Key) -> Result<Option<Vec<String>>, ConfigError> {
    let words = section.list(key, |text| {
        if text.contains('\0') {
            return Err(fault(
                "there is a NUL in it",
                "no program can be given that",
            ));
        }
        Ok(text.to_owned())
    })?;
    match words {
        None => Ok(None),
        Some(words) if words.first().is_some_and(|word| word.starts_with('/')) => Ok(Some(words)),
        Some(words) => {
            let program = words.first().map_or("", String::as_str);
            Err(section.error(
                key,
                &format!("the program {program:?} is not an absolute path"),
                "write its whole path; neither a shell nor PATH is used",
            ))
        }
    }
}
