//! The life of a connection that Exim has: start it with the first message, and look on until the session is over.

use std::os::fd::AsFd;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, Command};
use tokio::sync::watch;

use super::arguments::{arguments, probe};
use super::{Ended, Form, Known, Reversed};
use crate::handoff::line::Line;
use crate::handoff::quit::quit;
use crate::queue::exim::Queue;
use crate::queue::{QueueError, Snapshot, cut};
use crate::smtp::next_hop::NextHop;

/// How many waiting messages the first is chosen from.
const CHOICE: usize = 10_000;
/// How long Exim may take to list its queue.
const QUEUE_TIME: Duration = Duration::from_secs(60);
/// How often the connection is looked at.
const LOOK: Duration = Duration::from_millis(100);
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
        if queue
            .refuses_message_id(probe(form, transport), limit)
            .await?
        {
            return Ok(Some(form));
        }
    }
    Ok(None)
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
        .snapshot(&reversed.domains, CHOICE, QUEUE_TIME)
        .await
    {
        Ok(queue) => queue,
        Err(error) => {
            tracing::error!(session = %reversed.session, "{error}");
            let clean = quit(reversed.released.into_fd()).await;
            return Ended {
                how: "the queue could not be asked".to_owned(),
                clean,
                remaining: None,
            };
        }
    };
    let Some(message) = pick(known, next_hop, &queue) else {
        // Delivered elsewhere or removed since the 250: EHLO and QUIT are the whole session (RFC 2645 5.2.1).
        let clean = quit(reversed.released.into_fd()).await;
        return Ended {
            how: "no mail after all".to_owned(),
            clean,
            remaining: Some(false),
        };
    };
    let Some(arguments) = arguments(
        known.form,
        &known.settings.transport,
        next_hop,
        &reversed.offer,
        &message,
    ) else {
        let clean = quit(reversed.released.into_fd()).await;
        return Ended {
            how: "Exim names its messages in an unknown way".to_owned(),
            clean,
            remaining: Some(true),
        };
    };
    tracing::debug!(session = %reversed.session, first = %message, waiting = queue.waiting.len(), "connection given to Exim");
    let over = carry(known, &reversed, arguments, &mut shutdown).await;
    // From here on the connection lives by Exim's descriptors alone.
    drop(reversed.released);
    let remaining = match &over {
        Over::Shutdown | Over::TimeUp => None,
        Over::Closed | Over::Failed(_) => known
            .queue
            .waiting(&reversed.domains, QUEUE_TIME)
            .await
            .ok(),
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
    }
}

fn pick(known: &Known, next_hop: &NextHop, queue: &Snapshot) -> Option<String> {
    known
        .firsts
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
        .pick(next_hop, queue)
}

/// Runs `exim -MC` and waits until the connection is closed.
///
/// The process that is started here delivers the first message only; for each further one Exim starts a process that is
/// no child of ours. What all of them share is the connection, so that is what is looked at.
async fn carry(
    known: &Known,
    reversed: &Reversed,
    arguments: Vec<std::ffi::OsString>,
    shutdown: &mut watch::Receiver<bool>,
) -> Over {
    let began = Instant::now();
    let socket = match reversed.released.as_fd().try_clone_to_owned() {
        Ok(socket) => socket,
        Err(error) => return Over::Failed(format!("cannot give the connection to Exim: {error}")),
    };
    let mut command = Command::new(&known.settings.command);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::from(socket))
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
    let mut status: Option<ExitStatus> = None;
    loop {
        if Line::look(&reversed.released).is_none_or(|line| !line.open) {
            return Over::Closed;
        }
        if *shutdown.borrow() {
            return Over::Shutdown;
        }
        if began.elapsed() >= known.settings.total_time {
            return Over::TimeUp;
        }
        if let Some(status) = status.filter(|_| said.is_finished()) {
            let said = said.await.unwrap_or_default();
            if Line::look(&reversed.released).is_none_or(|line| !line.open) {
                return Over::Closed;
            }
            return Over::Failed(format!("Exim let go of the connection: {status} {said}"));
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            _ = shutdown.changed() => {}
            ended = child.wait(), if status.is_none() => status = ended.ok(),
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
