//! The conversation of a probe: the customer's machine decides what is said, exactly as in a fetch, and everything that
//! comes back is held against the standards.

use super::finding::Findings;
use super::report::{Login, Mail, Report, TlsReport};
use super::{judge, turned};
use crate::config::{Provider, ProviderTls};
use crate::fetch::report::End;
use crate::fetch::secure;
use crate::fetch::stop::{Stop, lost, stop};
use crate::fetch::talk::what;
use crate::odmr::customer::{Customer, Outcome, Settings, Step, Tls, Wait};
use crate::sasl::Secret;
use crate::smtp::{Command, Offer, Reply, ReplyReader, literal};
use crate::tls::ClientTls;
use crate::wire::Wire;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A probe has somebody in front of it, who does not wait as long as RFC 5321 lets a mail server wait.
const PATIENCE: Duration = Duration::from_secs(60);

/// QUIT changes nothing: its reply is only worth a look.
const PARTING: Duration = Duration::from_secs(10);

/// How long a line may stay unfinished before it is looked at.
const LOOK: Duration = Duration::from_secs(3);

/// What became of a conversation.
pub(super) enum Ended {
    /// As far as was asked.
    Well,
    /// For the reason that a fetch would have.
    Early(Stop),
    /// The certificate is not believed: nothing was said under TLS.
    Distrusted(Stop),
}

/// One connection of a probe.
pub(super) struct Talk<'a> {
    provider: &'a Provider,
    id: &'a str,
    /// ATRN is to be said.
    atrn: bool,
    wire: Wire,
    replies: ReplyReader,
    hostname: String,
    /// The offer that holds now.
    offer: Offer,
    pub(super) findings: Findings,
}

impl<'a> Talk<'a> {
    pub(super) fn new(provider: &'a Provider, id: &'a str, atrn: bool, wire: Wire) -> Self {
        let own = || literal(wire.local().ip());
        Self {
            hostname: provider.hostname.clone().unwrap_or_else(own),
            provider,
            id,
            atrn,
            wire,
            replies: ReplyReader::new(),
            offer: Offer::default(),
            findings: Findings::default(),
        }
    }

    /// The whole conversation; the connection is closed behind it.
    pub(super) async fn whole(
        mut self,
        tls: Option<&ClientTls>,
        secret: Option<Secret>,
        report: &mut Report,
    ) -> Ended {
        let ended = self.talk(tls, secret, report).await;
        report.findings = self.findings.take();
        self.wire.close().await;
        match ended {
            Ok(()) => Ended::Well,
            Err(Failed::Stop(stop)) => Ended::Early(stop),
            Err(Failed::Distrusted(stop)) => Ended::Distrusted(stop),
        }
    }

    async fn talk(
        &mut self,
        tls: Option<&ClientTls>,
        secret: Option<Secret>,
        report: &mut Report,
    ) -> Result<(), Failed> {
        if let (ProviderTls::Implicit, Some(tls)) = (self.provider.tls, tls) {
            self.handshake(tls, report).await?;
        }
        let mut machine = Customer::new(self.settings(secret));
        loop {
            let wait = machine.waiting_for();
            let reply = self.answer(&mut machine, report).await?;
            if wait == Wait::Atrn && reply.is_positive() {
                report.mail = Mail::Waiting;
            }
            if wait == Wait::Auth && reply.is_positive() {
                report.login = Login::Accepted;
            }
            let mut step = machine.reply(reply);
            if matches!(step, Step::StartTls) {
                self.start_tls(tls, report).await?;
                step = machine.tls_started(secure::binding(&self.wire));
            }
            if matches!(step, Step::Prepare) {
                step = machine.prepared(self.atrn);
            }
            report.mechanism = machine.mechanism().map(|one| one.name().to_owned());
            match step {
                Step::Send(line) => {
                    let last =
                        self.wire.facts().is_some() || self.provider.tls == ProviderTls::None;
                    if wait == Wait::Ehlo && self.atrn && last && self.offer.atrn {
                        self.too_early(report).await?;
                    }
                    self.send(&line, machine.waiting_for()).await?;
                }
                Step::Turned(_) => {
                    turned::give_back(&mut self.wire, &self.hostname, &mut self.findings).await?;
                    return Ok(());
                }
                Step::End(outcome) => return self.over(outcome, report),
                Step::StartTls | Step::Prepare => {
                    let text = "asked twice for TLS, or for a mail server (please report this)";
                    return Err(Stop(End::Protocol, text.to_owned()).into());
                }
            }
        }
    }

