//! TLS as this program uses it: which certificates, which names, which versions, and what a handshake has shown.
//!
//! No sockets here: [`wire`](crate::wire) puts a handshake on a connection, this room says what must come of it.

mod facts;
mod fingerprint;
mod key_pair;
mod preference;

pub use facts::{Binding, Facts, PeerCertificate, Version};
pub use fingerprint::{Fingerprint, NotAFingerprint};
pub use key_pair::KeyPair;
pub use preference::HandoffTls;
