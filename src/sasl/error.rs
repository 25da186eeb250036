//! What can go wrong in an exchange, by blame; none of it carries a secret or a peer's bytes.

/// Why an exchange ended without success.
///
/// For the provider's reply: [`InitialResponseNotAllowed`](Self::InitialResponseNotAllowed) and
/// [`Malformed`](Self::Malformed) are 501, [`Denied`](Self::Denied) and
/// [`ChannelBinding`](Self::ChannelBinding) are 535, [`Unavailable`](Self::Unavailable)
/// is 454; the others do not occur there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaslError {
    /// The client sent data with `AUTH` although the server speaks first (rule B28).
    #[error("this mechanism takes no initial response")]
    InitialResponseNotAllowed,
    /// The peer's message is not one the mechanism knows at this point; the text says what is wrong.
    #[error("not a message of this mechanism: {0}")]
    Malformed(&'static str),
    /// The peer did not prove who it is, or asked to act for somebody else (rule B65).
    #[error("authentication failed")]
    Denied,
    /// The client's word about channel binding is not what it must be here: no binding with -PLUS, a binding of another
    /// kind, or `y` although -PLUS was offered (rules B71, B72). Somebody may stand in between.
    #[error("channel binding failed: {0}")]
    ChannelBinding(&'static str),
    /// A server said it accepts the login without having proved that it knows the password (rule B69).
    #[error("the server did not prove that it knows the password")]
    ServerNotVerified,
    /// A server asked for a number of hash rounds outside the limits of [`client`](super::client) (rule B68).
    #[error("the server asks for {0} iterations of the password hash, which is not accepted")]
    Iterations(u32),
    /// Our own user name or password cannot be sent: empty, too long, or with characters that SASLprep
    /// forbids (rule B41); the text says which.
    #[error(
        "the {0} cannot be used: empty, longer than 255 octets, or with characters that are not allowed"
    )]
    Unusable(&'static str),
    /// The peer sent a message after the exchange was over.
    #[error("the exchange is already over")]
    Over,
    /// SCRAM could not be set up.
    #[error("SCRAM is not available")]
    Unavailable,
}
