//! One fetch: dial, log in, ready the mail server, turn, hand over, see how it ends.
//!
//! The machine in `odmr::customer` decides what is said; this file reads, writes, keeps the
//! time and makes the report.

use super::dial::dial;
use super::report::{End, Report};
use crate::config::{Provider, ProviderTls};
use crate::handoff::HandoffError;
use crate::handoff::customer::{Carried, Ready, prepare};
use crate::odmr::customer::{Customer, Outcome, Settings, Step, Wait};
use crate::report;
use crate::sasl::Secret;
use crate::smtp::{Reply, ReplyReader};
use crate::wire::follow::{Followed, until_closed};
use crate::wire::{Wire, WireError};
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How long a single write may take.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// How long the end of a session is watched for the report; nothing is cut by it.
const FOLLOW_TIME: Duration = Duration::from_secs(24 * 3600);

/// Why a conversation stopped before its end: the blame and the sentence.
struct Stop(End, String);

/// Fetches once from one provider.
pub(super) async fn fetch(provider: &Provider) -> Report {
    let mut closing = report::Session::fetch(&provider.name);
    closing.user(&provider.user);
    let started = Instant::now();
    let mut report = Report::new(provider);
    let id = closing.id().to_owned();
    let stopped = attempt(provider, &id, &mut report).await;
    let Stop(end, text) = stopped.unwrap_or_else(|stop| stop);
    let report = report.ended(end, started.elapsed(), text);
    if let Some(peer) = &report.peer {
        closing.peer(peer);
    }
    closing.domains(report.asked_for());
    if let Some(mechanism) = &report.mechanism {
        closing.mechanism(mechanism);
    }
    if end == End::Fetched {
        closing.handoff(report.handoff);
    }
    closing.close(&report.text);
    report
}

async fn attempt(provider: &Provider, id: &str, report: &mut Report) -> Result<Stop, Stop> {
    let source = provider.secret.clone();
    // A password command may take its time; the other fetches go on meanwhile.
    let secret = tokio::task::spawn_blocking(move || source.read())
        .await
        .map_err(|error| {
            Stop(
                End::Configuration,
                format!("cannot read {}: {error}", provider.secret),
            )
        })?
        .map_err(|error| Stop(End::Configuration, error.to_string()))?;
    let stream = dial(&provider.host, provider.port, provider.timers.connect)
        .await
        .map_err(|error| Stop(End::Unreachable, error.to_string()))?;
    let wire =
        Wire::new(stream, ReplyReader::LINE_LIMIT).map_err(|error| lost(&error, "connecting"))?;
    report.peer = Some(wire.peer().to_string());
    tracing::info!(session = id, provider = %provider.name, peer = %wire.peer(), "connected");
    let hostname = provider
        .hostname
        .clone()
        .unwrap_or_else(|| literal(wire.local().ip()));
    let mut talk = Talk {
        provider,
        hostname,
        id,
        wire,
        replies: ReplyReader::new(),
        ready: None,
    };
    let (machine, end) = talk.until_the_turn(secret).await;
    report.mechanism = machine
        .mechanism()
        .map(|mechanism| mechanism.name().to_owned());
    match end? {
        Talked::End(stop) => {
            talk.wire.close().await;
            Ok(stop)
        }
        Talked::Turned(domains) => {
            tracing::info!(session = id, domains = %domains, "turned");
            talk.hand_over().await
        }
    }
}

/// How the part of the conversation that is ours came to its end.
enum Talked {
    Turned(String),
    End(Stop),
}

struct Talk<'a> {
    provider: &'a Provider,
    hostname: String,
    id: &'a str,
    wire: Wire,
    replies: ReplyReader,
    ready: Option<Ready>,
}

