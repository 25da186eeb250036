//! The conversation with a provider up to the turn: the driver of the customer's machine.
//!
//! The machine in `odmr::customer` decides what is said; this file reads, writes, starts TLS, readies the mail server
//! and keeps the time.

use super::memory::Note;
use super::report::{End, Report};
use super::stop::{Stop, lost, stop};
use super::{Shared, secure};
use crate::config::{CustomerHandoff, Provider, ProviderTls};
use crate::handoff::HandoffError;
use crate::handoff::customer::{Ready, prepare};
use crate::odmr::customer::{Customer, Outcome, Settings, Step, Tls, Wait};
use crate::report;
use crate::sasl::Secret;
use crate::smtp::{Reply, ReplyReader};
use crate::tls::{ClientTls, HandoffTls};
use crate::wire::{Way, Wire};
use std::time::Duration;
use tokio::time::timeout;

/// How long a single write may take.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// How the part of the conversation that is ours came to its end.
pub(super) enum Talked {
    Turned(String),
    End(Stop),
}

/// The conversation with one provider, and what is made ready in it.
pub(super) struct Talk<'a> {
    pub(super) provider: &'a Provider,
    pub(super) shared: &'a Shared,
    pub(super) hostname: String,
    pub(super) id: &'a str,
    pub(super) closing: &'a report::Session,
    pub(super) wire: Wire,
    replies: ReplyReader,
    pub(super) note: Note,
    /// How the connection can go, as it was found before ATRN.
    pub(super) way: Way,
    pub(super) ready: Option<Ready>,
}

impl<'a> Talk<'a> {
    pub(super) fn new(
        provider: &'a Provider,
        shared: &'a Shared,
        closing: &'a report::Session,
        hostname: String,
        wire: Wire,
    ) -> Self {
        Self {
            provider,
            shared,
            hostname,
            id: closing.id(),
            closing,
            wire,
            replies: ReplyReader::new(),
            note: Note::about(&provider.name, &provider.state_directory),
            way: Way::Plain,
            ready: None,
        }
    }

    /// From the first octet to the turn, or to another end.
    pub(super) async fn whole(
        &mut self,
        tls: Option<ClientTls>,
        secret: Option<Secret>,
        report: &mut Report,
    ) -> Result<Talked, Stop> {
        let provider = self.provider;
        if let (ProviderTls::Implicit, Some(tls)) = (provider.tls, &tls) {
            secure::handshake(&mut self.wire, tls, provider, self.id).await?;
        }
        let mut machine = Customer::new(Settings {
            ehlo_name: self.hostname.clone(),
            user: provider.user.clone(),
            password: secret,
            domains: provider.domains.clone(),
            mechanisms: secure::mechanisms(provider),
            allow_plaintext: provider.plaintext_without_tls,
            tls: match provider.tls {
                ProviderTls::Starttls => Tls::Starttls,
                ProviderTls::Implicit => Tls::Implicit,
                ProviderTls::None => Tls::None,
            },
            binding: secure::binding(&self.wire),
            external: provider.certificate.is_some(),
        });
        let talked = self.talk(&mut machine, tls.as_ref()).await;
        report.mechanism = machine
            .mechanism()
            .map(|mechanism| mechanism.name().to_owned());
        talked
    }

    async fn talk(
        &mut self,
        machine: &mut Customer,
        tls: Option<&ClientTls>,
    ) -> Result<Talked, Stop> {
        let mut unready = None;
        loop {
            let reply = self.reply(machine.waiting_for()).await?;
            tracing::debug!(session = self.id, code = reply.code, "reply");
            let mut step = machine.reply(reply);
            if matches!(step, Step::StartTls) {
                self.start_tls(tls).await?;
                step = machine.tls_started(secure::binding(&self.wire));
            }
            if matches!(step, Step::Prepare) {
                let prepared = self.prepare().await;
                step = machine.prepared(prepared.is_ok());
                unready = prepared.err();
            }
            match step {
                Step::Send(line) => {
                    self.nothing_unasked(machine.waiting_for()).await?;
                    self.send(&line).await?;
                }
                Step::Turned(turned) => {
                    let domains = turned
                        .domains()
                        .map_or_else(|| "all".to_owned(), ToString::to_string);
                    return Ok(Talked::Turned(domains));
                }
                Step::End(outcome) => return Ok(Talked::End(stop(outcome, unready))),
                Step::StartTls | Step::Prepare => {
                    return Err(Stop(
                        End::Protocol,
                        "asked twice for TLS, or to ready the mail server (please report this)"
                            .to_owned(),
                    ));
                }
            }
        }
    }