    fn settings(&self, secret: Option<Secret>) -> Settings {
        Settings {
            ehlo_name: self.hostname.clone(),
            user: self.provider.user.clone(),
            password: secret,
            domains: self.provider.domains.clone(),
            mechanisms: secure::mechanisms(self.provider),
            allow_plaintext: self.provider.plaintext_without_tls,
            tls: match self.provider.tls {
                ProviderTls::Starttls => Tls::Starttls,
                ProviderTls::Implicit => Tls::Implicit,
                ProviderTls::None => Tls::None,
            },
            binding: secure::binding(&self.wire),
            external: self.provider.certificate.is_some(),
        }
    }

    /// The next reply, written down and judged. Where a provider goes away on QUIT, 221 is put in its place.
    async fn answer(&mut self, machine: &mut Customer, report: &mut Report) -> Result<Reply, Stop> {
        let wait = machine.waiting_for();
        let reply = match self.reply(wait).await {
            Ok(reply) => reply,
            Err(_) if wait == Wait::Quit => {
                self.findings
                    .deviates("RFC 5321 section 4.1.1.10", "does not answer QUIT with 221");
                return Ok(Reply::plain(221, ""));
            }
            Err(stop) => return Err(stop),
        };
        tracing::debug!(session = self.id, code = reply.code, "reply");
        let findings = &mut self.findings;
        match wait {
            Wait::Greeting => {
                judge::greeting(&reply, findings);
                report.greeting(&reply);
            }
            Wait::Ehlo => {
                let under_tls = self.wire.facts().is_some();
                let last = under_tls || self.provider.tls == ProviderTls::None;
                judge::offer(&reply, under_tls, last, findings);
                if reply.is_positive() {
                    self.offer = Offer::parse(&reply);
                    report.offer(&reply, &self.offer, under_tls);
                }
            }
            Wait::StartTls => judge::starttls(&reply, findings),
            Wait::Auth => judge::login(&reply, findings),
            Wait::Atrn => judge::atrn(&reply, findings),
            Wait::Quit => judge::quit(&reply, findings),
        }
        if self.offer.enhanced_status_codes && !matches!(wait, Wait::Greeting | Wait::Ehlo) {
            judge::enhanced(&reply, wait, findings);
        }
        Ok(reply)
    }

    /// After the 220 to STARTTLS.
    async fn start_tls(
        &mut self,
        tls: Option<&ClientTls>,
        report: &mut Report,
    ) -> Result<(), Failed> {
        let pending = self.wire.pending().await;
        if pending.map_err(|error| lost(&error, "STARTTLS"))? {
            self.findings.deviates(
                "RFC 3207 section 4",
                "goes on in the clear behind its reply to STARTTLS (or somebody on the way does)",
            );
            return Err(stop(Outcome::early_octets(), None).into());
        }
        // It holds no longer (RFC 3207 4.2).
        self.offer = Offer::default();
        match tls {
            Some(tls) => self.handshake(tls, report).await,
            None => Err(Stop(
                End::Configuration,
                "cannot begin TLS: there are no settings for it (please report this)".to_owned(),
            )
            .into()),
        }
    }

    async fn handshake(&mut self, tls: &ClientTls, report: &mut Report) -> Result<(), Failed> {
        match secure::handshake(&mut self.wire, tls, self.provider, self.id).await {
            Ok(()) => {
                report.tls = self.wire.facts().map(TlsReport::of);
                Ok(())
            }
            Err(stop) if matches!(stop.0, End::Refused) => Err(Failed::Distrusted(stop)),
            Err(stop) => {
                if stop.1.contains("older than 1.2") {
                    self.findings
                        .deviates("RFC 8996 section 5", "speaks no TLS of today");
                }
                Err(stop.into())
            }
        }
    }

