//! Logging in: what the machine has found out is judged by the accounts, and the log hears why.

use super::Session;
use crate::accounts::Outcome as Judged;
use crate::odmr::provider::{Access, Action, Identity, Verdict};
use crate::report::safe;
use crate::sasl::SaslError;
use crate::sasl::server::Evidence;
use crate::smtp::DomainList;
use std::sync::Arc;
use tokio::time::Instant;

impl Session<'_> {
    /// Judges a password or a digest; hashing takes time, so it does not happen on the reactor.
    pub(super) async fn verify(&mut self, evidence: Evidence) -> Action {
        if let Evidence::External { authzid } = &evidence {
            return self.external(authzid.as_deref());
        }
        let (accounts, peer) = (Arc::clone(&self.files.accounts), self.wire.peer().ip());
        let name = match &evidence {
            Evidence::Password { authcid, .. } => authcid.clone(),
            Evidence::CramMd5 { user, .. } => user.clone(),
            Evidence::External { authzid } => authzid.clone().unwrap_or_default(),
        };
        let judged = tokio::task::spawn_blocking(move || accounts.verify(&evidence, peer)).await;
        let verdict = match judged.map(|judgement| judgement.outcome) {
            Ok(Judged::Accepted { user, domains }) => self.accepted(user, &domains),
            Ok(Judged::Rejected(reason)) => self.rejected(&name, &reason),
            Err(_) => {
                tracing::error!(
                    session = self.closing.id(),
                    "cannot verify a password: the check itself failed (please report this)"
                );
                Verdict::Unavailable
            }
        };
        self.judged(verdict)
    }

    /// SCRAM proved the user; what may it fetch?
    pub(super) fn access(&mut self, user: &str) -> Action {
        let files = self.files;
        let verdict = match files.accounts.access(user, self.wire.peer().ip()) {
            Ok(domains) => self.accepted(user.to_owned(), domains),
            Err(reason) => self.rejected(user, &reason),
        };
        self.judged(verdict)
    }

    fn judged(&mut self, verdict: Verdict) -> Action {
        let action = self.machine.verified(verdict);
        if let Some(mechanism) = self.machine.mechanism() {
            self.closing.mechanism(mechanism.name());
            self.turn_by = Instant::now() + self.files.serve.limits.login_time;
        }
        action
    }

    /// An AUTH exchange failed inside the machine: SCRAM, a cancel, or nonsense.
    pub(super) fn exchange_failed(&mut self) {
        let (user, reason) = (self.visitor.user(), self.visitor.reason());
        self.penalty = self
            .state
            .login_failed(self.wire.peer().ip(), user.as_deref());
        let reason = match (reason, self.machine.exchange_error()) {
            (_, Some(error @ SaslError::ChannelBinding(_))) => error.to_string(),
            (Some(reason), _) => reason.to_string(),
            (None, _) => "wrong password, or the exchange was broken off".to_owned(),
        };
        tracing::warn!(
            session = self.closing.id(), peer = %self.wire.peer(),
            user = user.map(|user| safe(&user).to_string()),
            "login refused: {reason}"
        );
    }

    fn accepted(&mut self, user: String, domains: &DomainList) -> Verdict {
        self.closing.logged_in(&user);
        tracing::info!(session = self.closing.id(), user = %safe(&user), "logged in");
        let access = Access::Domains(domains.iter().cloned().collect());
        Verdict::Accepted(Identity { user, access })
    }

    /// The peer hears 535 whatever the reason; the log tells the operator (rule B74).
    fn rejected(&mut self, user: &str, reason: &dyn std::fmt::Display) -> Verdict {
        let named = Some(user).filter(|user| !user.is_empty());
        self.penalty = self.state.login_failed(self.wire.peer().ip(), named);
        tracing::warn!(
            session = self.closing.id(), peer = %self.wire.peer(), user = %safe(user),
            "login refused: {reason}"
        );
        Verdict::Rejected
    }

    /// The certificate that was shown in the handshake says who it is (rule B75).
    fn external(&mut self, authzid: Option<&str>) -> Action {
        let peer = self.wire.peer().ip();
        let shown = self.wire.facts().and_then(|facts| facts.peer.as_ref());
        let Some(shown) = shown else {
            let verdict = self.rejected(authzid.unwrap_or_default(), &"no certificate was shown");
            return self.judged(verdict);
        };
        let judged = self.files.accounts.external(shown, authzid, peer);
        let verdict = match judged.outcome {
            Judged::Accepted { user, domains } => self.accepted(user, &domains),
            Judged::Rejected(reason) => {
                let reason = format!("{reason}, certificate {}", shown.fingerprint);
                self.rejected(authzid.unwrap_or_default(), &reason)
            }
        };
        self.judged(verdict)
    }
}
