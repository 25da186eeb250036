//! SCRAM (RFC 5802, RFC 7677): rsasl does the cryptography, here stands what it leaves open.
//!
//! Three of its habits make a guard necessary. It takes slices of a message before it has looked at their
//! length and so panics on a short one; it passes the user's name on as it stood on the wire, escapes and all;
//! and it reports a finished exchange also after a wrong password. So each message is checked for its shape
//! before rsasl sees it ([`shape`]), names are unescaped and prepared here, only a completed validation counts,
//! and after any error the session is dropped, because the next step would panic.

mod client;
mod keys;
mod library;
mod server;
mod shape;

pub(super) use client::ClientScram;
pub use keys::{ScramHash, ScramStored, derive};
pub(super) use server::ServerScram;

/// Fewest iterations a client works with (rule B68). RFC 5802 and RFC 7677 say that a server SHOULD NOT use fewer;
/// a lower number offered over a line without TLS is an attempt to get a digest that is cheap to try
/// passwords on.
pub const ITERATIONS_MIN: u32 = 4096;

/// Most iterations a client works with (rule B68): about a second of one processor. More is a server that
/// wants to keep its clients busy (RFC 5802 section 9).
pub const ITERATIONS_MAX: u32 = 1_000_000;
