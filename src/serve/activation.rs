//! From the sockets that we were started with, or from the configuration: where a connection comes in, and whether it
//! begins with TLS.

use super::listener::{self, ListenError};
use super::session::Begins;
use crate::config;
use crate::service::Listener;
use std::net::{SocketAddr, TcpListener};

/// In the name of a socket: TLS from the first octet. A socket for STARTTLS is one that begins in the clear.
const TLS: &str = "tls";
const STARTTLS: &str = "starttls";

/// A socket is meant for TLS, and the configuration has none.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot begin TLS on {0}: no address of the configuration has TLS (set listen_tls, certificate and key, or give the socket another name)"
)]
pub struct NoCertificate(String);

/// By how a connection on them begins.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) in_clear: Vec<TcpListener>,
    pub(super) with_tls: Vec<TcpListener>,
}

impl Listeners {
    /// Binds the addresses of the configuration.
    ///
    /// # Errors
    /// The first that is refused.
    pub(super) fn bind(serve: &config::Serve) -> Result<Self, ListenError> {
        Ok(Self {
            in_clear: listener::bind(&serve.listen)?,
            with_tls: listener::bind(&serve.listen_tls)?,
        })
    }

    /// Takes the sockets that we were started with, in place of the configuration's addresses.
    ///
    /// # Errors
    /// One of them is for TLS, and there is no certificate.
    pub(super) fn of(started: Vec<Listener>, serve: &config::Serve) -> Result<Self, NoCertificate> {
        let mut listeners = Self {
            in_clear: Vec::new(),
            with_tls: Vec::new(),
        };
        for listener in started {
            let local = listener.socket.local_addr().ok();
            match begins(listener.name.as_deref(), local, serve)? {
                Begins::WithTls => listeners.with_tls.push(listener.socket),
                Begins::InClear | Begins::Greeted => listeners.in_clear.push(listener.socket),
            }
        }
        Ok(listeners)
    }
}

/// How a connection begins that came over a socket of this name to this address: with TLS if the name says so, or if
/// the port is one of `listen_tls`.
///
/// # Errors
/// With TLS, and there is no certificate.
pub(super) fn begins(
    name: Option<&str>,
    local: Option<SocketAddr>,
    serve: &config::Serve,
) -> Result<Begins, NoCertificate> {
    let port = local.map(|local| local.port());
    let is_port = serve
        .listen_tls
        .iter()
        .any(|address| Some(address.port()) == port);
    if !is_port && !name.is_some_and(says_tls) {
        return Ok(Begins::InClear);
    }
    if serve.has_tls() {
        return Ok(Begins::WithTls);
    }
    Err(NoCertificate(name.unwrap_or("descriptor 0").to_owned()))
}

/// Whether a socket of this name begins with TLS.
pub(super) fn says_tls(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains(TLS) && !name.contains(STARTTLS)
}
