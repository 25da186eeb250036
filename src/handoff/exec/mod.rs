//! Customer: run a mail server on the turned connection, as inetd would.
//!
//! The socket is descriptor 0 and 1 of the child; `exim -bs`, Postfix's `smtpd -S` and
//! Sendmail ask the kernel for the peer's address and apply their access rules to it (rule C9).
//! qmail's, Courier's and systemd's kind of server read it from the environment, so that is set as well.
//! Standard error stays ours: what a mail server says there must never reach the provider.

mod bits;
mod codes;
mod courier;
mod start;
mod told;

use super::HandoffError;
use crate::config::CommandPeer;
use crate::wire::{Carriage, RelayEnd, RelayView, Released};
use nix::unistd::{AccessFlags, User, access};
use start::spawn;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use tokio::process::Child;
use told::Said;

/// A command that speaks SMTP as server on descriptor 0 and 1.
#[derive(Debug, Clone)]
pub struct Exec {
    program: PathBuf,
    arguments: Vec<OsString>,
    user: Option<String>,
    peer: Option<CommandPeer>,
}

/// The command is there and may be run.
#[derive(Debug)]
pub struct Ready {
    exec: Exec,
    user: Option<User>,
    /// How it is told its peer's address, when a relay carries the connection.
    told: Result<CommandPeer, HandoffError>,
}

/// A mail server that has the connection.
#[derive(Debug)]
pub struct Running {
    child: Child,
    program: PathBuf,
    rest: Rest,
}

/// Why a child did not end well.
#[derive(Debug)]
pub struct Failed {
    /// The sentence.
    pub error: HandoffError,
    code: Option<i32>,
    is_sendmail: bool,
}

impl Failed {
    /// Only something in the session was refused, and the session itself was held to its end. `heard` tells that the
    /// provider was heard after the turn.
    #[must_use]
    pub fn is_about_mail(&self, heard: bool) -> bool {
        codes::is_about_mail(self.code, self.is_sendmail, heard)
    }
}

/// What is left to do for the connection when the child has ended.
#[derive(Debug)]
enum Rest {
    /// Nothing: it is the child's alone.
    Nothing,
    /// The kernel encrypts, and nobody but us says the end of TLS (rule B56).
    Close(Released),
    /// The relay has still to carry the last octets.
    Wait(RelayView),
}

/// How a session by a child ended.
#[derive(Debug)]
pub struct Over {
    /// The child ended well; otherwise the provider keeps what was not acknowledged.
    pub child: Result<(), Failed>,
    /// The kernel had the session's TLS, and the provider sent a record that no mail server can read: the next session
    /// with it had better go through the relay.
    pub control_record: bool,
    /// How the relay ended, if one carried the connection.
    pub relay: Option<RelayEnd>,
}

/// Is this Exim, by a name as it is installed, links followed?
#[must_use]
pub fn is_exim(real: &Path) -> bool {
    told::is_exim(real)
}

/// The arguments among these that choose Exim's configuration.
#[must_use]
pub fn exim_configuration(arguments: &[String]) -> Vec<OsString> {
    let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    told::configuration(&arguments)
        .into_iter()
        .cloned()
        .collect()
}

impl Exec {
    /// `user` is whom the command runs as; `None` leaves it as it is. `peer` is how it learns its peer's address behind
    /// a relay; `None` leaves it to the program's name.
    ///
    /// # Errors
    /// When there is no command.
    pub fn new(
        command: &[String],
        user: Option<&str>,
        peer: Option<CommandPeer>,
    ) -> Result<Self, HandoffError> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(HandoffError::new(
                "cannot run the mail server: no command (set command)",
            ));
        };
        Ok(Self {
            program: PathBuf::from(program),
            arguments: arguments.iter().map(OsString::from).collect(),
            user: user.map(str::to_owned),
            peer,
        })
    }

    /// Before ATRN: is the program there, may we run it, does its user exist? And when the connection may go through a
    /// relay: can the program be told who its peer is?
    ///
    /// # Errors
    /// When one of these fails, with what to do.
    pub fn prepare(&self, relay_possible: bool) -> Result<Ready, HandoffError> {
        let program = self.program.display();
        if !self.program.is_absolute() {
            return Err(HandoffError::new(format!(
                "cannot run {program}: not an absolute path (write the whole path of the command)"
            )));
        }
        access(&self.program, AccessFlags::X_OK).map_err(|errno| {
            HandoffError::new(format!(
                "cannot run {program}: {} (is the mail server installed?)",
                io::Error::from(errno)
            ))
        })?;
        let user = self.user.as_deref().map(find_user).transpose()?;
        let said = Said {
            program: &self.program,
            arguments: &self.arguments,
            user: user.as_ref(),
            peer: self.peer,
        };
        said.may_run()?;
        bits::warn_if_void(&self.program, user.as_ref());
        let told = if relay_possible {
            Ok(said.how()?)
        } else {
            Err(HandoffError::new(format!(
                "cannot give the connection to {program}: it was not made ready for a relay (please report this)"
            )))
        };
        Ok(Ready {
            exec: self.clone(),
            user,
            told,
        })
    }
}