    /// After the 220 to STARTTLS. What lies behind it in the clear was meant to be believed under TLS (rule C2).
    async fn start_tls(&mut self, tls: Option<&ClientTls>) -> Result<(), Stop> {
        let pending = self.wire.pending().await;
        if pending.map_err(|error| lost(&error, "STARTTLS"))? {
            return Err(stop(Outcome::early_octets(), None));
        }
        let Some(tls) = tls else {
            return Err(Stop(
                End::Configuration,
                "cannot begin TLS: there are no settings for it (please report this)".to_owned(),
            ));
        };
        secure::handshake(&mut self.wire, tls, self.provider, self.id).await
    }

    /// Before ATRN: which way can the connection go, and is the mail server ready to take it so?
    async fn prepare(&mut self) -> Result<(), HandoffError> {
        self.closing.state(report::State::Asking);
        if let Some(facts) = self.wire.facts() {
            self.closing.tls(facts);
        }
        let wish = self.provider.handoff_tls;
        let noted = wish == HandoffTls::Auto && self.note.exists();
        let relays = matches!(self.provider.handoff, CustomerHandoff::Relay { .. });
        let asked = if noted || relays {
            HandoffTls::Relay
        } else {
            wish
        };
        self.way = match self.wire.way(asked, &self.shared.kernel).await {
            Way::Relay(_) if relays => Way::Relay("the hand-off is a relay"),
            Way::Relay(_) if noted => Way::Relay("the kernel could not serve this provider before"),
            way => way,
        };
        let ready = match self.way {
            Way::Relay(why) if wish == HandoffTls::Kernel => Err(HandoffError::new(format!(
                "cannot hand over in the kernel: {why} (set handoff_tls = \"auto\", or load the kernel's module tls)"
            ))),
            way => {
                let ends = (self.wire.peer(), self.wire.local());
                let relay_possible = matches!(way, Way::Relay(_));
                prepare(&self.provider.handoff, relay_possible, ends).await
            }
        };
        match ready {
            Ok(ready) => {
                self.ready = Some(ready);
                Ok(())
            }
            Err(error) => {
                tracing::error!(session = self.id, %error, "the mail server is not ready, ATRN is not sent");
                Err(error)
            }
        }
    }

    /// The next whole reply, within the time its command deserves.
    async fn reply(&mut self, wait: Wait) -> Result<Reply, Stop> {
        let limit = match wait {
            Wait::Atrn => self.provider.timers.atrn,
            Wait::Greeting | Wait::Ehlo | Wait::StartTls | Wait::Auth | Wait::Quit => {
                self.provider.timers.command
            }
        };
        let read = async {
            loop {
                let line = self
                    .wire
                    .line()
                    .await
                    .map_err(|error| lost(&error, what(wait)))?;
                match self.replies.feed_line(line) {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {}
                    Err(error) => {
                        return Err(Stop(
                            End::Protocol,
                            format!("{error} (is this an SMTP server?)"),
                        ));
                    }
                }
            }
        };
        match timeout(limit, read).await {
            Ok(read) => read,
            Err(_) => {
                let seconds = limit.as_secs();
                Err(Stop(
                    End::TryLater,
                    format!("no reply to {} in {seconds} s (try later)", what(wait)),
                ))
            }
        }
    }

    /// Under TLS nobody but the provider speaks, and it speaks when it is asked: what is there already when the next
    /// command is due answers something else (rule C2). Only 421 may come at any time (rule B13).
    async fn nothing_unasked(&mut self, wait: Wait) -> Result<(), Stop> {
        if wait == Wait::Quit || self.wire.facts().is_none() {
            return Ok(());
        }
        let pending = self.wire.pending().await;
        if !pending.map_err(|error| lost(&error, what(wait)))? {
            return Ok(());
        }
        let reply = self.reply(wait).await?;
        let outcome = if reply.code == 421 {
            Outcome::TryLater { reply }
        } else {
            let what = format!("a reply that nobody asked for: {reply}");
            Outcome::Protocol { what }
        };
        Err(stop(outcome, None))
    }

    async fn send(&mut self, line: &[u8]) -> Result<(), Stop> {
        match timeout(WRITE_TIME, self.wire.send(line)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(lost(&error, "writing")),
            Err(_) => Err(Stop(
                End::TryLater,
                "the provider does not read (try later)".to_owned(),
            )),
        }
    }
}

/// The command whose reply is waited for, in the operator's words.
pub(super) fn what(wait: Wait) -> &'static str {
    match wait {
        Wait::Greeting => "the connection",
        Wait::Ehlo => "EHLO",
        Wait::StartTls => "STARTTLS",
        Wait::Auth => "AUTH",
        Wait::Atrn => "ATRN",
        Wait::Quit => "QUIT",
    }
}
