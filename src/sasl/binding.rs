//! Channel binding: what ties a login to the very connection it is made on (RFC 5056).
//!
//! A thief in the middle who has a certificate that both sides believe still has two connections, and two bindings: a
//! login with -PLUS that it passes on is refused.

use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// The one type of binding that is spoken (RFC 9266, rule B72).
pub(super) const TYPE: &str = "tls-exporter";

/// The value of `tls-exporter` on a connection: 32 octets that only its two ends know.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ChannelBinding([u8; 32]);

impl ChannelBinding {
    /// The octets, for the one message that carries them.
    pub(super) fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl From<[u8; 32]> for ChannelBinding {
    fn from(octets: [u8; 32]) -> Self {
        Self(octets)
    }
}

/// It is a secret of the connection.
impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding(..)")
    }
}

/// What a client knows about binding when it begins an exchange. SCRAM tells the server (RFC 5802 6, rule B71), so that
/// both notice when somebody has taken -PLUS out of the offer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Channel {
    /// There is nothing to bind to: no TLS, or one that gives no binding. SCRAM says `n`.
    #[default]
    Unbound,
    /// The client could bind, but the server does not offer it. SCRAM says `y`.
    NotOffered,
    /// The exchange is bound to this; for -PLUS only.
    Bound(ChannelBinding),
}
