//! Logging in: what the machine has found out is judged by the accounts, and the log hears why.

use super::Session;
use crate::accounts::Outcome as Judged;
use crate::odmr::provider::{Access, Action, Identity, Verdict};
use crate::report::{Counter, safe};
use crate::sasl::SaslError;
use crate::sasl::server::Evidence;
use crate::serve::refusal;
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
        if let Err(instead) = self
            .begin_guess(Some(name.clone()).filter(|name| !name.is_empty()))
            .await
        {
            return instead;
        }
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
        self.guess = None;
        let action = self.machine.verified(verdict);
        if let Some(mechanism) = self.machine.mechanism() {
            self.closing.mechanism(mechanism.name());
            self.turn_by = Instant::now() + self.files.serve.limits.login_time;
            // Nobody takes its place any more.
            if let Some(admitted) = &mut self.admitted {
                admitted.logged_in();
            }
            self.leave = Arc::default();
        }
        action
    }

    /// An AUTH exchange failed inside the machine: SCRAM, a cancel, or nonsense.
    pub(super) fn exchange_failed(&mut self) {
        let (user, reason) = (self.visitor.user(), self.visitor.reason());
        self.failed(user.as_deref());
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
        self.state.guesses.right(self.wire.peer().ip(), &user);
        tracing::info!(session = self.closing.id(), user = %safe(&user), "logged in");
        let access = Access::Domains(domains.iter().cloned().collect());
        Verdict::Accepted(Identity { user, access })
    }

    /// Waits for room to look at a login (rule C11).
    ///
    /// # Errors
    /// What to do instead when there is none.
    pub(super) async fn begin_guess(&mut self, user: Option<String>) -> Result<(), Action> {
        let peer = self.wire.peer();
        let guess = tokio::select! {
            guess = self.state.guesses.begin(peer.ip(), user.as_deref()) => guess,
            () = self.state.stopped() => return Err(Action::Close(self.machine.shutting_down())),
            () = self.leave.notified() => return Err(Action::Close(refusal::made_room(self.files))),
        };
        if guess.is_none() {
            tracing::warn!(
                session = self.closing.id(), %peer, user = user.map(|user| safe(&user).to_string()),
                "login not looked at: too many others fail from this address or network, or for this user"
            );
            return Err(Action::Close(refusal::too_many_logins(self.files)));
        }
        self.guess = guess;
        Ok(())
    }

    /// Counts a failed login, and keeps its room until the answer is due.
    fn failed(&mut self, user: Option<&str>) {
        self.state.ledger.count(Counter::LoginFailed);
        self.penalty = self.state.guesses.wrong(self.wire.peer().ip(), user);
        if let Some(guess) = self.guess.take() {
            guess.hold(self.penalty);
        }
    }

    /// The peer hears 535 whatever the reason; the log tells the operator (rule B74).
    fn rejected(&mut self, user: &str, reason: &dyn std::fmt::Display) -> Verdict {
        let named = Some(user).filter(|user| !user.is_empty());
        self.failed(named);
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
