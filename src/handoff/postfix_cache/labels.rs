//! What a connection is called in Postfix's connection cache, and what is told about it.
//!
//! The words are those that smtp(8) itself would use to save a session after its first message: the cache compares
//! them octet for octet. They differ between Postfix versions (see [`Form`]).

use std::net::SocketAddr;

use super::version::Form;
use crate::smtp::ehlo::Offer;
use crate::smtp::next_hop::NextHop;

/// The server speaks ESMTP.
const ESMTP: u32 = 1;
/// It offered 8BITMIME.
const EIGHT_BIT_MIME: u32 = 1 << 1;
/// It offered PIPELINING.
const PIPELINING: u32 = 1 << 2;
/// It offered SIZE.
const SIZE: u32 = 1 << 3;
/// This is the best host for the destination: it is no fallback.
const BEST_HOST: u32 = 1 << 12;
/// It offered DSN.
const DSN: u32 = 1 << 15;
/// It offered SMTPUTF8.
const SMTPUTF8: u32 = 1 << 21;

/// Everything that names and describes one lent connection.
#[derive(Debug, Clone)]
pub struct Labels {
    /// One label for each next hop and each need that a message can have.
    pub destinations: Vec<String>,
    /// What is told of the destination, for each of `destinations`.
    pub destination_properties: Vec<String>,
    /// The connection itself.
    pub endpoint: String,
    /// What is told of the connection.
    pub endpoint_properties: String,
}

/// Who is at the other end, as smtp(8) will log it.
#[derive(Debug, Clone, Copy)]
pub struct Customer<'a> {
    /// The name in the EHLO answer.
    pub name: &'a str,
    /// Its address.
    pub address: SocketAddr,
    /// What it offered.
    pub offer: &'a Offer,
}

impl Labels {
    /// The words for a connection to `customer` that serves mail routed by `service` to `next_hops`; Postfix stops
    /// using it at `expires` (seconds since 1970).
    #[must_use]
    pub fn new(
        form: Form,
        service: &str,
        next_hops: &[NextHop],
        customer: Customer<'_>,
        expires: u64,
    ) -> Self {
        let mut destinations = Vec::new();
        let mut destination_properties = Vec::new();
        let needs: &[&str] = match form {
            // Patch releases of one version differ: 3.7.11 adds nothing, 3.10.13 adds TLS level and SMTPUTF8. A label
            // that nobody asks for costs nothing.
            Form::Plain | Form::Port => &["", "0\n", "0\n0\n", "0\n1\n"],
            // TLS level, REQUIRETLS, SMTPUTF8. No label for REQUIRETLS: such mail must not travel in the clear.
            // SMTPUTF8 whether or not the customer offers it: smtp(8) then returns the one message that needs it,
            // where without a connection it would put off all the others as well.
            Form::Needs => &["0\n0\n0\n", "0\n0\n1\n"],
        };
        for next_hop in next_hops {
            for need in needs {
                destinations.push(format!("{service}\n{next_hop}\n{need}"));
                destination_properties.push(destination(form, next_hop, customer));
            }
        }
        let needs = if form == Form::Needs {
            "0\n0\n0\n"
        } else {
            "0\n"
        };
        // Not by the customer's own address and port: another customer can come from there a moment later, and the
        // cache leads from a next hop to this name until its time is over, whoever has the connection by then.
        let (ip, port) = next_hops.first().map_or_else(
            || (customer.address.ip(), customer.address.port()),
            |next_hop| (next_hop.ip(), next_hop.port()),
        );
        Self {
            destinations,
            destination_properties,
            endpoint: format!("{service}\n{ip}\n{port}\n{needs}"),
            endpoint_properties: format!(
                "tls_level=0\nreuse_count=0\nendpoint_features={}\nexpire_time={expires}\n\n",
                features(customer.offer)
            ),
        }
    }
}

fn destination(form: Form, next_hop: &NextHop, customer: Customer<'_>) -> String {
    // smtp(8) makes the endpoint's label of host_addr and a port when it puts the connection back. Two customers may
    // come from one address, and must not share a label: one could be handed the other's connection. So host_addr is
    // the next hop, which is one customer's alone, and the customer's own address goes with the name into the log.
    let name = host_name(customer.name);
    let shown = format!("{name}[{}]", customer.address.ip().to_canonical());
    let port = match form {
        Form::Plain => String::new(),
        // In network byte order, read as a number.
        Form::Port | Form::Needs => format!("host_port={}\n", next_hop.port().to_be()),
    };
    format!(
        "destination={next_hop}\nhost_name={shown}\nhost_addr={}\n{port}destination_features={BEST_HOST}\n\n",
        next_hop.ip()
    )
}

/// The name as it may stand in a line of its own and in the log; smtp(8) takes no empty one.
fn host_name(name: &str) -> String {
    let kept: String = name
        .chars()
        .filter(|character| character.is_ascii_alphanumeric() || ".-_:[]".contains(*character))
        .take(255)
        .collect();
    if kept.is_empty() {
        "unknown".to_owned()
    } else {
        kept
    }
}

fn features(offer: &Offer) -> u32 {
    [
        (offer.eight_bit_mime, EIGHT_BIT_MIME),
        (offer.pipelining, PIPELINING),
        (offer.has_size, SIZE),
        (offer.dsn, DSN),
        (offer.smtputf8, SMTPUTF8),
    ]
    .into_iter()
    .fold(
        ESMTP,
        |features, (offered, bit)| if offered { features | bit } else { features },
    )
}
