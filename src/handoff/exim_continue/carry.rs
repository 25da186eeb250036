//! The life of a connection that Exim has: start it with the first message, and look on until the session is over.

use std::collections::HashSet;
use std::ffi::OsString;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::sync::watch;

use super::arguments::{Proxied, arguments, probe};
use super::{Ended, Form, Known, MESSAGES, QUEUE_TIME, Reversed};
use crate::handoff::{quit::quit, told};
use crate::queue::exim::Queue;
use crate::queue::{QueueError, cut};
use crate::smtp::domain::DomainList;
use crate::smtp::next_hop::NextHop;
use crate::wire::{Carriage, Released};

/// Of how many messages that are left the logs are read.
const LOGS: usize = 200;
/// How often the connection is looked at, first and later: the table of a busy host is long.
const SHORTEST_LOOK: Duration = Duration::from_millis(20);
/// See [`SHORTEST_LOOK`].
const LONGEST_LOOK: Duration = Duration::from_millis(500);
/// How long the rest of Exim's error output is waited for when it has failed.
const SAID_TIME: Duration = Duration::from_secs(5);
/// How much of Exim's error output is kept for the log, in octets.
const SAID_LIMIT: usize = 600;

/// Finds out how this Exim's `-MC` is called, without a connection and without doing anything.
///
/// # Errors
/// Exim cannot be run.
pub(super) async fn form(
    queue: &Queue,
    transport: &str,
    limit: Duration,
) -> Result<Option<Form>, QueueError> {
    for form in [Form::Plain, Form::Port] {
        let words = probe(form, transport, false);
        if queue.refuses_message_id(words, limit).await? {
            return Ok(Some(form));
        }
    }
    Ok(None)
}

/// Finds out whether this Exim can be told of TLS that a relay does for it: one that is built without TLS cannot.
///
/// # Errors
/// Exim cannot be run.
pub(super) async fn is_proxied(
    queue: &Queue,
    transport: &str,
    form: Form,
    limit: Duration,
) -> Result<bool, QueueError> {
    queue
        .refuses_message_id(probe(form, transport, true), limit)
        .await
}

/// Why looking on came to its end.
enum Over {
    /// The customer, or Exim, has closed the connection.
    Closed,
    /// Exim could not go on with the connection.
    Failed(String),
    /// This process is to end.
    Shutdown,
    /// The session's total time is over.
    TimeUp,
}

/// Starts Exim on the connection.
pub(super) async fn run(
    known: &Known,
    next_hop: &NextHop,
    reversed: Reversed,
    mut shutdown: watch::Receiver<bool>,
) -> Ended {
    let queue = match known
        .queue
        .snapshot(&reversed.domains, MESSAGES, QUEUE_TIME)
        .await
    {
        Ok(queue) => queue,
        Err(error) => {
            tracing::error!(session = %reversed.session, "{error}");
            return give_up(reversed.released, "the queue could not be asked", None).await;
        }
    };
    let Some(message) = known.order().pick(next_hop, &queue) else {
        // Delivered elsewhere or removed since the 250: EHLO and QUIT are the whole session (RFC 2645 5.2.1).
        return give_up(reversed.released, "no mail after all", Some(false)).await;
    };
    let proxied = match (reversed.released.carriage(), reversed.released.tls()) {
        (Carriage::Relay(_), Some(tls)) if known.proxied => Some(Proxied {
            local: reversed.released.local(),
            tls,
        }),
        (Carriage::Relay(_), _) => {
            let how = "this Exim cannot be given a connection that a relay carries";
            return give_up(reversed.released, how, Some(true)).await;
        }
        (Carriage::Plain | Carriage::Kernel, _) => None,
    };
    let Some(arguments) = arguments(
        known.form,
        &known.settings.transport,
        next_hop,
        &reversed.offer,
        proxied,
        &message,
    ) else {
        let how = "Exim names its messages in an unknown way";
        return give_up(reversed.released, how, Some(true)).await;
    };
    tracing::debug!(session = %reversed.session, first = %message, waiting = queue.waiting.len(), "connection given to Exim");
    let over = carry(known, reversed.released, arguments, &mut shutdown).await;
    let remaining = match &over {
        Over::Shutdown | Over::TimeUp => None,
        Over::Closed | Over::Failed(_) => remember(known, next_hop, &reversed.domains).await,
    };
    let (how, clean) = match over {
        Over::Closed if remaining == Some(false) => ("delivered all".to_owned(), true),
        Over::Closed => (
            "ended by Exim or the customer, mail is left".to_owned(),
            true,
        ),
        Over::Failed(why) => (why, false),
        Over::Shutdown => ("shutting down, left with Exim".to_owned(), true),
        Over::TimeUp => (
            "the session's total time is over, left with Exim".to_owned(),
            true,
        ),
    };
    Ended {
        how,
        clean,
        remaining,
        // No descriptor is kept that could tell.
        control_record: false,
    }
}