impl Exec {
    fn words(&self) -> (&Path, &[OsString]) {
        (&self.program, &self.arguments)
    }

    fn cannot_start(&self, error: &io::Error) -> HandoffError {
        HandoffError::new(format!(
            "cannot start {}: {error} (run the command by hand as the same user)",
            self.program.display()
        ))
    }
}

impl Ready {
    /// Starts the command on the connection. Our own copy is closed with it, except where the kernel encrypts: then we
    /// keep one to say the end of TLS when the child has ended.
    ///
    /// # Errors
    /// When it cannot be started; the connection comes back, so that the provider can be told.
    pub fn commit(self, released: Released) -> Result<Running, Box<(HandoffError, Released)>> {
        let Self { exec, user, told } = self;
        let told = match (released.carriage(), told) {
            (Carriage::Relay(_), Err(refused)) => return Err(Box::new((refused, released))),
            (Carriage::Relay(_), Ok(told)) => Some(told),
            (Carriage::Plain | Carriage::Kernel, _) => None,
        };
        let addresses = (released.peer(), released.local());
        match spawn(
            exec.words(),
            user.as_ref(),
            told,
            released.as_fd(),
            addresses,
        ) {
            Ok(child) => Ok(Running {
                child,
                program: exec.program,
                rest: match released.carriage() {
                    Carriage::Plain => Rest::Nothing,
                    Carriage::Relay(relay) => Rest::Wait(relay.clone()),
                    Carriage::Kernel => Rest::Close(released),
                },
            }),
            Err(error) => Err(Box::new((exec.cannot_start(&error), released))),
        }
    }

    /// The same for a connection that the relay of another process carries; `socket` is the mail server's end of it,
    /// `peer` and `local` are the addresses of the TCP connection. What the relay has to carry at the end is the other
    /// process's to see to.
    ///
    /// # Errors
    /// When it cannot be started, or not told its peer's address.
    pub fn commit_relayed(
        self,
        socket: BorrowedFd<'_>,
        (peer, local): (SocketAddr, SocketAddr),
    ) -> Result<Running, HandoffError> {
        let Self { exec, user, told } = self;
        match spawn(
            exec.words(),
            user.as_ref(),
            Some(told?),
            socket,
            (peer, local),
        ) {
            Ok(child) => Ok(Running {
                child,
                program: exec.program,
                rest: Rest::Nothing,
            }),
            Err(error) => Err(exec.cannot_start(&error)),
        }
    }
}

impl Running {
    /// The child's process id, while it has not ended.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the mail server to end, and for the end of the connection where that is ours to see to.
    pub async fn wait(mut self) -> Over {
        let program = self.program.display();
        let child = match self.child.wait().await {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failed {
                error: HandoffError::new(format!(
                    "{program} ended with {} (look at the mail server's log)",
                    describe(status)
                )),
                code: status.code(),
                is_sendmail: told::is_sendmail(&told::real(&self.program)),
            }),
            Err(error) => Err(Failed {
                error: HandoffError::new(format!("cannot wait for {program}: {error}")),
                code: None,
                is_sendmail: false,
            }),
        };
        let mut over = Over {
            child,
            control_record: false,
            relay: None,
        };
        match self.rest {
            Rest::Nothing => {}
            Rest::Close(released) => {
                over.control_record = released.control_record();
                released.close().await;
            }
            Rest::Wait(relay) => over.relay = Some(relay.ended().await),
        }
        over
    }
}

fn find_user(name: &str) -> Result<User, HandoffError> {
    match User::from_name(name) {
        Ok(Some(user)) => Ok(user),
        Ok(None) => Err(HandoffError::new(format!(
            "cannot run as user {name}: no such user (correct command_user)"
        ))),
        Err(errno) => Err(HandoffError::new(format!(
            "cannot look up user {name}: {}",
            io::Error::from(errno)
        ))),
    }
}

fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".to_owned(),
    }
}
