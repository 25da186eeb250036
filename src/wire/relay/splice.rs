//! A relay between two sockets without TLS: the octets go from one to the other inside the kernel, by splice(2).
//!
//! Each direction has a pipe, and the kernel moves pages from a socket into it and out of it to the other socket; this
//! process sees only how many octets there were. The rules are those of every relay (see [`super`]): what a pipe holds
//! is all that is held, half a close goes through as half a close, and what was read before it is written first. What
//! it cannot do is listen for QUIT and 221: without TLS an end in the midst of a session looks to the mail server as
//! it looks on a connection of its own, and the end of each side is passed on at once.

use super::drain;
use super::far::Far;
use super::view::{RelayEnd, Sight};
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::unistd::pipe2;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

/// How many octets are asked for at a time; a pipe holds no more (pipe(7)).
const CHUNK: usize = 64 * 1024;

/// How long the peer has to close when there is nobody left to hear it.
const LINGER: Duration = Duration::from_secs(10);

/// How often it is looked whether a mail server that has closed half has closed the rest.
const LOOK: Duration = Duration::from_millis(500);

/// How one direction ended.
enum Way {
    /// The reading side has closed, and the writing side was told.
    Ended,
    /// The reading side's connection broke.
    Broken(io::Error),
    /// The writing side takes no more.
    Refused,
}

/// A relay at work.
pub(super) struct Splice {
    peer: TcpStream,
    mail_server: Far,
    inward: Pipe,
    outward: Pipe,
    sight: Sight,
    idle: Duration,
}

impl Splice {
    /// # Errors
    /// The system gives no pipes.
    pub(super) fn new(
        peer: TcpStream,
        mail_server: Far,
        sight: Sight,
        idle: Duration,
    ) -> io::Result<Self> {
        Ok(Self {
            peer,
            mail_server,
            inward: Pipe::new()?,
            outward: Pipe::new()?,
            sight,
            idle,
        })
    }

    /// Carries until the end; tells it to the log and to whoever looks on.
    pub(super) async fn run(self, address: SocketAddr) {
        let end = tokio::select! {
            end = self.carry() => end,
            () = idle(&self.sight, self.idle) => RelayEnd::Idle(self.idle),
        };
        match &end {
            RelayEnd::Closed => tracing::debug!(peer = %address, "relay ended"),
            end => tracing::warn!(
                peer = %address,
                "{end}; what was not acknowledged stays with its sender"
            ),
        }
        let Self {
            mut peer,
            mail_server,
            sight,
            ..
        } = self;
        sight.closing();
        drop(mail_server);
        if end == RelayEnd::Closed {
            // Octets that are not read make of our close a reset, which may overtake the last reply.
            timeout(LINGER, drain(&mut peer)).await.unwrap_or_default();
        }
        drop(peer);
        sight.ended(end);
    }

    async fn carry(&self) -> RelayEnd {
        let sight = &self.sight;
        let mut inward = pin!(async {
            let peer = Side::Tcp(&self.peer);
            let moved = |octets| sight.received(octets);
            let way = self
                .inward
                .carry(peer, (&self.mail_server).into(), moved)
                .await;
            sight.closing();
            way
        });
        let mut outward = pin!(async {
            let peer = Side::Tcp(&self.peer);
            let moved = |octets| sight.sent(octets);
            let way = self
                .outward
                .carry((&self.mail_server).into(), peer, moved)
                .await;
            sight.closing();
            way
        });
        let ended = tokio::select! {
            way = &mut inward => Err(way),
            way = &mut outward => Ok(way),
        };
        match ended {
            // The peer is lost: nothing that it has still to hear can reach it.
            Err(Way::Broken(error)) => RelayEnd::Lost(error.to_string()),
            // The peer has said all, or the mail server hears no more: what that wrote is still for the peer.
            Err(Way::Ended | Way::Refused) => match outward.await {
                Way::Ended | Way::Refused | Way::Broken(_) => RelayEnd::Closed,
            },
            // The mail server has said all (if its connection broke, too), or the peer takes no more: what the peer has
            // still to say tells how it ended.
            Ok(_) => {
                tell_end(Side::Tcp(&self.peer));
                tokio::select! {
                    way = inward => match way {
                        Way::Broken(error) => RelayEnd::Lost(error.to_string()),
                        Way::Ended | Way::Refused => RelayEnd::Closed,
                    },
                    () = hung_up(&self.mail_server) => RelayEnd::Closed,
                }
            }
        }
    }
}

/// A socket as splice(2) uses it.
#[derive(Clone, Copy)]
enum Side<'a> {
    Tcp(&'a TcpStream),
    Unix(&'a UnixStream),
}

impl<'a> From<&'a Far> for Side<'a> {
    fn from(far: &'a Far) -> Self {
        match far {
            Far::Tcp(stream) => Self::Tcp(stream),
            Far::Unix(stream) => Self::Unix(stream),
        }
    }
}

impl Side<'_> {
    /// Does it as soon as the socket is ready for it.
    async fn when<R>(
        self,
        interest: Interest,
        mut operation: impl FnMut() -> io::Result<R>,
    ) -> io::Result<R> {
        match self {
            Self::Tcp(stream) => stream.async_io(interest, &mut operation).await,
            Self::Unix(stream) => stream.async_io(interest, &mut operation).await,
        }
    }

    fn fd(&self) -> impl AsFd + '_ {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

/// What is on its way in one direction.
struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (out, into) = pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        Ok(Self { out, into })
    }

    /// Carries to the end of `from`, and tells it to `to`. The pipe is empty whenever `from` is read, so that only the
    /// socket can be what there is to wait for.
    async fn carry(&self, from: Side<'_>, to: Side<'_>, moved: impl Fn(usize)) -> Way {
        let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
        loop {
            let read = from.when(Interest::READABLE, || {
                Ok(splice(from.fd(), None, &self.into, None, CHUNK, flags)?)
            });
            let mut held = match read.await {
                Ok(0) => {
                    tell_end(to);
                    return Way::Ended;
                }
                Ok(octets) => octets,
                Err(error) => return Way::Broken(error),
            };
            while held > 0 {
                let written = to.when(Interest::WRITABLE, || {
                    Ok(splice(&self.out, None, to.fd(), None, held, flags)?)
                });
                match written.await {
                    Ok(octets @ 1..) => {
                        moved(octets);
                        held = held.saturating_sub(octets);
                    }
                    Ok(0) | Err(_) => return Way::Refused,
                }
            }
        }
    }
}

/// Nothing more will be written there. A side that has gone needs no word.
fn tell_end(side: Side<'_>) {
    let socket = match &side {
        Side::Tcp(stream) => socket2::SockRef::from(*stream),
        Side::Unix(stream) => socket2::SockRef::from(*stream),
    };
    socket
        .shutdown(std::net::Shutdown::Write)
        .unwrap_or_default();
}

/// Waits until nothing has moved for so long.
async fn idle(sight: &Sight, limit: Duration) {
    loop {
        let left = limit.saturating_sub(sight.quiet());
        if left.is_zero() {
            return;
        }
        sleep(left).await;
    }
}

/// Waits until the mail server has closed both directions.
async fn hung_up(mail_server: &Far) {
    loop {
        if mail_server.is_hung_up() {
            return;
        }
        sleep(LOOK).await;
    }
}
