//! The relay: this process between a peer under TLS and a mail server that cannot do that TLS itself.
//!
//! The mail server gets one end of a Unix socket pair, or is reached on a socket where it listens ([`Far`]); a task
//! here carries the octets between that and the peer (rule C7). Without TLS they do not even come up into this process
//! ([`splice`]):
//!
//! * **Transparent.** No octet is changed, added or left out.
//! * **Bounded.** At most [`BUFFER`] octets are held each way; a side that does not read stops the other.
//! * **Prompt.** What was read is written and flushed before more is waited for: no reply is delayed.
//! * **Whole at the end.** Half a close goes through as half a close (`close_notify` under TLS, rule B56),
//!   and what was read before it is written first, so the last 221 is never lost.
//! * **Honest.** A peer that ends without `close_notify` is lost: the mail server sees both directions close
//!   at once, and never takes part of a message for the whole.
//!
//! A relay outlives the session that started it. [`Relays`] counts those that run, so that a process which
//! is to end can wait for them.

mod far;
mod flow;
mod pump;
mod splice;
mod view;
mod words;

pub use far::Far;
pub use view::{RelayEnd, RelayView};

use pump::Pump;
use splice::Splice;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::watch;

/// How many octets are held in each direction.
const BUFFER: usize = 64 * 1024;

/// The relays of this process: how long one may be idle, and how many run.
#[derive(Debug, Clone)]
pub struct Relays {
    idle: Duration,
    running: watch::Sender<usize>,
}

/// Twice as long as SMTP waits for anything.
impl Default for Relays {
    fn default() -> Self {
        Self::new(Duration::from_secs(20 * 60))
    }
}

/// Counted as long as it lives.
struct Running(watch::Sender<usize>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0
            .send_modify(|running| *running = running.saturating_sub(1));
    }
}

impl Relays {
    /// A connection on which nothing moves for `idle` is closed; that must be more than the longest time
    /// SMTP waits for anything, 10 minutes (RFC 5321 4.5.3.2.6).
    #[must_use]
    pub fn new(idle: Duration) -> Self {
        Self {
            idle,
            running: watch::Sender::new(0),
        }
    }

    /// How many run.
    #[must_use]
    pub fn running(&self) -> usize {
        *self.running.borrow()
    }

    /// Waits until none runs.
    pub async fn ended(&self) {
        let mut running = self.running.subscribe();
        // It cannot fail: the sender is here.
        drop(running.wait_for(|running| *running == 0).await);
    }

    /// Starts a relay for `stream`, which leads to `peer`. Gives the mail server's end of it (a blocking
    /// socket), and what can be seen of it from outside. `round_trip` is the time to the peer and back.
    ///
    /// # Errors
    /// The system gives no socket pair; the connection is closed then.
    pub fn start<S>(
        &self,
        stream: S,
        peer: SocketAddr,
        round_trip: Duration,
    ) -> io::Result<(OwnedFd, RelayView)>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let ours = Far::Unix(UnixStream::from_std(ours)?);
        let view = self.join(stream, ours, peer, round_trip);
        Ok((OwnedFd::from(theirs), view))
    }

    /// Starts a relay between `stream`, which leads to `peer`, and a connection to a mail server.
    pub(super) fn join<S>(
        &self,
        stream: S,
        mail_server: Far,
        peer: SocketAddr,
        round_trip: Duration,
    ) -> RelayView
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (view, sight) = view::new(round_trip);
        let pump = Pump::new(stream, mail_server, sight, self.idle);
        self.spawn(async move { pump.run(peer).await });
        view
    }

    /// The same for a peer without TLS: the octets stay in the kernel.
    ///
    /// # Errors
    /// The system gives no pipes; both connections are closed then.
    pub(super) fn splice(
        &self,
        stream: TcpStream,
        mail_server: Far,
        peer: SocketAddr,
        round_trip: Duration,
    ) -> io::Result<RelayView> {
        let (view, sight) = view::new(round_trip);
        let splice = Splice::new(stream, mail_server, sight, self.idle)?;
        self.spawn(async move { splice.run(peer).await });
        Ok(view)
    }

    /// Runs it and counts it meanwhile.
    fn spawn(&self, relay: impl Future<Output = ()> + Send + 'static) {
        self.running.send_modify(|running| *running += 1);
        let running = Running(self.running.clone());
        tokio::spawn(async move {
            relay.await;
            drop(running);
        });
    }
}

/// Reads and drops until the peer closes.
async fn drain(peer: &mut (impl AsyncRead + Unpin)) {
    let mut scrap = vec![0; 4096];
    while let Ok(1..) = peer.read(&mut scrap).await {}
}
