//! What this process was started with: told by looking at the descriptors, never by an option.
//!
//! ```text
//! LISTEN_FDS for this process   connected           systemd, Accept=yes        one connection
//!                               listening           systemd, Accept=no         listeners, each with its name
//! descriptor 0 a TCP socket     connected           inetd nowait, tcpserver    one connection
//!                               listening           inetd wait                 a listener that is lent
//! anything else                                     by hand                    nothing
//! ```

use super::{inherited, own, stdio};
use socket2::{Domain, SockRef, Type};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;

/// What there is to serve.
#[derive(Debug)]
pub enum Started {
    /// Nothing: the configuration says where to listen.
    ByHand,
    /// One connection.
    Connection(Connection),
    /// Listening sockets, at least one.
    Listeners(Vec<Listener>),
}

/// A connection that was accepted for us.
#[derive(Debug)]
pub struct Connection {
    /// The connection.
    pub socket: TcpStream,
    /// How the service manager calls it.
    pub name: Option<String>,
}

/// A socket that listens.
#[derive(Debug)]
pub struct Listener {
    /// The socket.
    pub socket: TcpListener,
    /// How the service manager calls it (`FileDescriptorName=`).
    pub name: Option<String>,
    /// Who started us listens himself again when we have ended, so we may when there is nothing to do: inetd's
    /// `wait`.
    pub lent: bool,
}

/// What we were started with is nothing that ODMR can be served on.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A descriptor of the wrong kind.
    #[error("cannot serve on {which}: it is {kind} ({advice})")]
    Unfit {
        /// Which descriptor.
        which: String,
        /// What it is.
        kind: &'static str,
        /// What to do about it.
        advice: &'static str,
    },
    /// The environment is not what a service manager makes it.
    #[error(
        "cannot take the service manager's sockets: {0} (start turnabout without LISTEN_FDS, or correct it)"
    )]
    Environment(io::Error),
    /// A descriptor cannot be taken.
    #[error("cannot take {which}: {cause} (it must be open, as a service manager leaves it)")]
    Lost {
        /// Which descriptor.
        which: String,
        /// What went wrong.
        cause: io::Error,
    },
}

/// Looks at the descriptors, takes those that are sockets to serve on, and closes whatever else was inherited.
///
/// Afterwards descriptors 0, 1 and 2 are no connection any more: where one was, `/dev/null` is. To be called before
/// the first thread, after [`inherited::note`].
///
/// # Errors
/// When there are sockets, but none of those that ODMR is spoken on.
pub fn started_with() -> Result<Started, StartError> {
    let passed: Vec<(RawFd, String)> = sd_notify::listen_fds_with_names()
        .map_err(StartError::Environment)?
        .collect();
    let started = if passed.is_empty() {
        from_stdin()
    } else {
        from_manager(passed)
    };
    inherited::close();
    started
}

/// The listening Unix socket that a service manager has opened for us, if there is one; whatever else was inherited is
/// closed. To be called as [`started_with`], in its place.
///
/// # Errors
/// When there is a socket that is none such, or more than one.
pub fn unix_listener() -> Result<Option<UnixListener>, StartError> {
    let passed: Vec<(RawFd, String)> = sd_notify::listen_fds_with_names()
        .map_err(StartError::Environment)?
        .collect();
    let mut taken = None;
    for (number, name) in passed {
        let which = format!("descriptor {number} ({name})");
        let unfit = |kind| StartError::Unfit {
            which: which.clone(),
            kind,
            advice: "give one ListenStream= with a path, and Accept=no",
        };
        let socket = own::own(number).map_err(|cause| StartError::Lost {
            which: which.clone(),
            cause,
        })?;
        if taken.is_some() {
            return Err(unfit("one more than there may be"));
        }
        let facts = SockRef::from(&socket);
        let is_unix = facts.domain().is_ok_and(|domain| domain == Domain::UNIX);
        if !is_unix || !facts.is_listener().unwrap_or(false) {
            return Err(unfit("no listening Unix socket"));
        }
        taken = Some(socket.into());
    }
    inherited::close();
    Ok(taken)
}

