//! One fetch: read our files, dial, talk, hand over, and make the report of how it ended.
//!
//! Hooks run outside all of that: the first when our own files are known to be good, the second when the mail server's
//! session has ended as far as we can see it. So none can run between ATRN and the hand-over.

use super::dial::dial;
use super::hand_over::hand_over;
use super::hook::Hook;
use super::report::{End, Report};
use super::stop::{Stop, lost};
use super::talk::{Talk, Talked};
use super::{Shared, secure};
use crate::config::{Provider, SecretSource};
use crate::report::{self, Outcome, State};
use crate::sasl::Secret;
use crate::smtp::{ReplyReader, literal};
use crate::tls::ClientTls;
use crate::wire::Wire;
use tokio::time::Instant;

/// Fetches once from one provider.
pub(super) async fn fetch(provider: &Provider, shared: &Shared) -> Report {
    let closing = report::Session::fetch(&shared.ledger, &provider.name);
    closing.user(&provider.user);
    let mut hook = Hook::new(provider, &shared.stopping, closing.id());
    let mut report = Report::new(provider);
    closing.domains(report.asked_for());
    let mut started = Instant::now();
    let stopped = match prepared(provider, shared, &mut hook).await {
        Ok(own) => {
            started = Instant::now();
            attempt(provider, shared, &closing, own, &mut report).await
        }
        Err(stop) => Err(stop),
    };
    let Stop(end, text) = stopped.unwrap_or_else(|stop| stop);
    let report = report.ended(end, started.elapsed(), text);
    closing.outcome(match (end, report.carried) {
        (End::TryLater, Some(_)) => Outcome::Broken,
        (end, _) => end.into(),
    });
    if let Some(peer) = &report.peer {
        closing.peer(peer);
    }
    if let Some(mechanism) = &report.mechanism {
        closing.mechanism(mechanism);
    }
    if let Some(tls) = &report.tls {
        closing.tls(tls);
    }
    if end == End::Fetched {
        closing.handoff(report.handoff);
    }
    if let Some(carried) = report.carried {
        closing.carried(carried);
    }
    if report.exit == 0 {
        closing.close(&report.text);
    } else {
        closing.fail(&report.text);
    }
    hook.after(&report).await;
    report
}

/// All that comes before the dialling. A hook runs only if our own files are good: a line is not brought up for nothing.
async fn prepared(provider: &Provider, shared: &Shared, hook: &mut Hook<'_>) -> Result<Own, Stop> {
    let own = tokio::select! {
        own = own_files(provider) => own?,
        () = shared.stopping.told() => return Err(stopped_early()),
    };
    hook.before().await?;
    Ok(own)
}

pub(super) fn stopped_early() -> Stop {
    Stop(End::TryLater, "stopped before the turn".to_owned())
}

async fn attempt(
    provider: &Provider,
    shared: &Shared,
    closing: &report::Session,
    own: Own,
    report: &mut Report,
) -> Result<Stop, Stop> {
    let ours = async {
        let (talk, turned) = until_the_turn(provider, shared, closing, own, report).await?;
        Ok((talk, turned, report))
    };
    let (talk, turned, report) = tokio::select! {
        end = ours => end?,
        // The mail is with the provider still.
        () = shared.stopping.told() => {
            return Err(stopped_early());
        }
    };
    match turned {
        Talked::End(stop) => {
            talk.wire.close().await;
            Ok(stop)
        }
        Talked::Turned(domains) => {
            closing.state(State::Turned);
            tracing::info!(session = closing.id(), domains = %domains, "turned");
            hand_over(talk, report).await
        }
    }
}

/// Reaches the provider; nothing has been said or heard yet.
pub(super) async fn connect(provider: &Provider) -> Result<Wire, Stop> {
    let stream = dial(&provider.host, provider.port, provider.timers.connect)
        .await
        .map_err(|error| Stop(End::Unreachable, error.to_string()))?;
    Wire::new(stream, ReplyReader::LINE_LIMIT).map_err(|error| lost(&error, "connecting"))
}

async fn until_the_turn<'a>(
    provider: &'a Provider,
    shared: &'a Shared,
    closing: &'a report::Session,
    (tls, secret): Own,
    report: &mut Report,
) -> Result<(Talk<'a>, Talked), Stop> {
    let id = closing.id();
    let wire = connect(provider).await?;
    report.peer = Some(wire.peer().to_string());
    closing.peer(wire.peer());
    closing.state(State::Login);
    tracing::info!(session = id, provider = %provider.name, peer = %wire.peer(), "connected");
    let hostname = provider
        .hostname
        .clone()
        .unwrap_or_else(|| literal(wire.local().ip()));
    let mut talk = Talk::new(provider, shared, closing, hostname, wire);
    let turned = talk.whole(tls, secret, report).await;
    report.tls = talk.wire.facts().map(ToString::to_string);
    match turned {
        Ok(turned) => Ok((talk, turned)),
        Err(stop) => {
            // The provider may be told why: an alert is on its way.
            talk.wire.close().await;
            Err(stop)
        }
    }
}

/// What is in our own files.
type Own = (Option<ClientTls>, Option<Secret>);

/// What our own files say: without them nobody is dialled.
pub(super) async fn own_files(provider: &Provider) -> Result<Own, Stop> {
    let provider = provider.clone();
    // A password command may take its time; the other fetches go on meanwhile.
    let read = tokio::task::spawn_blocking(move || {
        let tls = secure::client_tls(&provider).map_err(|error| secure::stop(&error))?;
        let secret = provider.secret.as_ref().map(SecretSource::read).transpose();
        let secret = secret.map_err(|error| Stop(End::Configuration, error.to_string()))?;
        Ok((tls, secret))
    });
    read.await.unwrap_or_else(|error| {
        Err(Stop(
            End::Configuration,
            format!("cannot read the files of this provider: {error}"),
        ))
    })
}
