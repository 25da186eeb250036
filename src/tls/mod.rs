//! TLS as this program uses it: which certificates, which names, which versions, and what a handshake has shown.
//!
//! No sockets here: [`wire`](crate::wire) puts a handshake on a connection, this room says what must come of it.

mod certificate;
mod client;
mod client_certificate;
mod error;
mod facts;
mod fingerprint;
mod judged;
mod key_pair;
mod leaf;
mod peer_name;
mod pem;
mod preference;
mod provider;
mod refusal;
mod server;
mod server_certificate;

pub use certificate::Certificate;
pub use client::{ClientSettings, ClientTls};
pub(crate) use error::in_words;
pub use error::{TlsError, TlsErrorKind};
pub use facts::{Binding, Facts, PeerCertificate, Version};
pub use fingerprint::{Fingerprint, NotAFingerprint};
pub use judged::{Dates, Judged};
pub use key_pair::KeyPair;
pub use pem::Pem;
pub use preference::HandoffTls;
pub use provider::provider;
pub use server::ServerTls;
