//! The words of the conversation: lines, commands, replies, offers, domains.
//!
//! Everything here is pure: bytes in, values out. Nothing reads a socket, a clock or a random number, and
//! nothing knows in which state a session is; that is `odmr`'s part.

pub mod base64;
pub mod command;
pub mod domain;
pub mod ehlo;
pub mod line;
mod literal;
pub mod network;
pub mod next_hop;
pub mod reply;
mod verb;

pub use command::{Command, CommandError};
pub use domain::{Domain, DomainError, DomainList};
pub use ehlo::Offer;
pub use line::{Line, LineError, LineReader};
pub use literal::literal;
pub use reply::{Enhanced, Reply, ReplyError, ReplyReader};
pub use verb::Verb;
pub(crate) use verb::{is_http_header, is_http_request};

/// Longest command line with its CRLF, in octets (RFC 5321 4.5.3.1.4, rule B4).
pub const COMMAND_LIMIT: usize = 512;

/// Longest line of an AUTH exchange with its CRLF, in octets (RFC 4954 4, rule B31: 12288 and the line end).
pub const EXCHANGE_LIMIT: usize = 12_290;
