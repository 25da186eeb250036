//! Who encrypts after the turn: the operator's wish.

use std::fmt;

/// `handoff_tls`: how a connection under TLS is given to a mail server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum HandoffTls {
    /// The kernel wherever it can carry a session whole, otherwise the relay.
    #[default]
    Auto,
    /// The kernel or not at all.
    Kernel,
    /// Always through this process.
    Relay,
}

impl HandoffTls {
    /// The word in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Kernel => "kernel",
            Self::Relay => "relay",
        }
    }
}

impl fmt::Display for HandoffTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