impl Talk<'_> {
    async fn until_the_turn(&mut self, secret: Secret) -> (Customer, Result<Talked, Stop>) {
        let provider = self.provider;
        let mut machine = Customer::new(Settings {
            ehlo_name: self.hostname.clone(),
            user: provider.user.clone(),
            password: secret,
            domains: provider.domains.clone(),
            // Where the operator wants TLS, nothing is shown without it (rule C3).
            mechanisms: match provider.tls {
                ProviderTls::None => provider.mechanisms.clone(),
                ProviderTls::Starttls | ProviderTls::Implicit => Vec::new(),
            },
            allow_plaintext: provider.plaintext_without_tls,
        });
        let talked = self.talk(&mut machine).await;
        (machine, talked)
    }

    async fn talk(&mut self, machine: &mut Customer) -> Result<Talked, Stop> {
        let mut unready = None;
        loop {
            let reply = self.reply(machine.waiting_for()).await?;
            tracing::debug!(session = self.id, code = reply.code, "reply");
            let mut step = machine.reply(reply);
            if matches!(step, Step::Prepare) {
                let prepared = self.prepare();
                step = machine.prepared(prepared.is_ok());
                unready = prepared.err();
            }
            match step {
                Step::Send(line) => self.send(&line).await?,
                Step::Turned(turned) => {
                    let domains = turned
                        .domains()
                        .map_or_else(|| "all".to_owned(), ToString::to_string);
                    return Ok(Talked::Turned(domains));
                }
                Step::End(outcome) => return Ok(Talked::End(stop(outcome, unready))),
                Step::Prepare => {
                    return Err(Stop(
                        End::Protocol,
                        "asked twice to ready the mail server".to_owned(),
                    ));
                }
            }
        }
    }

    fn prepare(&mut self) -> Result<(), HandoffError> {
        let ready = prepare(&self.provider.handoff);
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
            Wait::Greeting | Wait::Ehlo | Wait::Auth | Wait::Quit => self.provider.timers.command,
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

    async fn hand_over(mut self) -> Result<Stop, Stop> {
        let Some(ready) = self.ready else {
            return Err(Stop(
                End::Protocol,
                "turned before the mail server was ready".to_owned(),
            ));
        };
        // Only we may speak now: an octet from the provider before our 220 was injected by
        // somebody, or the provider is broken. The mail server must not see it (rule C5).
        let pending = self.wire.pending().await;
        if pending.map_err(|error| lost(&error, "ATRN"))? {
            return Err(Stop(
                End::Protocol,
                "the provider spoke before the greeting, nothing was handed over (somebody may have injected it)".to_owned(),
            ));
        }
        let (local, peer) = (self.wire.local(), self.wire.peer());
        let released = self
            .wire
            .release()
            .await
            .map_err(|error| lost(&error, "the turn"))?;
        let carried = ready
            .commit(released, &self.hostname)
            .await
            .map_err(|error| Stop(End::TryLater, error.to_string()))?;
        let to = self.provider.handoff.name();
        tracing::info!(session = self.id, handoff = to, "handed over");
        match carried {
            Carried::Running(child) => match child.wait().await {
                Ok(()) => Ok(Stop(
                    End::Fetched,
                    format!("turned, handed over by {to}, session ended"),
                )),
                Err(error) => Err(Stop(End::TryLater, error.to_string())),
            },
            Carried::Passed => {
                let how = match until_closed(local, peer, FOLLOW_TIME).await {
                    Followed::Ended => "session ended",
                    Followed::StillOpen => "session still open",
                    Followed::Unseen => "its end is in the mail server's log",
                };
                Ok(Stop(
                    End::Fetched,
                    format!("turned, handed over by {to}, {how}"),
                ))
            }
        }
    }
}

/// The command whose reply is waited for, in the operator's words.
fn what(wait: Wait) -> &'static str {
    match wait {
        Wait::Greeting => "the connection",
        Wait::Ehlo => "EHLO",
        Wait::Auth => "AUTH",
        Wait::Atrn => "ATRN",
        Wait::Quit => "QUIT",
    }
}

fn lost(error: &WireError, during: &str) -> Stop {
    Stop(
        End::TryLater,
        format!("connection lost during {during}: {error} (try later)"),
    )
}

/// What a conversation that was not turned means for the operator.
fn stop(outcome: Outcome, unready: Option<HandoffError>) -> Stop {
    let end = match &outcome {
        Outcome::NoMail => End::NoMail,
        Outcome::Settings { .. } => End::Configuration,
        Outcome::Refused { .. } | Outcome::AuthFailed { .. } | Outcome::NoMechanism { .. } => {
            End::Refused
        }
        Outcome::TryLater { .. } | Outcome::MtaNotReady | Outcome::Abandoned { .. } => {
            End::TryLater
        }
        Outcome::NoAtrn | Outcome::Protocol { .. } => End::Protocol,
    };
    match (outcome, unready) {
        (Outcome::MtaNotReady, Some(error)) => Stop(end, error.to_string()),
        (outcome, _) => Stop(end, report::safe(&outcome.to_string()).to_string()),
    }
}

/// A machine without a name says its address (RFC 5321 4.1.1.1, rule B8).
fn literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    }
}
