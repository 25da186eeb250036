//! What the provider's machine asks of its driver, and the answers it takes.

#[cfg(doc)]
use super::Provider;
use crate::odmr::Turned;
use crate::sasl::server::Evidence;
use crate::smtp::{Domain, DomainList, Reply};
use std::time::Duration;

/// What the driver has to do.
#[derive(Debug)]
pub enum Action {
    /// Send the reply, then read on.
    Say(Reply),
    /// Wait, send the reply, then read on: the price of a wrong password (rule C11).
    SayAfter(Duration, Reply),
    /// Send the reply, then close.
    Close(Reply),
    /// Send the reply, then start TLS as server and say [`Provider::tls_started`]; or, instead of both, say
    /// [`Provider::tls_unavailable`]. If the handshake fails, close.
    StartTls(Reply),
    /// Let the accounts judge this and give their verdict to [`Provider::verified`].
    Verify(Evidence),
    /// The user has proved itself: look up what it may fetch, and give that to [`Provider::verified`].
    Access {
        /// The name that was proved.
        user: String,
    },
    /// Everything is allowed: is there mail, and is the way to the MTA ready? [`Provider::answered`] takes the answer.
    Ask(Request),
    /// Send the reply, which is one line, then the connection has turned: the next byte is the customer's greeting.
    Turn(Reply, Turned),
}

/// An ATRN that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The authenticated user.
    pub user: String,
    /// The domains it named, or all of its own (rule R17).
    pub domains: DomainList,
}

/// Who the customer is and what it may fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user that authenticated.
    pub user: String,
    /// What it may fetch.
    pub access: Access,
}

/// What a user may fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// These domains; perhaps none.
    Domains(Vec<Domain>),
    /// It cannot be found out at present: ATRN is answered 451 (rule R22).
    Unknown,
}

/// The accounts' answer to [`Action::Verify`] and [`Action::Access`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// 235.
    Accepted(Identity),
    /// 535, the same for an unknown user and for a wrong password (rules B32, B74).
    Rejected,
    /// 454: nobody could judge; the customer need not doubt its password (rule B33).
    Unavailable,
}

/// The answer to [`Action::Ask`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueAnswer {
    /// There is mail for at least one of the domains, and the MTA is ready: 250 (rule R21).
    Mail,
    /// There is none: 453 (rule R19).
    NoMail,
    /// A domain is no longer the user's, since the login: 450 (rule R18).
    Refused,
    /// Another session holds one of the domains: 450 (rule R20).
    Busy,
    /// The last session was a moment ago: 450 (rule R20).
    TooSoon,
    /// Queue or MTA cannot be reached, or the answer took too long: 451 (rule R22).
    Unavailable,
}
