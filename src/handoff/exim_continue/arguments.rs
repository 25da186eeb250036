//! The command line of `exim -MC`, which is not documented for others and differs between versions.

use std::ffi::OsString;
use std::net::SocketAddr;

use crate::queue::exim::is_message_id;
use crate::smtp::ehlo::Offer;
use crate::smtp::next_hop::NextHop;
use crate::tls::Facts;

/// The number of this message on the connection. With 1 Exim would believe that MAIL and RCPT have been said already,
/// send DATA, be told 503, and return the message to its sender: so it is 2, always.
const SEQUENCE: &str = "2";

/// Whether the port stands between address and sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// TRANSPORT HOST ADDRESS SEQUENCE MESSAGE (Exim 4.96).
    Plain,
    /// TRANSPORT HOST ADDRESS PORT SEQUENCE MESSAGE (later Exim).
    Port,
}

/// A relay carries the connection: what Exim is told of the TLS that it does not see.
#[derive(Debug, Clone, Copy)]
pub struct Proxied<'a> {
    /// Our end of the true connection.
    pub local: SocketAddr,
    /// What the handshake has shown.
    pub tls: &'a Facts,
}

/// The arguments that continue on a connection with this message; `None` if the message id is none.
#[must_use]
pub fn arguments(
    form: Form,
    transport: &str,
    next_hop: &NextHop,
    offer: &Offer,
    proxied: Option<Proxied<'_>>,
    message: &str,
) -> Option<Vec<OsString>> {
    if !is_message_id(message) {
        return None;
    }
    let offered = [
        (offer.chunking, "-MCK"),
        (offer.dsn, "-MCD"),
        (offer.pipelining, "-MCP"),
        (offer.has_size, "-MCS"),
    ];
    let options = offered
        .into_iter()
        .filter_map(|(offered, option)| offered.then_some(option));
    let mut arguments: Vec<OsString> = options.map(OsString::from).collect();
    if let Some(Proxied { local, tls }) = proxied {
        let (address, port) = (local.ip().to_string(), local.port().to_string());
        arguments.extend(["-MCt", &address, &port, &cipher(tls)].map(OsString::from));
    }
    arguments.extend(continued(
        form,
        transport,
        &next_hop.ip().to_string(),
        &next_hop.port().to_string(),
        message,
    ));
    Some(arguments)
}

/// Arguments that Exim refuses before it does anything, because the message id is none: which complaint comes first
/// tells whether the others are right, and their number.
#[must_use]
pub(super) fn probe(form: Form, transport: &str, proxied: bool) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["-MCK", "-MCD", "-MCP", "-MCS"].map(OsString::from).into();
    if proxied {
        let proxied = [
            "-MCt",
            "127.0.0.1",
            "1",
            "TLS1.3:TLS_AES_256_GCM_SHA384:256",
        ];
        arguments.extend(proxied.map(OsString::from));
    }
    arguments.extend(continued(form, transport, "127.0.0.1", "1", "none"));
    arguments
}

/// As Exim writes it into its log: version, suite, bits.
fn cipher(tls: &Facts) -> String {
    let bits = if tls.cipher.contains("AES_128") {
        128
    } else {
        256
    };
    format!("{}:{}:{bits}", tls.version, tls.cipher)
}

fn continued(
    form: Form,
    transport: &str,
    address: &str,
    port: &str,
    message: &str,
) -> Vec<OsString> {
    let mut arguments = vec!["-MC", transport, address, address];
    if form == Form::Port {
        arguments.push(port);
    }
    arguments.push(SEQUENCE);
    arguments.push(message);
    arguments.into_iter().map(OsString::from).collect()
}
