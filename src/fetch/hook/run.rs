//! One program from its start to its end, which comes in time.

use super::lines;
use crate::config::in_words;
use crate::service::inherited;
use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// The search path of a hook: that of a system's own scripts.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// How often to look meanwhile whether it has ended.
const LOOK: Duration = Duration::from_millis(20);

/// How long its last lines may take; what it leaves behind may write on.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How long a hook may be there that has no more time: it is told to end, is ended, and its last lines come.
pub(in crate::fetch) const CUT: Duration = GRACE.saturating_mul(2).saturating_add(LAST_LINES);

/// What to run, and what it is told.
#[derive(Debug)]
pub(super) struct Run<'a> {
    pub(super) session: &'a str,
    pub(super) which: &'static str,
    pub(super) words: &'a [String],
    pub(super) environment: Vec<(&'static str, String)>,
    pub(super) limit: Duration,
}

/// Why a hook did not do what it is for. Reads on behind its name.
#[derive(Debug)]
pub(super) enum Failure {
    /// It could not be started, or not be waited for.
    System(io::Error),
    /// It said so itself.
    Status(ExitStatus),
    /// It took too long.
    Late(Duration),
    /// We had to end before it.
    Cut,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(error) => write!(f, "could not be run: {}", in_words(error)),
            Self::Status(status) => write!(f, "ended with {status}"),
            Self::Late(limit) => {
                let limit = humantime::format_duration(*limit);
                write!(f, "took longer than {limit} and was ended")
            }
            Self::Cut => write!(f, "was ended, since turnabout had to stop"),
        }
    }
}

impl Run<'_> {
    /// Runs it to its end, or to that of its time, or of `cut`.
    pub(super) async fn whole(&self, cut: impl Future<Output = ()>) -> Result<(), Failure> {
        let started = Instant::now();
        let mut child = self.start().map_err(Failure::System)?;
        let said = lines::log(&mut child, self.session, self.which);
        let ended = tokio::select! {
            status = child.wait() => match status {
                Ok(status) if status.success() => Ok(()),
                Ok(status) => Err(Failure::Status(status)),
                Err(error) => Err(Failure::System(error)),
            },
            () = sleep(self.limit) => Err(Failure::Late(self.limit)),
            () = cut => Err(Failure::Cut),
        };
        if matches!(ended, Err(Failure::Late(_) | Failure::Cut)) {
            end(&mut child).await;
        }
        // A daemon that it has started, such as pppd, may keep its output open; that is logged as it comes.
        timeout(LAST_LINES, said).await.ok();
        tracing::info!(
            session = self.session,
            hook = self.which,
            seconds = started.elapsed().as_secs_f64(),
            "hook ended"
        );
        ended
    }

    fn start(&self) -> io::Result<Child> {
        let Some((program, arguments)) = self.words.split_first() else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("PATH", PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A signal to us is not one to a line that is being put down; and all of it can be ended at once.
            .process_group(0)
            .kill_on_drop(true);
        if let Ok(zone) = std::env::var("TZ") {
            command.env("TZ", zone);
        }
        // Connections of ours are closed on exec, and what we were started with is closed here.
        inherited::close();
        command.spawn()
    }
}

/// Ends a program and what it has started in its process group.
async fn end(child: &mut Child) {
    let Some(group) = child.id().and_then(|id| i32::try_from(id).ok()) else {
        return;
    };
    let group = Pid::from_raw(group);
    killpg(group, Signal::SIGTERM).ok();
    let by = Instant::now() + GRACE;
    // Those that it has started have their time as well when it has ended itself. Their number is nobody else's as long as
    // one of them is there, and who has ended is there until it is waited for.
    loop {
        // An error is told below.
        child.try_wait().ok();
        if killpg(group, None) == Err(Errno::ESRCH) {
            return;
        }
        if Instant::now() >= by {
            break;
        }
        sleep(LOOK).await;
    }
    let killed = killpg(group, Signal::SIGKILL);
    // What runs as another user, by sudo for one, may be out of our reach: it is left behind, and the fetch goes on.
    match timeout(GRACE, child.wait()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "cannot wait for a hook"),
        Err(_) => tracing::warn!(
            process = group.as_raw(),
            "a hook cannot be ended{} (does it run as another user? then let it keep its own time)",
            killed.err().map_or_else(String::new, |errno| format!(
                ": {}",
                in_words(&io::Error::from(errno))
            ))
        ),
    }
}
