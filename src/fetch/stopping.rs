//! SIGTERM and SIGINT. What is before the turn ends at the first: the mail is with the provider. What a mail server has
//! taken over goes on without us, except where our relay carries it: that has time to end, until the second.

use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long a relay may go on after the first signal.
pub(super) const TIME: Duration = Duration::from_secs(5 * 60);

/// How many signals have come.
#[derive(Debug, Clone)]
pub(super) struct Stopping(watch::Receiver<u32>);

impl Stopping {
    /// Listens from now on; the signals do not end the process any more.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub(super) fn listen() -> io::Result<Self> {
        let (count, seen) = watch::channel(0);
        let (mut term, mut int) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        );
        tokio::spawn(async move {
            loop {
                let name = tokio::select! {
                    _ = term.recv() => "SIGTERM",
                    _ = int.recv() => "SIGINT",
                };
                tracing::info!(signal = name, "stopping");
                count.send_modify(|count| *count += 1);
            }
        });
        Ok(Self(seen))
    }

    /// Waits for the first signal.
    pub(super) async fn told(&self) {
        self.came(1).await;
    }

    /// Waits until a relay must end: at the second signal, or some time after the first.
    pub(super) async fn at_once(&self) {
        self.told().await;
        tokio::select! {
            () = self.came(2) => {}
            () = sleep(TIME) => {}
        }
    }

    async fn came(&self, signals: u32) {
        let mut seen = self.0.clone();
        if seen.wait_for(|count| *count >= signals).await.is_err() {
            // Nobody is left who could tell.
            std::future::pending::<()>().await;
        }
    }
}
