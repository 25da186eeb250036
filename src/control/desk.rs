//! What a service shows to those who look at it: status on its control socket, metrics on a port and in a file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc::Sender;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use super::{Asked, Asker, Listener, MetricsListener, Request, TIME, answer_beside, textfile};
use crate::report::Ledger;

/// How often the file is written.
const WRITE: Duration = Duration::from_secs(15);

/// What a service is to show, and where.
#[derive(Debug, Default)]
pub struct DeskSettings {
    /// The control socket.
    pub control: Option<PathBuf>,
    /// The port for Prometheus.
    pub metrics: Option<MetricsListener>,
    /// The file for the node exporter.
    pub metrics_file: Option<PathBuf>,
    /// Who fetches when somebody asks for it; what is dropped unanswered is closed.
    pub now: Option<Sender<Asked>>,
}

/// A service's desk: what it shows is shown until it is closed.
#[derive(Debug)]
pub struct Desk {
    tasks: JoinSet<()>,
    ledger: Ledger,
    file: Option<PathBuf>,
}

impl Desk {
    /// Opens it. Whatever of it cannot be had is a warning: the mail goes on. To be called inside a runtime.
    #[must_use]
    pub fn open(ledger: &Ledger, settings: DeskSettings) -> Self {
        let mut desk = Self {
            tasks: JoinSet::new(),
            ledger: ledger.clone(),
            file: settings.metrics_file,
        };
        if let Some(path) = settings.control {
            match Listener::bind(&path) {
                Ok(listener) => desk.run(status(listener, ledger.clone(), settings.now)),
                Err(error) => {
                    tracing::warn!("{error}; \"turnabout status\" does not work until then");
                }
            }
        }
        if let Some(listener) = settings.metrics {
            if let Ok(address) = listener.address() {
                tracing::info!(%address, "metrics at /metrics");
            }
            desk.run(listener.answer(ledger.clone()));
        }
        if let Some(path) = &desk.file {
            ledger.recall(&textfile::read(path));
            desk.run(keep_written(ledger.clone(), path.clone()));
        }
        desk
    }

    /// Closes it: the socket's file goes, and the file with metrics says how it was at the end.
    pub async fn close(mut self) {
        self.tasks.shutdown().await;
        if let Some(path) = &self.file {
            write(&self.ledger.metrics(), path);
        }
    }

    fn run(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        let _handle: AbortHandle = self.tasks.spawn(task);
    }
}

/// Answers for the status; whoever wants a fetch is passed on to who fetches.
async fn status(listener: Listener, ledger: Ledger, now: Option<Sender<Asked>>) {
    let mut askers = JoinSet::new();
    loop {
        let asker = listener.accept().await;
        answer_beside(&mut askers, answer(asker, ledger.clone(), now.clone())).await;
    }
}

async fn answer(asker: Asker, ledger: Ledger, now: Option<Sender<Asked>>) {
    let Some(asked) = asker.request().await else {
        return;
    };
    match (&asked.request, now) {
        (Request::Status, _) => asked.answer(&ledger.status()).await,
        // One that is stopping, or has no time, takes no more: the connection is closed.
        (Request::Now { .. }, Some(now)) => drop(now.send_timeout(asked, TIME).await),
        (Request::Now { .. }, None) => {
            asked
                .refuse(
                    "this service fetches nothing (ask the one that turnabout fetch --daemon is)",
                )
                .await;
        }
    }
}

async fn keep_written(ledger: Ledger, path: PathBuf) {
    let mut clock = interval(WRITE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fine = true;
    loop {
        clock.tick().await;
        // Once is enough for the log.
        let now = match (fine, ledger.metrics()) {
            (true, metrics) => write(&metrics, &path),
            (false, Ok(metrics)) => textfile::replace(&path, &metrics).is_ok(),
            (false, Err(_)) => false,
        };
        fine = now;
    }
}

/// Writes how each provider fared into the file of a process that fetches once; what the file says about others stays.
pub fn write_last(ledger: &Ledger, path: &Path) {
    ledger.recall(&textfile::read(path));
    write(&ledger.last_metrics(), path);
}

fn write(metrics: &Result<String, std::fmt::Error>, path: &Path) -> bool {
    let Ok(metrics) = metrics else { return false };
    match textfile::replace(path, metrics) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(
                "cannot write {}: {error} (let the user of the service write into its directory, or correct metrics_file)",
                path.display()
            );
            false
        }
    }
}
