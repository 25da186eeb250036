//! After the 250: the provider is the SMTP client now. It hears the greeting, says EHLO, and
//! gives the connection to the mail server that holds the queue.
//!
//! The mail server cannot do these first words itself: it takes connections on which EHLO has
//! been answered. And when there is nothing to send after all, they are the whole session
//! (rule R19): EHLO, QUIT.

use super::admission::Admitted;
use super::asking::Turn;
use super::state::{Files, State};
use crate::control::follow;
use crate::handoff::Reversed;
use crate::odmr::Turned;
use crate::odmr::greeting::{Greeting, GreetingStep};
use crate::report::{self, Outcome, safe};
use crate::smtp::{Offer, Reply, ReplyReader};
use crate::wire::{Carriage, RelayView, Wire};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// How long a 221 is waited for.
const QUIT_TIME: Duration = Duration::from_secs(10);

/// What the turned part knows of its session.
pub(super) struct Part<'a> {
    pub(super) state: &'a State,
    pub(super) files: &'a Files,
    pub(super) closing: &'a mut report::Session,
    /// The connection's place among all.
    pub(super) admitted: &'a mut Option<Admitted>,
    /// The machine's proof: who, and which domains.
    pub(super) proof: Turned,
}

/// Carries the session from our 250 to its end, and says in a phrase how it ended.
pub(super) async fn carry(part: Part<'_>, mut wire: Wire, turn: Turn) -> String {
    let Turn {
        ready,
        mut reserved,
        next_hops,
        ..
    } = turn;
    reserved.had_its_turn();
    part.closing.outcome(Outcome::Broken);
    let Some(domains) = part.proof.domains().cloned() else {
        return "turned without domains, the mail stays queued".to_owned();
    };
    let (customer, offer) = match first_words(&part, &mut wire).await {
        Ok(heard) => heard,
        Err(end) => {
            over_before_the_hand_off(&part, wire).await;
            return format!("{end}, the mail stays queued");
        }
    };
    let session = part.closing.id().to_owned();
    tracing::info!(session, customer = %safe(&customer), "greeted");
    if offer.starttls && wire.facts().is_some() {
        tracing::warn!(
            session, user = %safe(part.proof.user()),
            "the customer's mail server offers STARTTLS inside TLS, the mail server here must not take it up (the customer should switch it off on that service)"
        );
    }
    let released = match wire.release(&part.state.relays).await {
        Ok(released) => released,
        Err(error) => return format!("{error}, the mail stays queued"),
    };
    part.closing.carried(released.carriage().name());
    part.closing.handed_over(follow(released.view()));
    // What the mail server holds itself needs us no longer.
    let shutdown = match released.carriage() {
        Carriage::Relay(relay) => {
            keep_place(part.admitted.take(), relay.clone());
            part.state.giving_up.clone()
        }
        Carriage::Plain | Carriage::Kernel => part.state.stopping.clone(),
    };
    let reversed = Reversed {
        released,
        customer,
        offer,
        domains,
        next_hops,
        session,
    };
    let ended = ready.run(reversed, shutdown).await;
    drop(reserved);
    if ended.control_record {
        remember(&part);
    }
    if ended.clean {
        part.closing.outcome(Outcome::Turned);
    }
    if ended.remaining == Some(true) {
        part.closing.mail_left();
    }
    ended.how
}

/// A relay can go on when the session is over: its last octets wait for a peer that may read slowly, or never. As
/// long as that takes it counts among the connections.
fn keep_place(admitted: Option<Admitted>, relay: RelayView) {
    tokio::spawn(async move {
        relay.ended().await;
        drop(admitted);
    });
}

/// Closes a connection that no mail server has been given.
async fn over_before_the_hand_off(part: &Part<'_>, wire: Wire) {
    if !wire.is_in_kernel() {
        return wire.close().await;
    }
    // Part of a line was read: no record stood in the way.
    let Ok(released) = wire.release(&part.state.relays).await else {
        return;
    };
    if released.control_record() {
        remember(part);
    }
    released.close().await;
}

/// The kernel does not serve this customer: the next time the relay does.
fn remember(part: &Part<'_>) {
    part.state.relay_only(part.proof.user());
    tracing::warn!(
        session = part.closing.id(), user = %safe(part.proof.user()),
        "the customer's TLS sent a record that no mail server can read: its next sessions go through the relay"
    );
}

/// Hears 220, says EHLO, reads the offer; or ends the session and says how.
async fn first_words(part: &Part<'_>, wire: &mut Wire) -> Result<(String, Offer), String> {
    wire.set_limit(ReplyReader::LINE_LIMIT);
    let mut machine = Greeting::new(&part.files.serve.hostname);
    let mut replies = ReplyReader::new();
    let by = Instant::now() + part.files.serve.limits.greeting_time;
    loop {
        let reply = tokio::select! {
            reply = timeout_at(by, read_reply(wire, &mut replies)) => reply,
            () = part.state.stopped() => {
                quit(&mut machine, wire, &mut replies).await;
                return Err("stopped by the operator before the hand-off".to_owned());
            }
        };
        let reply = match reply {
            Ok(Ok(reply)) => reply,
            Ok(Err(how)) => return Err(how),
            Err(_) => {
                quit(&mut machine, wire, &mut replies).await;
                return Err("no greeting from the customer in time".to_owned());
            }
        };
        match machine.reply(reply) {
            GreetingStep::Send(line) => {
                timeout_at(by, wire.send(&line))
                    .await
                    .map_err(|_| "the customer does not read after the turn".to_owned())?
                    .map_err(|error| format!("after the turn: {error}"))?;
            }
            GreetingStep::Ready { customer, offer } => return Ok((customer, offer)),
            GreetingStep::End(how) => return Err(how.to_string()),
        }
    }
}

async fn read_reply(wire: &mut Wire, replies: &mut ReplyReader) -> Result<Reply, String> {
    loop {
        let line = wire
            .line()
            .await
            .map_err(|error| format!("after the turn: {error}"))?;
        match replies.feed_line(line) {
            Ok(Some(reply)) => return Ok(reply),
            Ok(None) => {}
            Err(error) => return Err(format!("after the turn: {error}")),
        }
    }
}

/// Ends in good order: QUIT, and its 221 if it comes soon (RFC 5321 4.1.1.10).
async fn quit(machine: &mut Greeting, wire: &mut Wire, replies: &mut ReplyReader) {
    let said = async {
        wire.send(&machine.finish()).await.ok()?;
        read_reply(wire, replies).await.ok()
    };
    let answered = timeout(QUIT_TIME, said).await;
    tracing::debug!(
        answered = matches!(answered, Ok(Some(_))),
        "QUIT after the turn"
    );
}
