//! `[serve]`: the provider.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::desk::Desk;
use super::error::ConfigError;
use super::limits::Limits;
use super::mail_servers::{EximKeys, PostfixKeys};
use super::section::Section;
use super::tls::{ServeTls, handoff_tls, pairs};
use super::values::{self, Fault, choice, fault};
use super::{hostname, keys};
use crate::sasl::Mechanism;
use crate::smtp::network::Network;
use crate::tls::{HandoffTls, KeyPair};

/// The provider's settings, checked.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Addresses to listen on, none twice. IPv6 sockets are to be IPv6 only.
    pub listen: Vec<SocketAddr>,
    /// Addresses where TLS begins with the first octet; none of them in `listen`, and at least one in both together.
    pub listen_tls: Vec<SocketAddr>,
    /// What holds on the addresses of `listen`.
    pub tls: ServeTls,
    /// Certificates with their keys: at least one if any address has TLS, otherwise none.
    pub certificates: Vec<KeyPair>,
    /// The authorities that vouch for customers' certificates.
    pub client_ca: Option<PathBuf>,
    /// Who encrypts after the turn.
    pub handoff_tls: HandoffTls,
    /// The fully qualified name to greet with.
    pub hostname: String,
    /// The accounts file.
    pub accounts: PathBuf,
    /// How a turned connection reaches the mail server.
    pub handoff: ProviderHandoff,
    /// The user to become after binding; `None` is the mail server's own.
    pub user: Option<String>,
    /// Mechanisms the operator allows, strongest first, at least one: what may be offered depends on TLS, see
    /// [`mechanisms_in_clear`](Self::mechanisms_in_clear) and [`mechanisms_in_tls`](Self::mechanisms_in_tls).
    pub mechanisms: Vec<Mechanism>,
    /// PLAIN and LOGIN may be offered on a connection without TLS.
    pub plaintext_without_tls: bool,
    /// Networks that may connect; empty is everybody (rule R31).
    pub sources: Vec<Network>,
    /// The least time between two ATRN of one customer; zero is no limit (rule R20).
    pub retry_interval: Duration,
    /// Give up access to the rest of the machine's files, where the kernel and the mail server allow it.
    pub landlock: bool,
    /// Where the processes of this service meet.
    pub runtime_directory: PathBuf,
    /// What it shows of itself, and where.
    pub desk: Desk,
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

impl Serve {
    /// Mechanisms that may be offered where there is no TLS (rules B35, B44); perhaps none.
    pub fn mechanisms_in_clear(&self) -> impl Iterator<Item = Mechanism> {
        let open = self.tls != ServeTls::Required;
        let plaintext = self.plaintext_without_tls;
        self.mechanisms
            .iter()
            .copied()
            .filter(move |mechanism| open && values::allowed_in_clear(*mechanism, plaintext))
    }

    /// Mechanisms that may be offered inside TLS.
    pub fn mechanisms_in_tls(&self) -> impl Iterator<Item = Mechanism> {
        self.mechanisms.iter().copied()
    }

    /// Whether any address has TLS, so that there are certificates.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.tls != ServeTls::None || !self.listen_tls.is_empty()
    }

    pub(super) fn read(section: &Section<'_>) -> Result<Serve, ConfigError> {
        const POLICIES: &[ServeTls] = &[ServeTls::Required, ServeTls::Offered, ServeTls::None];
        let tls = section.required(&keys::SERVE_TLS, |text| {
            choice(text, POLICIES, ServeTls::name)
        })?;
        let (listen, listen_tls) = listen(section)?;
        let has_tls = tls != ServeTls::None || !listen_tls.is_empty();
        let certificates = pairs(section, has_tls)?;
        let plaintext_without_tls = section.switch(&keys::SERVE_PLAINTEXT)?;
        if plaintext_without_tls && tls == ServeTls::Required {
            return Err(section.error(
                &keys::SERVE_PLAINTEXT,
                "nobody logs in without TLS, since tls is \"required\"",
                "leave it out, or choose another tls",
            ));
        }
        Ok(Serve {
            listen,
            listen_tls,
            tls,
            certificates,
            client_ca: section.path(&keys::SERVE_CLIENT_CA)?,
            handoff_tls: handoff_tls(section, &keys::SERVE_HANDOFF_TLS)?,
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
            mechanisms: values::mechanisms(section, &keys::SERVE_MECHANISMS, |mechanism| {
                has_tls || values::allowed_in_clear(mechanism, plaintext_without_tls)
            })?,
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
            landlock: section.switch(&keys::SERVE_LANDLOCK)?,
            runtime_directory: section.required_path(&keys::SERVE_RUNTIME)?,
            desk: Desk::of_serve(section)?,
            limits: Limits::read(&section.table("limits", keys::Table::Limits)?)?,
            postfix: PostfixKeys::read(&section.table("postfix", keys::Table::Postfix)?)?,
            exim: EximKeys::read(&section.table("exim", keys::Table::Exim)?)?,
        })
    }
}

/// The addresses of `listen` and of `listen_tls`.
fn listen(section: &Section<'_>) -> Result<(Vec<SocketAddr>, Vec<SocketAddr>), ConfigError> {
    let addresses = |key| {
        let list = section.list(key, |text| {
            text.parse::<SocketAddr>().map_err(|_| {
                fault(
                    format!("{text:?} is not an address with a port"),
                    "write [::]:366 or 192.0.2.1:366",
                )
            })
        })?;
        Ok::<_, ConfigError>(list.unwrap_or_default())
    };
    let listen = addresses(&keys::SERVE_LISTEN)?;
    let listen_tls = addresses(&keys::SERVE_LISTEN_TLS)?;
    if listen.is_empty() && listen_tls.is_empty() {
        let key = &keys::SERVE_LISTEN;
        return Err(section.error(key, "the list is empty", "name at least one address"));
    }
    let with_key = |key, list: &[SocketAddr]| -> Vec<_> {
        list.iter().map(|address| (key, *address)).collect()
    };
    let mut all = with_key(&keys::SERVE_LISTEN, &listen);
    all.extend(with_key(&keys::SERVE_LISTEN_TLS, &listen_tls));
    for (index, (key, address)) in all.iter().enumerate() {
        // Port 0 takes another free port each time.
        let mut earlier = all.iter().take(index);
        if let Some((other, _)) = earlier.find(|(_, other)| other.port() != 0 && other == address) {
            let cause = if other.name == key.name {
                format!("{address} is listed twice")
            } else {
                format!("{address} is listed in {} as well", other.name)
            };
            return Err(section.error(key, &cause, "name every address once"));
        }
    }
    Ok((listen, listen_tls))
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
