//! Starting a mail server on a connection, with nothing else of ours.

use super::{courier, told};
use crate::config::CommandPeer;
use crate::service::inherited;
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::stat::{Mode, umask};
use nix::unistd::User;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// The search path of the child: that of a mail server's own start script.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts it; `told` is how it learns its peer's address where a relay carries the connection.
pub(super) fn spawn(
    (program, arguments): (&Path, &[OsString]),
    user: Option<&User>,
    told: Option<CommandPeer>,
    socket: BorrowedFd<'_>,
    (peer, local): (SocketAddr, SocketAddr),
) -> io::Result<Child> {
    let copy = || -> io::Result<OwnedFd> { socket.try_clone_to_owned() };
    // The command keeps its descriptors until it is dropped, at the end of this function:
    // held any longer they would keep the connection open when the child has closed it.
    let mut command = if courier::is_courier(&told::real(program)) {
        courier::command(program)
    } else {
        Command::new(program)
    };
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .current_dir("/");
    if told == Some(CommandPeer::Exim) {
        command.args(told::to_exim(peer, local));
    }
    command.envs(environment(peer, local));
    if let Ok(zone) = std::env::var("TZ") {
        command.env("TZ", zone);
    }
    if let Some(user) = user {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    command
        .stdin(Stdio::from(copy()?))
        .stdout(Stdio::from(copy()?));
    // A signal to us is not a signal to the delivery: the child gets its own group.
    command.process_group(0).kill_on_drop(false);
    inherited::close();
    signals_as_usual();
    // The umask is the starter's own, but never one that lets everybody write into a mail server's queue. Another thread's
    // file meanwhile is rather too narrow than too wide.
    let before = umask(Mode::S_IRWXG | Mode::S_IRWXO);
    umask(before | Mode::S_IWGRP | Mode::S_IWOTH);
    // It inherits what is blocked, too.
    let blocked = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK);
    let child = command.spawn();
    if let Ok(blocked) = blocked {
        blocked.thread_set_mask().unwrap_or_default();
    }
    umask(before);
    child
}

/// What is ignored stays so in the mail server, but what has a handler here is as usual there. Without SIGALRM it would
/// wait for ever, and without SIGCHLD neither it nor we would learn how a child has ended.
fn signals_as_usual() {
    for kind in [SignalKind::alarm(), SignalKind::child()] {
        if let Err(error) = signal(kind) {
            tracing::debug!(?kind, %error, "a signal may be ignored in the mail server");
        }
    }
}

/// UCSPI (tcpserver) and systemd names for the same four facts.
fn environment(peer: SocketAddr, local: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("PROTO", "TCP".to_owned()),
        ("TCPREMOTEIP", peer.ip().to_string()),
        ("TCPREMOTEPORT", peer.port().to_string()),
        ("TCPLOCALIP", local.ip().to_string()),
        ("TCPLOCALPORT", local.port().to_string()),
        ("REMOTE_ADDR", peer.ip().to_string()),
        ("REMOTE_PORT", peer.port().to_string()),
    ]
}