/// Ends the session in good order, without any mail.
async fn give_up(released: Released, how: &str, remaining: Option<bool>) -> Ended {
    let clean = quit(released).await;
    Ended {
        how: how.to_owned(),
        clean,
        remaining,
        control_record: false,
    }
}

/// Remembers which of the messages that are left were put off by the customer. Says whether any mail is left.
async fn remember(known: &Known, next_hop: &NextHop, domains: &DomainList) -> Option<bool> {
    let left = known
        .queue
        .snapshot(domains, MESSAGES, QUEUE_TIME)
        .await
        .ok()?;
    let mut put_off = HashSet::new();
    for id in left.waiting.keys().take(LOGS) {
        if known
            .queue
            .was_put_off(id, QUEUE_TIME)
            .await
            .unwrap_or(false)
        {
            put_off.insert(id.clone());
        }
    }
    known.order().ended(next_hop, &left, put_off);
    Some(!left.is_empty())
}

/// Runs `exim -MC` and waits until the connection is closed.
///
/// The process that is started here delivers the first message only; for each further one Exim starts a process that is
/// no child of ours and has other descriptors than the socket closed. What all of them share is the connection, so that
/// is what is looked at, in the kernel's table or at the relay: a descriptor kept here would keep it open after the last
/// of them.
async fn carry(
    known: &Known,
    released: Released,
    arguments: Vec<OsString>,
    shutdown: &mut watch::Receiver<bool>,
) -> Over {
    let began = Instant::now();
    let view = released.view();
    let mut command = Command::new(&known.settings.command);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::from(released.into_fd()))
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let child = command.spawn();
    // The command holds a descriptor of the connection, too: as long as it lives the customer never sees the end.
    drop(command);
    let mut child = match child {
        Ok(child) => child,
        Err(error) => {
            return Over::Failed(format!(
                "cannot run {}: {error}",
                known.settings.command.display()
            ));
        }
    };
    let said = tokio::spawn(said(child.stderr.take()));
    let mut pause = SHORTEST_LOOK;
    let mut running = true;
    let mut failed = None;
    loop {
        if !running && view.is_open() != Some(true) {
            return match failed {
                Some(status) => Over::Failed(format!(
                    "Exim failed: {status}: {}",
                    // A process that keeps the pipe open must not keep the customer waiting.
                    tokio::time::timeout(SAID_TIME, said)
                        .await
                        .map(Result::unwrap_or_default)
                        .unwrap_or_default()
                )),
                None => Over::Closed,
            };
        }
        if *shutdown.borrow() {
            return Over::Shutdown;
        }
        if began.elapsed() >= known.settings.total_time {
            return Over::TimeUp;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST_LOOK),
            () = told(shutdown) => {}
            ended = child.wait(), if running => {
                running = false;
                failed = ended.ok().filter(|status| !status.success());
            }
        }
    }
}

/// Reads Exim's error output to its end, which comes when the last process of the chain has ended.
async fn said(pipe: Option<ChildStderr>) -> String {
    let mut kept = Vec::new();
    let mut buffer = [0; 1024];
    if let Some(mut pipe) = pipe {
        while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
            if kept.len() < SAID_LIMIT {
                kept.extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
        }
    }
    cut(String::from_utf8_lossy(&kept).trim(), SAID_LIMIT)
}
