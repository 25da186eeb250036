//! How a customer's session can end without a turn, for the operator.

use crate::smtp::Reply;

/// How a session ended that did not turn.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Outcome {
    /// 453: there is nothing to fetch, which is a success.
    #[error("no mail")]
    NoMail,
    /// The provider said no: 530 or another 5yz.
    #[error("the provider refused: {reply}")]
    Refused {
        /// The reply that said so.
        reply: Reply,
    },
    /// The provider said not now: 421, 450, 451 or another 4yz.
    #[error("the provider asks to try later: {reply}")]
    TryLater {
        /// The reply that said so.
        reply: Reply,
    },
    /// User or password was not accepted. No other mechanism is tried (rule C16).
    #[error("authentication failed: {reply}")]
    AuthFailed {
        /// The reply that said so.
        reply: Reply,
    },
    /// TLS is wanted and STARTTLS is not offered: nothing but EHLO and QUIT was said (rules B49, C3).
    #[error(
        "STARTTLS not advertised, so no password was sent (the provider has no TLS on this port, or a proxy, a firewall or an attacker has removed it)"
    )]
    NoStartTls,
    /// STARTTLS is offered and was refused: 454 for now, 5yz for good. No password was sent (rules B43, B49, C3).
    #[error("the provider refuses to start TLS, so no password was sent: {reply}")]
    TlsRefused {
        /// The reply that said so.
        reply: Reply,
    },
    /// The last EHLO was answered without ATRN: no password was sent (rules R9, C16).
    #[error("ATRN not advertised (a proxy or firewall may strip it)")]
    NoAtrn,
    /// No mechanism that is offered may be used.
    #[error(
        "no usable authentication mechanism, offered: {}{}",
        list(offered),
        hint(offered)
    )]
    NoMechanism {
        /// What was offered.
        offered: Vec<String>,
    },
    /// The provider did what the protocol does not know.
    #[error("protocol error: {what}")]
    Protocol {
        /// What it did.
        what: String,
    },
    /// Our own settings make the request impossible.
    #[error("{what}")]
    Settings {
        /// What is wrong with them, and what to do.
        what: String,
    },
    /// `Step::Prepare` failed: ATRN was not sent.
    #[error("the mail server here is not ready")]
    MtaNotReady,
    /// The driver gave up with `Customer::abandon`, for its own reason.
    #[error("{why}")]
    Abandoned {
        /// The reason.
        why: String,
    },
}

impl Outcome {
    /// Octets lay behind the reply to STARTTLS: they were sent in the clear to be believed under TLS (rule C2).
    #[must_use]
    pub fn early_octets() -> Self {
        Self::Protocol {
            what: "octets behind the reply to STARTTLS (somebody may have injected them)"
                .to_owned(),
        }
    }
}

/// A provider that offers nothing at all usually wants TLS first (rule R8).
fn hint(offered: &[String]) -> &'static str {
    if offered.is_empty() {
        " (does it want TLS first?)"
    } else {
        ""
    }
}

fn list(offered: &[String]) -> String {
    if offered.is_empty() {
        return "none".to_owned();
    }
    offered.join(" ")
}

/// A reply that the protocol does not know at this point.
pub(super) fn unexpected(reply: &Reply) -> Outcome {
    Outcome::Protocol {
        what: format!("unexpected reply {reply}"),
    }
}
