//! Mechanisms: how a customer proves who it is (RFC 4422), both sides, as step functions over raw bytes.
//!
//! Base64 and reply codes belong to SMTP (RFC 4954) and are not seen here. The client's half is
//! [`client::ClientExchange`], the provider's [`server::ServerExchange`]. PLAIN, LOGIN, CRAM-MD5 and
//! EXTERNAL are written out here; SCRAM's cryptography is rsasl's, behind a check of each message's shape ([`scram`]).
//!
//! Nothing here reads a clock or draws randomness, with one exception: rsasl draws SCRAM's nonces itself.

mod binding;
pub mod client;
pub mod cram_md5;
mod error;
mod external;
mod mechanism;
pub mod plain;
mod prepare;
pub mod scram;
mod secret;
pub mod server;

pub use binding::{Channel, ChannelBinding};
pub use error::SaslError;
pub use mechanism::{Mechanism, UnknownMechanism};
pub use prepare::prepare;
pub use secret::Secret;
