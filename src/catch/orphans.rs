//! The first process of a container inherits every orphan in it: what a mail server leaves to the background ends as a
//! zombie unless somebody takes note of its end.
//!
//! Children of our own are left to those who wait for them. Both happen in one thread, so no child can be taken for an
//! orphan between its start and [`Orphans::spare`].

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{Pid, getpid};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::spawn_local;

/// Children that are no orphans.
#[derive(Debug, Clone, Default)]
pub(super) struct Orphans(Rc<RefCell<BTreeSet<i32>>>);

/// One of them, as long as this value lives.
#[derive(Debug)]
pub(super) struct Spared {
    children: Orphans,
    pid: Option<i32>,
}

impl Orphans {
    /// Buries them from now on, if that is ours to do.
    pub(super) fn watch() -> io::Result<Self> {
        let orphans = Self::default();
        if getpid() != Pid::from_raw(1) {
            return Ok(orphans);
        }
        let mut ended = signal(SignalKind::child())?;
        let watching = orphans.clone();
        spawn_local(async move {
            while ended.recv().await.is_some() {
                watching.bury();
            }
        });
        Ok(orphans)
    }

    /// Leaves this child alone.
    pub(super) fn spare(&self, pid: Option<u32>) -> Spared {
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid {
            self.0.borrow_mut().insert(pid);
        }
        Spared {
            children: self.clone(),
            pid,
        }
    }

    /// Takes note of the end of every orphan that has ended. A child of ours that lies in the way is taken away by
    /// whoever waits for it, and the next signal brings us back.
    fn bury(&self) {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        while let Ok(status) = waitid(Id::All, look) {
            let Some(pid) = status.pid() else {
                return;
            };
            if status == WaitStatus::StillAlive || self.0.borrow().contains(&pid.as_raw()) {
                return;
            }
            tracing::debug!(pid = pid.as_raw(), "an orphan has ended");
            if waitpid(pid, Some(WaitPidFlag::WNOHANG)).is_err() {
                return;
            }
        }
    }
}

impl Drop for Spared {
    fn drop(&mut self) {
        if let Some(pid) = self.pid {
            self.children.0.borrow_mut().remove(&pid);
        }
        // It may have been in the way.
        if getpid() == Pid::from_raw(1) {
            self.children.bury();
        }
    }
}
