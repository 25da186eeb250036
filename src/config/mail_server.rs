//! `relay_to` and `proxy` of `[providers.NAME]`: a mail server that listens somewhere, and what it believes of
//! who connects.
//!
//! Without a PROXY header the mail server sees this machine where the provider is. Whatever trusts this machine then
//! trusts the provider: a mail server on the same host always does, and one elsewhere mostly, since it carries this
//! machine's mail. From here nobody can see whom it trusts, so the operator has to say so, wherever it listens.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use nix::ifaddrs::getifaddrs;

use super::error::ConfigError;
use super::keys;
use super::section::Section;
use super::values::{self, Fault, choice, fault};
use crate::tls::HandoffTls;

/// Where a mail server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailServer {
    /// On a port.
    Tcp {
        /// Name or address, this without brackets.
        host: String,
        /// The port.
        port: u16,
    },
    /// On a Unix stream socket.
    Unix(PathBuf),
}

impl fmt::Display for MailServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// How a mail server is told whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// By the text form of the PROXY header.
    V1,
    /// By its binary form.
    V2,
    /// Not at all.
    None,
}

impl Proxy {
    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::None => "none",
        }
    }
}

/// `known` is `i_know`.
pub(super) fn read(section: &Section<'_>, known: bool) -> Result<(MailServer, Proxy), ConfigError> {
    let Some(to) = section.text(&keys::RELAY_TO, address)? else {
        return Err(section.error(
            &keys::RELAY_TO,
            "it is missing",
            "handoff \"relay\" needs the address of the mail server, such as \"127.0.0.1:24\"",
        ));
    };
    let proxy = section.required(&keys::PROXY, |text| {
        choice(text, &[Proxy::V1, Proxy::V2, Proxy::None], |proxy| {
            proxy.name()
        })
    })?;
    if proxy == Proxy::None && !known {
        let seen = if is_here(&to) {
            "the mail server takes the provider for this machine and may relay anything for it"
        } else {
            "the mail server sees this machine's address in place of the provider's, and if it trusts this machine it \
             relays anything for the provider"
        };
        return Err(section.error(
            &keys::PROXY,
            &format!("without a PROXY header {seen}"),
            "use \"v1\" or \"v2\", or add i_know = true if that port of the mail server relays for nobody",
        ));
    }
    Ok((to, proxy))
}

/// The relay reads and writes the octets itself: the keys cannot be with the kernel.
pub(super) fn accepts(section: &Section<'_>, tls: HandoffTls) -> Result<(), ConfigError> {
    if tls != HandoffTls::Kernel {
        return Ok(());
    }
    Err(section.error(
        &keys::HANDOFF_TLS,
        "with handoff = \"relay\" turnabout itself encrypts",
        "leave it out",
    ))
}

fn address(text: &str) -> Result<MailServer, Fault> {
    if let Some(path) = text.strip_prefix("unix:") {
        if path.starts_with('/') && !path.contains('\0') {
            return Ok(MailServer::Unix(PathBuf::from(path)));
        }
        return Err(fault(
            format!("{path:?} is not an absolute path"),
            "write it as \"unix:/run/mail.sock\"",
        ));
    }
    let parts = match text.strip_prefix('[') {
        Some(rest) => rest.split_once("]:"),
        None => text
            .rsplit_once(':')
            .filter(|(host, _)| !host.contains(':')),
    };
    let (host, port) = parts
        .and_then(|(host, port)| Some((host, port.parse::<u16>().ok().filter(|port| *port > 0)?)))
        .ok_or_else(|| {
            fault(
                format!("{text:?} is not an address with a port"),
                "write it as \"127.0.0.1:24\", \"[::1]:24\", \"mail.example.org:24\" or \"unix:/run/mail.sock\"",
            )
        })?;
    Ok(MailServer::Tcp {
        host: values::host(host)?,
        port,
    })
}

/// Is it certain to be this machine? Unix sockets are, and every address that it has.
fn is_here(to: &MailServer) -> bool {
    let host = match to {
        MailServer::Unix(_) => return true,
        MailServer::Tcp { host, .. } => host,
    };
    let Ok(ip) = host.parse::<IpAddr>() else {
        return host == "localhost" || host.ends_with(".localhost");
    };
    let ip = ip.to_canonical();
    let has = |found: IpAddr| found.to_canonical() == ip;
    ip.is_loopback()
        || ip.is_unspecified()
        || getifaddrs().is_ok_and(|mut all| {
            all.any(|interface| {
                let address = interface.address;
                let v4 = address
                    .as_ref()
                    .and_then(|address| address.as_sockaddr_in());
                let v6 = address
                    .as_ref()
                    .and_then(|address| address.as_sockaddr_in6());
                v4.is_some_and(|v4| has(v4.ip().into())) || v6.is_some_and(|v6| has(v6.ip().into()))
            })
        })
}
