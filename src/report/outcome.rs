//! The words for what a session is doing, what it came to, and what else is counted.

/// On which side this process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// It is the provider.
    Serve,
    /// It is the customer.
    Fetch,
}

/// What a session is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// It is being connected, or the TLS of its first octet negotiated.
    Greeting,
    /// Nobody has logged in yet.
    Login,
    /// Somebody has, and ATRN is waited for.
    LoggedIn,
    /// ATRN was said, and its answer is being found.
    Asking,
    /// ATRN was granted, and the mail server does not have the connection yet.
    Turned,
    /// The mail server has it.
    HandedOver,
    /// The mail server has it, and nobody here waits for the end.
    Left,
}

/// What a session came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Outcome {
    /// It turned, and ended in good order or is left with a mail server that works on it.
    Turned,
    /// It turned and broke: what was not acknowledged stays with its sender.
    Broken,
    /// There was no mail (453).
    NoMail,
    /// ATRN, or what stands before it, was refused.
    Refused,
    /// Something was not ready (a 4yz): the next time it may be.
    TryLater,
    /// A login failed, and no other followed that did not.
    LoginFailed,
    /// The TLS handshake failed.
    NoTls,
    /// QUIT without having asked for anything.
    Quit,
    /// The connection was lost or given up before the turn.
    Lost,
    /// This process was told to stop.
    Stopped,
    /// Nobody answered there.
    Unreachable,
    /// The peer does not keep to the protocol.
    Protocol,
    /// A fault here: of the configuration, or of this program.
    Internal,
}

/// What is counted besides sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Counter {
    /// A login was accepted.
    LoginAccepted,
    /// A login was refused (535).
    LoginFailed,
    /// A connection was refused: its address may not connect.
    NotInSources,
    /// A connection was refused: there were too many.
    TooMany,
    /// A connection that had not logged in was ended for another's sake.
    MadeRoom,
}

impl Role {
    /// The word in status and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Serve => "serve",
            Self::Fetch => "fetch",
        }
    }
}

impl State {
    /// Every state, in the order of a session.
    pub const ALL: [Self; 7] = [
        Self::Greeting,
        Self::Login,
        Self::LoggedIn,
        Self::Asking,
        Self::Turned,
        Self::HandedOver,
        Self::Left,
    ];

    /// The word in status and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Login => "login",
            Self::LoggedIn => "logged-in",
            Self::Asking => "asking",
            Self::Turned => "turned",
            Self::HandedOver => "handed-over",
            Self::Left => "left",
        }
    }
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 13] = [
        Self::Turned,
        Self::Broken,
        Self::NoMail,
        Self::Refused,
        Self::TryLater,
        Self::LoginFailed,
        Self::NoTls,
        Self::Quit,
        Self::Lost,
        Self::Stopped,
        Self::Unreachable,
        Self::Protocol,
        Self::Internal,
    ];

    /// The word in status and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Turned => "turned",
            Self::Broken => "broken",
            Self::NoMail => "no-mail",
            Self::Refused => "refused",
            Self::TryLater => "try-later",
            Self::LoginFailed => "login-failed",
            Self::NoTls => "no-tls",
            Self::Quit => "quit",
            Self::Lost => "lost",
            Self::Stopped => "stopped",
            Self::Unreachable => "unreachable",
            Self::Protocol => "protocol",
            Self::Internal => "internal",
        }
    }

    /// Nothing has to be looked at: there was no mail, or it travelled.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Turned | Self::NoMail)
    }

    /// What a provider's session came to that ended in good order before the turn, by the last refusal
    /// that the customer heard.
    #[must_use]
    pub const fn of_refusal(code: Option<u16>) -> Self {
        match code {
            None => Self::Quit,
            Some(453) => Self::NoMail,
            Some(535) => Self::LoginFailed,
            // 450 is no trouble that passes by itself: not one's own domain, too soon, or twice at a time.
            Some(450 | 500..=599) => Self::Refused,
            Some(_) => Self::TryLater,
        }
    }
}

impl Counter {
    /// Every counter.
    pub const ALL: [Self; 5] = [
        Self::LoginAccepted,
        Self::LoginFailed,
        Self::NotInSources,
        Self::TooMany,
        Self::MadeRoom,
    ];

    /// The result of a login that it counts.
    #[must_use]
    pub const fn login(self) -> Option<&'static str> {
        match self {
            Self::LoginAccepted => Some("accepted"),
            Self::LoginFailed => Some("failed"),
            Self::NotInSources | Self::TooMany | Self::MadeRoom => None,
        }
    }

    /// The reason it counts for which a connection was refused.
    #[must_use]
    pub const fn refusal(self) -> Option<&'static str> {
        match self {
            Self::NotInSources => Some("sources"),
            Self::TooMany => Some("connections"),
            Self::MadeRoom => Some("newcomer"),
            Self::LoginAccepted | Self::LoginFailed => None,
        }
    }
}
