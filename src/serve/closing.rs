//! The closing line of a session: one line with all that matters, whatever happened.

use crate::odmr::Turned;
use crate::report;
use crate::smtp::reply::Reply;
use std::net::SocketAddr;
use std::time::Instant;

/// Gathers what becomes known and is written once, at the end.
#[derive(Debug)]
pub(super) struct Closing {
    id: String,
    peer: SocketAddr,
    handoff: &'static str,
    began: Instant,
    user: Option<String>,
    domains: Option<String>,
    mechanism: Option<String>,
    turned: bool,
    end: String,
}

impl Closing {
    pub(super) fn new(id: &str, peer: SocketAddr, handoff: &'static str) -> Self {
        Self {
            id: id.to_owned(),
            peer,
            handoff,
            began: Instant::now(),
            user: None,
            domains: None,
            mechanism: None,
            turned: false,
            end: String::new(),
        }
    }

    /// The login succeeded.
    pub(super) fn user(&mut self, user: &str) {
        self.user = Some(user.to_owned());
    }

    /// These domains were asked for by somebody who may have them.
    pub(super) fn domains(&mut self, domains: String) {
        self.domains = Some(domains);
    }

    /// The session was turned: the machine's proof says who and what.
    pub(super) fn turned(&mut self, turned: &Turned) {
        self.turned = true;
        self.mechanism = turned.mechanism().map(|mechanism| mechanism.name().to_owned());
    }

    /// How it ended, in a phrase.
    pub(super) fn end(&mut self, how: String) {
        self.end = how;
    }

    /// A phrase for an end that a reply of ours made.
    pub(super) fn after_reply(&mut self, reply: &Reply) {
        self.end = match reply.code {
            221 if self.turned => "QUIT".to_owned(),
            221 => "QUIT before the turn".to_owned(),
            code => format!("closed with {code}"),
        };
    }

    /// Writes the line.
    pub(super) fn write(self) {
        tracing::info!(
            session = %self.id,
            peer = %self.peer,
            user = %report::safe(self.user.as_deref().unwrap_or("-")),
            domains = self.domains.as_deref().unwrap_or("-"),
            mechanism = self.mechanism.as_deref().unwrap_or("-"),
            handoff = if self.turned { self.handoff } else { "-" },
            turned = self.turned,
            seconds = (self.began.elapsed().as_secs_f64() * 1000.0).round() / 1000.0,
            end = %self.end,
            "session ended"
        );
    }
}