/// Descriptors from 3 on, each with a name.
fn from_manager(passed: Vec<(RawFd, String)>) -> Result<Started, StartError> {
    let alone = passed.len() == 1;
    let mut listeners = Vec::with_capacity(passed.len());
    for (number, name) in passed {
        let which = format!("descriptor {number} ({name})");
        let socket = own::own(number).map_err(|cause| StartError::Lost {
            which: which.clone(),
            cause,
        })?;
        let unfit = |kind, advice| StartError::Unfit {
            which: which.clone(),
            kind,
            advice,
        };
        // systemd's word for a socket without a name.
        let name = Some(name).filter(|name| name != "unknown");
        match kind(&socket) {
            Kind::Listening => listeners.push(Listener {
                socket: socket.into(),
                name,
                lent: false,
            }),
            Kind::Connected if alone => {
                silence(&socket)?;
                return Ok(Started::Connection(Connection {
                    socket: socket.into(),
                    name,
                }));
            }
            Kind::Connected => {
                return Err(unfit(
                    "a connection, and it is not the only one",
                    "give listening sockets, Accept=no, or one connection, Accept=yes",
                ));
            }
            Kind::Other(kind) => {
                let advice = "ODMR is spoken over TCP: give ListenStream= with a port";
                return Err(unfit(kind, advice));
            }
        }
    }
    Ok(Started::Listeners(listeners))
}

/// Descriptor 0, if it is a TCP socket.
fn from_stdin() -> Result<Started, StartError> {
    let which = || "descriptor 0".to_owned();
    let stdin = io::stdin();
    let kind = kind(&stdin);
    let unfit = |kind| StartError::Unfit {
        which: which(),
        kind,
        advice: "ODMR is spoken over TCP: say `stream tcp` in inetd.conf",
    };
    match kind {
        Kind::Other(kind @ Kind::UDP) => return Err(unfit(kind)),
        // A terminal, a pipe, somebody's local socket: whoever starts a service by hand has one of these.
        Kind::Other(_) => return Ok(Started::ByHand),
        Kind::Connected | Kind::Listening => {}
    }
    let socket = stdin.as_fd().try_clone_to_owned();
    let socket = socket.map_err(|cause| StartError::Lost {
        which: which(),
        cause,
    })?;
    silence(&socket)?;
    Ok(match kind {
        Kind::Listening => Started::Listeners(vec![Listener {
            socket: socket.into(),
            name: None,
            lent: true,
        }]),
        _ => Started::Connection(Connection {
            socket: socket.into(),
            name: None,
        }),
    })
}

fn silence(socket: &OwnedFd) -> Result<(), StartError> {
    stdio::silence(socket.as_fd()).map_err(|cause| StartError::Lost {
        which: "the connection".to_owned(),
        cause,
    })
}

/// What a descriptor is to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A TCP socket that is, or was, connected.
    Connected,
    /// A TCP socket that listens.
    Listening,
    /// Nothing to speak ODMR on.
    Other(&'static str),
}

impl Kind {
    const UDP: &'static str = "a UDP socket";
}

fn kind(descriptor: &impl AsFd) -> Kind {
    let socket = SockRef::from(descriptor);
    let (Ok(domain), Ok(kind)) = (socket.domain(), socket.r#type()) else {
        return Kind::Other("no socket");
    };
    match (domain, kind) {
        (Domain::IPV4 | Domain::IPV6, Type::STREAM) if socket.is_listener().unwrap_or(false) => {
            Kind::Listening
        }
        (Domain::IPV4 | Domain::IPV6, Type::STREAM) => Kind::Connected,
        (Domain::IPV4 | Domain::IPV6, Type::DGRAM) => Kind::Other(Kind::UDP),
        (Domain::UNIX, _) => Kind::Other("a Unix socket"),
        _ => Kind::Other("a socket of another kind"),
    }
}
