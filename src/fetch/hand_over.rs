//! After the provider's 250: the connection goes to the mail server here, and its end is waited for.

use super::heard::{Heard, received_before};
use super::memory::Note;
use super::report::{End, Report};
use super::stop::{Stop, lost};
use super::talk::Talk;
use crate::control::follow;
use crate::handoff::HandoffError;
use crate::handoff::catch::words::About;
use crate::handoff::customer::{Carried, Taken};
use crate::handoff::exec::Failed;
use crate::tls::HandoffTls;
use crate::wire::follow::Followed;
use crate::wire::{Carriage, RelayEnd, RelayView, Way, Wire};
use std::time::Duration;
use tokio::time::timeout;

/// How long the end of a session is watched for the report; nothing is cut by it.
const FOLLOW_TIME: Duration = Duration::from_secs(24 * 3600);

/// How long the last words to the provider may take.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// What becomes of mail when a session breaks.
const STAYS: &str = "what was not acknowledged stays with the provider, try later";

pub(super) async fn hand_over(mut talk: Talk<'_>, report: &mut Report) -> Result<Stop, Stop> {
    let Some(ready) = talk.ready.take() else {
        return Err(Stop(
            End::Protocol,
            "turned before the mail server was ready".to_owned(),
        ));
    };
    // Only we may speak now: an octet from the provider before our 220 was injected by
    // somebody, or the provider is broken. The mail server must not see it (rule C5).
    let pending = talk.wire.pending().await;
    if pending.map_err(|error| lost(&error, "ATRN"))? {
        return Err(Stop(
            End::Protocol,
            "the provider spoke before the greeting, nothing was handed over (somebody may have injected it)".to_owned(),
        ));
    }
    let (wire, why) = decided(
        talk.wire,
        talk.way,
        talk.provider.handoff_tls,
        &talk.hostname,
    )
    .await?;
    let before = received_before(&wire);
    let about = About {
        session: talk.id,
        provider: &talk.provider.name,
        user: &talk.provider.user,
        domains: talk.provider.domains.as_ref(),
    };
    let Taken {
        carried: taken,
        carriage,
        view,
    } = ready
        .commit(wire, &talk.shared.relays, &talk.hostname, &about)
        .await
        .map_err(|error| Stop(End::TryLater, error.to_string()))?;
    report.carried = Some(carriage.name());
    let to = talk.provider.handoff.name();
    talk.closing.handoff(to);
    talk.closing.carried(carriage.name());
    let heard = Heard::new(view.clone(), before);
    talk.closing.handed_over(follow(view));
    tracing::info!(
        session = talk.id,
        handoff = to,
        carried = carriage.name(),
        why,
        "handed over"
    );
    let stopping = &talk.shared.stopping;
    let Carriage::Relay(relay) = carriage else {
        return tokio::select! {
            end = followed(taken, to, heard, &talk.note, talk.id) => end,
            // It goes on without us.
            () = stopping.told() => Ok(turned(to, "session still open")),
        };
    };
    let end = tokio::select! {
        end = relayed(taken, &relay, heard, talk.id) => end,
        () = stopping.at_once() => Err("stopped while it was open".to_owned()),
    };
    if relay.starttls_offered() {
        tracing::warn!(
            session = talk.id,
            "the mail server here offers STARTTLS inside TLS, a provider that takes it up cannot go on (switch it off on this service: smtpd_tls_security_level=none in Postfix's master.cf, no tls_advertise_hosts in Exim)"
        );
    }
    match end {
        Ok(()) => Ok(Stop(
            End::Fetched,
            format!("turned, relayed to {to}, session ended"),
        )),
        Err(why) => Err(Stop(
            End::TryLater,
            format!("turned, relayed to {to}, {why} ({STAYS})"),
        )),
    }
}

fn turned(to: &str, how: &str) -> Stop {
    Stop(End::Fetched, format!("turned, handed over by {to}, {how}"))
}

/// Gives the keys to the kernel where that was the way, and says why it was not.
async fn decided(
    wire: Wire,
    way: Way,
    wish: HandoffTls,
    hostname: &str,
) -> Result<(Wire, Option<String>), Stop> {
    let why = match way {
        Way::Plain => return Ok((wire, None)),
        Way::Relay(why) => return Ok((wire, Some(why.to_owned()))),
        Way::Kernel => match wire.into_kernel().await {
            Ok(wire) => return Ok((wire, None)),
            Err(failed) => failed,
        },
    };
    let text = why.to_string();
    match why.wire {
        Some(wire) if wish != HandoffTls::Kernel => Ok((wire, Some(text))),
        Some(mut wire) => {
            // The provider keeps its mail (RFC 5321 3.8: 421 may greet).
            let last =
                format!("421 {hostname} Service not available, keep the mail and try later\r\n");
            timeout(LAST_WORDS, wire.send(last.as_bytes())).await.ok();
            wire.close().await;
            Err(Stop(
                End::TryLater,
                format!("cannot hand over in the kernel: {text} (set handoff_tls = \"auto\")"),
            ))
        }
        None => Err(Stop(
            End::TryLater,
            format!("the connection was lost at the turn: {text} ({STAYS})"),
        )),
    }
}

/// Was the session held, whatever the mail server's exit code says of the mail in it?
fn held(child: Result<(), Failed>, heard: bool, id: &str) -> Result<(), HandoffError> {
    match child {
        Err(failed) if failed.is_about_mail(heard) => {
            tracing::warn!(
                session = id,
                code = %failed.error,
                "the session was held, and the mail server refused something in it"
            );
            Ok(())
        }
        Err(failed) => Err(failed.error),
        Ok(()) => Ok(()),
    }
}

/// Waits for the end of a session that our relay carries.
async fn relayed(taken: Carried, relay: &RelayView, heard: Heard, id: &str) -> Result<(), String> {
    let child = async {
        match taken {
            Carried::Passed(_) => Ok(()),
            Carried::Running(child) => {
                let (over, heard) = heard.during(child.wait()).await;
                held(over.child, heard, id)
            }
        }
    };
    let (child, end) = tokio::join!(child, relay.ended());
    match end {
        RelayEnd::Closed => child.map_err(|error| error.to_string()),
        broken => Err(format!("the session broke: {broken}")),
    }
}

/// Waits for the end of a session that goes on without us.
async fn followed(
    taken: Carried,
    to: &str,
    heard: Heard,
    note: &Note,
    id: &str,
) -> Result<Stop, Stop> {
    match taken {
        Carried::Running(child) => {
            let (over, heard) = heard.during(child.wait()).await;
            if over.control_record {
                note.write(id);
            }
            match held(over.child, heard, id) {
                Ok(()) => Ok(turned(to, "session ended")),
                Err(error) => Err(Stop(End::TryLater, error.to_string())),
            }
        }
        Carried::Passed(view) => {
            let how = match view.until_closed(FOLLOW_TIME).await {
                Followed::Ended => "session ended",
                Followed::StillOpen => "session still open",
                Followed::Unseen => "its end is in the mail server's log",
            };
            Ok(turned(to, how))
        }
    }
}