    /// ATRN before AUTH, which must be refused (rule R15).
    async fn too_early(&mut self, report: &mut Report) -> Result<(), Failed> {
        let line = Command::Atrn(self.provider.domains.clone()).to_bytes();
        self.send(&line, Wait::Atrn).await?;
        let reply = self.reply(Wait::Atrn).await?;
        judge::early_atrn(&reply, &mut self.findings);
        if reply.is_positive() {
            report.mail = Mail::Waiting;
            turned::give_back(&mut self.wire, &self.hostname, &mut self.findings).await?;
            let text = "turned without authentication, nothing was taken";
            return Err(Stop(End::Protocol, text.to_owned()).into());
        }
        if reply.code == 421 {
            return Err(stop(Outcome::TryLater { reply }, None).into());
        }
        Ok(())
    }

    /// The machine has come to an end without a turn.
    fn over(&mut self, outcome: Outcome, report: &mut Report) -> Result<(), Failed> {
        match &outcome {
            Outcome::NoMail => {
                report.mail = Mail::None;
                return Ok(());
            }
            // As far as was asked.
            Outcome::MtaNotReady => return Ok(()),
            Outcome::NoMechanism { .. } if self.provider.mechanisms.is_empty() => return Ok(()),
            Outcome::AuthFailed { .. } => report.login = Login::Refused,
            Outcome::NoStartTls => self
                .findings
                .note("RFC 3207 section 6", "does not offer STARTTLS"),
            Outcome::Protocol { what } if what.starts_with("authentication was accepted") => {
                let text = format!("shows nothing of its own: {what}");
                self.findings.deviates("RFC 5802 section 5", text);
            }
            Outcome::Protocol { what } if what.starts_with("authentication") => {
                self.findings.deviates("RFC 4954 section 4", what);
            }
            _ => {}
        }
        Err(stop(outcome, None).into())
    }

    async fn send(&mut self, line: &[u8], wait: Wait) -> Result<(), Stop> {
        let pending = self.wire.pending().await;
        if wait != Wait::Quit && pending.map_err(|error| lost(&error, what(wait)))? {
            let reply = self.reply(wait).await?;
            if reply.code == 421 {
                return Err(stop(Outcome::TryLater { reply }, None));
            }
            let text = format!("speaks without being asked: {reply}");
            self.findings.deviates("RFC 5321 section 4.2", &text);
            return Err(stop(Outcome::Protocol { what: text }, None));
        }
        match timeout(PATIENCE, self.wire.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(&error, what(wait))),
            Err(_) => Err(Stop(
                End::TryLater,
                "the provider does not read (try later)".to_owned(),
            )),
        }
    }

    /// The next whole reply, within the time its command deserves: ATRN's is the operator's (rule R16).
    async fn reply(&mut self, wait: Wait) -> Result<Reply, Stop> {
        let timers = self.provider.timers;
        let limit = match wait {
            Wait::Atrn => timers.atrn,
            Wait::Quit => timers.command.min(PARTING),
            _ => timers.command.min(PATIENCE),
        };
        let deadline = Instant::now() + limit;
        let no_reply = |error: &dyn std::fmt::Display| {
            Stop(End::Protocol, format!("{error} (is this an SMTP server?)"))
        };
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(read) = timeout(left.min(LOOK), self.wire.line()).await else {
                if let Some(fault) = self.wire.fault() {
                    judge::broken_line(fault, wait, &mut self.findings);
                    return Err(no_reply(&format!("the reply has {fault}")));
                }
                if left.is_zero() {
                    let (what, seconds) = (what(wait), limit.as_secs());
                    let text = format!("no reply to {what} in {seconds} s (try later)");
                    return Err(Stop(End::TryLater, text));
                }
                continue;
            };
            let line = read.map_err(|error| lost(&error, what(wait)))?;
            if let Ok(line) = &line {
                judge::line(line.as_bytes(), &mut self.findings);
            }
            match self.replies.feed_line(line) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(error) => {
                    judge::broken(error, wait, &mut self.findings);
                    return Err(no_reply(&error));
                }
            }
        }
    }
}

/// Why a conversation did not come to the end that was asked for.
enum Failed {
    Stop(Stop),
    Distrusted(Stop),
}

impl From<Stop> for Failed {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}
