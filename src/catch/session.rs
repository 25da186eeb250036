//! One caller from its offer to the end of the mail server that was started for it.

use super::Shared;
use super::caller::{Caller, Refusal};
use crate::handoff::catch::words::{
    Carried, Connection, INBOUND, Offer, VERSION, Word, names_this_machine,
};
use crate::handoff::exec::{Ready, Running};
use crate::report;
use crate::wire::received;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout};

/// How long a caller may take for its offer, and for a record whose begin is here.
const LINE_TIME: Duration = Duration::from_secs(10);

/// How long a place is kept for a caller: the provider may take ten minutes and more for its answer to ATRN (rule R16).
const WAIT_TIME: Duration = Duration::from_secs(3600);

/// A connection whose mail server runs.
struct Taken {
    connection: Box<Connection>,
    running: Running,
    /// Free again when the session is over.
    _place: OwnedSemaphorePermit,
}

pub(super) async fn serve(mut caller: Caller, shared: Rc<Shared>) {
    let (uid, pid) = (caller.uid, caller.pid);
    match wanted(&mut caller, &shared).await {
        // No mail, mostly.
        Ok(None) => tracing::debug!(uid, pid, "no connection came"),
        Ok(Some(taken)) => run(caller, taken, &shared).await,
        Err(refusal) => {
            tracing::warn!(uid, pid, reason = %refusal, "refused");
            let reason = refusal.to_string();
            if let Err(error) = caller.say(&Word::Refused { reason }).await {
                tracing::debug!(uid, pid, %error, "it does not hear why");
            }
        }
    }
}

/// Both questions and the answers to them, except the last.
async fn wanted(caller: &mut Caller, shared: &Shared) -> Result<Option<Taken>, Refusal> {
    if !shared.allowed.has(caller.uid) {
        return Err(Refusal::new(format!(
            "user {} may not send connections here (see --allow-uid)",
            caller.uid
        )));
    }
    let offer = match in_time(LINE_TIME, caller).await? {
        Some(Word::Offer(offer)) => offer,
        Some(_) => return Err(Refusal::new("it does not begin with an offer")),
        None => return Ok(None),
    };
    caller.no_descriptor()?;
    let (ready, place) = ready(&offer, shared)?;
    let answer = Word::Ready { version: VERSION };
    let said = caller.say(&answer).await;
    said.map_err(|error| Refusal::new(format!("it does not take an answer: {error}")))?;
    let mut stopping = shared.stopping.clone();
    let connection = tokio::select! {
        word = in_time(WAIT_TIME, caller) => match word? {
            Some(Word::Connection(connection)) => connection,
            Some(_) => return Err(Refusal::new("it sends no record of a connection")),
            None => return Ok(None),
        },
        _ = stopping.wait_for(|stopping| *stopping) => {
            return Err(Refusal::new("turnabout catch is stopping"));
        }
    };
    was_offered(&connection, &offer)?;
    may_be_told(&connection, shared.allow_loopback)?;
    let running = start(caller, &connection, ready)?;
    Ok(Some(Taken {
        connection,
        running,
        _place: place,
    }))
}

async fn in_time(limit: Duration, caller: &mut Caller) -> Result<Option<Word>, Refusal> {
    let word = timeout(limit, caller.word()).await;
    word.unwrap_or_else(|_| {
        let seconds = limit.as_secs();
        Err(Refusal::new(format!(
            "it says nothing whole in {seconds} s"
        )))
    })
}

/// Is it something that can be taken now?
fn ready(offer: &Offer, shared: &Shared) -> Result<(Ready, OwnedSemaphorePermit), Refusal> {
    if !offer.versions.contains(&VERSION) {
        return Err(Refusal::new(format!(
            "it does not speak version {VERSION} (is turnabout of the same version at both ends?)"
        )));
    }
    if offer.direction != INBOUND {
        return Err(Refusal::new(format!(
            "mail goes {:?} there, and only {INBOUND:?} is expected here",
            report::safe(&offer.direction).to_string()
        )));
    }
    let place = Arc::clone(&shared.slots).try_acquire_owned();
    let place = place.map_err(|_| {
        Refusal::new("as many sessions as may be are waiting or running (see --most)")
    })?;
    let ready = shared.exec.prepare(offer.relay);
    Ok((
        ready.map_err(|error| Refusal::new(error.to_string()))?,
        place,
    ))
}

