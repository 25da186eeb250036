//! Customer: give the turned connection to a running Postfix, through a `pass` service.
//!
//! master(5) documents services of type `pass`; postscreen(8) hands its clients to smtpd(8) the
//! same way. One Unix-domain connection carries one descriptor:
//!
//! 1. connect to `$queue_directory/private/NAME` (before ATRN it is only looked whether somebody is there),
//! 2. one NUL octet with the descriptor as `SCM_RIGHTS`,
//! 3. the attributes `client_address client_port server_address server_port`,
//! 4. wait until the receiver closes, then drop our copy.
//!
//! smtpd(8) takes the addresses from the attributes, so its log and its access rules see the
//! provider itself, and `mynetworks` never matches by accident (rule C9).

use super::HandoffError;
use super::attributes;
use crate::wire::Released;
use nix::errno::Errno;
use sendfd::SendWithFd;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

/// How long the receiver may take to accept. All smtpd processes may be busy for a while; the
/// provider waits five minutes for the greeting (RFC 5321 4.5.3.2.1), so this stays below.
const ACCEPT_TIME: Duration = Duration::from_secs(240);

/// How long the connection to the service may take; it is local.
const CONNECT_TIME: Duration = Duration::from_secs(10);

/// The `pass` service of a running Postfix.
#[derive(Debug, Clone)]
pub struct PostfixPass {
    socket: PathBuf,
}

/// The service is there.
#[derive(Debug)]
pub struct Ready {
    socket: PathBuf,
}

impl PostfixPass {
    /// `socket` is the service's socket, usually `/var/spool/postfix/private/odmr`.
    #[must_use]
    pub fn new(socket: &Path) -> Self {
        Self {
            socket: socket.to_owned(),
        }
    }

    /// Before ATRN: does Postfix run, does it have the service, may we use it?
    ///
    /// A connection that brings no descriptor makes smtpd(8) log an error, and most fetches find
    /// no mail. So this knocks with the wrong kind of socket: where a stream socket is alive the
    /// kernel says `EPROTOTYPE`, and Postfix never hears of it.
    ///
    /// # Errors
    /// When nobody is there, with what to do about it.
    pub fn prepare(&self) -> Result<Ready, HandoffError> {
        let knock = UnixDatagram::unbound().and_then(|knock| knock.connect(&self.socket));
        match knock {
            Err(error) if error.raw_os_error() == Some(Errno::EPROTOTYPE as i32) => Ok(Ready {
                socket: self.socket.clone(),
            }),
            Err(error) => Err(cannot_connect(&self.socket, &error)),
            Ok(()) => Err(HandoffError::new(format!(
                "cannot use {}: it is a datagram socket (set socket to that of a service of type `pass`)",
                self.socket.display()
            ))),
        }
    }
}

impl Ready {
    /// Passes the connection and waits until Postfix has taken it.
    ///
    /// # Errors
    /// When Postfix did not take it; the connection comes back, so that the provider can be
    /// told (RFC 5321 3.8, rule R26).
    pub async fn commit(self, released: Released) -> Result<(), Box<(HandoffError, Released)>> {
        let connected = timeout(CONNECT_TIME, UnixStream::connect(&self.socket)).await;
        let mut service = match connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(service) => service,
            Err(error) => return Err(Box::new((cannot_connect(&self.socket, &error), released))),
        };
        let passed = timeout(ACCEPT_TIME, pass(&mut service, &released)).await;
        match passed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(()) => Ok(()),
            Err(error) => Err(Box::new((cannot_pass(&self.socket, &error), released))),
        }
    }
}

async fn pass(service: &mut UnixStream, released: &Released) -> io::Result<()> {
    let descriptor = released.as_fd().as_raw_fd();
    loop {
        service.writable().await?;
        match service.send_with_fd(&[0], &[descriptor]) {
            Ok(1) => break,
            Ok(_) => return Err(io::ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    let (peer, local) = (released.peer(), released.local());
    let list = attributes::encode(&[
        ("client_address", &peer.ip().to_string()),
        ("client_port", &peer.port().to_string()),
        ("server_address", &local.ip().to_string()),
        ("server_port", &local.port().to_string()),
    ]);
    service.write_all(&list).await?;
    // The receiver says nothing: it closes when it has read everything.
    let mut nothing = [0_u8; 1];
    match service.read(&mut nothing).await? {
        0 => Ok(()),
        _ => Err(io::Error::other(
            "it answers, so it is no service of type `pass`",
        )),
    }
}

fn cannot_pass(socket: &Path, error: &io::Error) -> HandoffError {
    HandoffError::new(format!(
        "cannot pass the connection to {}: {error} (look at Postfix's log; is every smtpd process busy?)",
        socket.display()
    ))
}

fn cannot_connect(socket: &Path, error: &io::Error) -> HandoffError {
    let hint = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            "is Postfix running, and does master.cf have the `pass` service of that name?"
        }
        io::ErrorKind::PermissionDenied => "run as root or as Postfix's mail_owner",
        _ => "look at Postfix's log",
    };
    HandoffError::new(format!(
        "cannot connect to {}: {error} ({hint})",
        socket.display()
    ))
}
