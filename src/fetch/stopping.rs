//! SIGTERM and SIGINT. What is before the turn ends at the first: the mail is with the provider. What a mail server has
//! taken over goes on without us, except where our relay carries it: that has time to end, until the second.

use std::io;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How long a relay may go on after the first signal.
pub(super) const TIME: Duration = Duration::from_secs(5 * 60);

/// How many signals have come, and when the first of them.
#[derive(Debug, Clone, Copy, Default)]
struct Signals {
    count: u32,
    first: Option<Instant>,
}

/// What the signals ask for.
#[derive(Debug, Clone)]
pub(super) struct Stopping(watch::Receiver<Signals>);

impl Stopping {
    /// Listens from now on; the signals do not end the process any more.
    ///
    /// # Errors
    /// When the system does not let us listen.
    pub(super) fn listen() -> io::Result<Self> {
        let (signals, seen) = watch::channel(Signals::default());
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
                signals.send_modify(|signals| {
                    signals.count += 1;
                    signals.first.get_or_insert_with(Instant::now);
                });
            }
        });
        Ok(Self(seen))
    }

    /// Waits for the first signal.
    pub(super) async fn told(&self) {
        self.came(1).await;
    }

    /// Waits until a relay must end, or a hook: at the second signal, or some time after the first, which is the same
    /// moment for all.
    pub(super) async fn at_once(&self) {
        self.after(TIME).await;
    }

    async fn after(&self, time: Duration) {
        let first = self.came(1).await;
        tokio::select! {
            _ = self.came(2) => {}
            () = sleep_until(first + time) => {}
        }
    }

    /// When the first signal came, as soon as so many have.
    async fn came(&self, count: u32) -> Instant {
        let mut seen = self.0.clone();
        let came = seen.wait_for(|signals| signals.count >= count).await;
        let first = came.map(|signals| signals.first.unwrap_or_else(Instant::now));
        match first {
            Ok(first) => first,
            // Nobody is left who could tell.
            Err(_) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Signals, Stopping};
    use std::time::Duration;
    use tokio::sync::watch;
    use tokio::time::{Instant, sleep, timeout};

    #[test]
    fn whoever_asks_later_has_no_more_time_than_is_left() -> std::io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let signals = Signals {
                count: 1,
                first: Some(Instant::now()),
            };
            let (_sender, seen) = watch::channel(signals);
            let time = Duration::from_secs(2);
            sleep(time).await;
            let over = timeout(time / 2, Stopping(seen).after(time)).await;
            assert!(over.is_ok(), "its time began anew");
        });
        Ok(())
    }
}