fn was_offered(connection: &Connection, offer: &Offer) -> Result<(), Refusal> {
    if connection.version != VERSION || connection.direction != offer.direction {
        return Err(Refusal::new(
            "the record is not of the version and direction agreed on",
        ));
    }
    if connection.carried == Carried::Relay && !offer.relay {
        return Err(Refusal::new("a relay carries it, which was not offered"));
    }
    Ok(())
}

/// A mail server trusts its own machine, and relays anything for it (rule C9). Behind a relay nobody here can see whether
/// it is so.
fn may_be_told(connection: &Connection, allow_loopback: bool) -> Result<(), Refusal> {
    let reason = match connection.carried {
        _ if !names_this_machine(connection.peer) => return Ok(()),
        Carried::Plain | Carried::Kernel if allow_loopback => return Ok(()),
        Carried::Plain | Carried::Kernel => "the mail server would trust it (see --allow-loopback)",
        Carried::Relay => "a relay carries it, so that it may be anybody's",
    };
    let ip = connection.peer.ip();
    Err(Refusal::new(format!(
        "the peer is said to be {ip}, and {reason}"
    )))
}

/// Holds the descriptor against the record, and starts the mail server on it.
fn start(caller: &mut Caller, connection: &Connection, ready: Ready) -> Result<Running, Refusal> {
    let descriptor = caller.descriptor()?;
    let (peer, local): (SocketAddr, SocketAddr) = (connection.peer, connection.local);
    let unfit = |unfit: received::Unfit| Refusal::new(unfit.to_string());
    let refused = |error: &dyn std::fmt::Display| Refusal::new(error.to_string());
    let running = match connection.carried {
        Carried::Relay => {
            let end = received::relay_end(descriptor).map_err(unfit)?;
            ready.commit_relayed(end.as_fd(), (peer, local))
        }
        Carried::Plain | Carried::Kernel => {
            let in_kernel = connection.carried == Carried::Kernel;
            let released = received::tcp(descriptor, peer, local, in_kernel).map_err(unfit)?;
            // Our copy goes with the other half of the error: the sender has its own for a last word.
            ready.commit(released).map_err(|failed| failed.0)
        }
    };
    running.map_err(|error| refused(&error))
}

/// From here on it is the mail server's session; what is left to do is to say how it went.
async fn run(mut caller: Caller, taken: Taken, shared: &Shared) {
    let Taken {
        connection,
        running,
        _place,
    } = taken;
    let started = Instant::now();
    let pid = running.id();
    let child = shared.orphans.spare(pid);
    let session = report::safe(&connection.session).to_string();
    let domains = connection
        .domains
        .map_or_else(|| "all".to_owned(), |domains| domains.join(","));
    tracing::info!(
        session, uid = caller.uid, provider = %report::safe(&connection.provider), peer = %connection.peer,
        local = %connection.local, user = %report::safe(&connection.user), domains = %report::safe(&domains),
        carried = connection.carried.name(),
        tls = connection.tls.as_ref().map(|tls| report::safe(&format!("{} {}", tls.version, tls.cipher)).to_string()),
        pid, "connection taken"
    );
    if let Err(error) = caller.say(&Word::Taken).await {
        // It has died; its session lives here.
        tracing::info!(session, %error, "the sender does not hear that it is taken");
    }
    drop(caller);
    let over = running.wait().await;
    drop(child);
    let seconds = (started.elapsed().as_secs_f64() * 1000.0).round() / 1000.0;
    match over.child {
        Ok(()) => tracing::info!(session, seconds, "session ended"),
        Err(failed) => {
            tracing::warn!(session, seconds, error = %failed.error, "session ended");
        }
    }
}
