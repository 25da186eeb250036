//! The command line of `exim -MC`, which is not documented for others and differs between versions.

use std::ffi::OsString;

use crate::queue::exim::is_message_id;
use crate::smtp::ehlo::Offer;
use crate::smtp::next_hop::NextHop;

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

/// The arguments that continue on a connection with this message; `None` if the message id is none.
#[must_use]
pub fn arguments(
    form: Form,
    transport: &str,
    next_hop: &NextHop,
    offer: &Offer,
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
/// tells whether the number of arguments is the right one.
#[must_use]
pub(super) fn probe(form: Form, transport: &str) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["-MCK", "-MCD", "-MCP", "-MCS"].map(OsString::from).into();
    arguments.extend(continued(form, transport, "127.0.0.1", "1", "none"));
    arguments
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
