//! `turnabout fetch --daemon`: the customer as a standing service.
//!
//! ```text
//! timer, SIGUSR1, --now --> Rota: whose turn is it? --> session::fetch, one at a time for each provider
//!                            ^------- how it ended, back to its Course ------'
//! ```

mod moment;
mod rota;
mod schedule;

use super::stopping::{self, Stopping};
use super::{RELAY_IDLE, Report, Shared, hook, session};
use crate::config::{self, Config, ConfigError, Provider};
use crate::control::{Desk, DeskSettings, MetricsListener};
use crate::report::{Ledger, Role};
use crate::service::notify;
use crate::wire::{KernelTls, Relays};
use moment::{Moment, Sleep};
use rota::Rota;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval, sleep_until};

pub use rota::Answer;

/// How often a service manager hears from us at least.
const BEAT: Duration = Duration::from_secs(30);

/// How many may ask for a fetch before the first of them is looked at.
const ASKING: usize = 16;

/// What the standing customer is asked to do.
#[derive(Debug)]
pub struct DaemonOptions {
    /// The file, read again on SIGHUP.
    pub config_file: PathBuf,
    /// The providers to fetch from; none names all.
    pub names: Vec<String>,
}

/// What a standing customer needs of a configuration.
#[derive(Debug)]
struct Settings {
    providers: Vec<Provider>,
    desk: config::Desk,
}

impl DaemonOptions {
    fn read(&self) -> Result<Settings, ConfigError> {
        self.pick(config::load(&self.config_file)?)
    }

    fn pick(&self, config: Config) -> Result<Settings, ConfigError> {
        let desk = config.fetch_desk.clone();
        let path: &Path = &self.config_file;
        let providers = if self.names.is_empty() {
            config.all_providers(path)?
        } else {
            config.named_providers(path, &self.names)?
        };
        Ok(Settings { providers, desk })
    }
}

/// Why a standing customer cannot start.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port for metrics.
    #[error("cannot listen on {0} for metrics: {1} (is it in use? correct metrics in [fetch])")]
    Metrics(std::net::SocketAddr, io::Error),
    /// The system.
    #[error("cannot start: {0} (please report this)")]
    System(#[from] io::Error),
}

/// Fetches until SIGTERM or SIGINT.
///
/// # Errors
/// Whatever makes a start impossible; how fetches go is in the log.
pub fn daemon(options: &DaemonOptions) -> Result<(), DaemonError> {
    let settings = options.read()?;
    let metrics = settings.desk.metrics.map(|at| {
        let bound = MetricsListener::bind(at);
        bound.map_err(|error| DaemonError::Metrics(at, error))
    });
    let metrics = metrics.transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(stand(options, settings, metrics));
    // A password that is still being computed is not waited for.
    runtime.shutdown_background();
    ended
}

async fn stand(
    options: &DaemonOptions,
    settings: Settings,
    metrics: Option<MetricsListener>,
) -> Result<(), DaemonError> {
    let shared = Arc::new(Shared {
        ledger: Ledger::new(Role::Fetch),
        // A provider with TLS may come with a reload.
        kernel: KernelTls::probe(),
        relays: Relays::new(RELAY_IDLE),
        stopping: Stopping::listen()?,
    });
    let (mut usr1, mut hangup) = (
        signal(SignalKind::user_defined1())?,
        signal(SignalKind::hangup())?,
    );
    let (wanted, mut asked) = mpsc::channel(ASKING);
    let desk = Desk::open(
        &shared.ledger,
        DeskSettings {
            control: settings.desk.control.clone(),
            metrics,
            metrics_file: settings.desk.metrics_file.clone(),
            now: Some(wanted),
        },
    );
    let mut rota = Rota::new(settings.providers, &Moment::now());
    let mut fetches: JoinSet<Report> = JoinSet::new();
    let mut beat = beat();
    let mut sleep = Sleep::begin();
    tracing::info!(providers = rota.len(), "ready");
    start(&mut rota, &mut fetches, &shared);
    shared.ledger.plan(rota.plan());
    notify::ready(&rota.to_string());
    loop {
        tokio::select! {
            () = until(rota.next()) => {}
            _ = usr1.recv() => {
                tracing::info!(signal = "SIGUSR1", "fetching from all providers now");
                rota.want_all(Instant::now());
            }
            _ = hangup.recv() => {
                notify::reloading();
                reload(options, &settings.desk, &mut rota, &shared.ledger);
                notify::ready(&rota.to_string());
            }
            Some(asked) = asked.recv() => rota.want(asked, Instant::now()).await,
            Some(ended) = fetches.join_next_with_id() => rota.ended(ended, &Moment::now(), chance()).await,
            _ = beat.tick() => {
                notify::alive();
                let Some(time) = sleep.since() else { continue };
                tracing::info!(slept = time.as_secs(), "the machine was asleep");
                rota.slept(time);
            }
            () = shared.stopping.told() => break,
        }
        start(&mut rota, &mut fetches, &shared);
        shared.ledger.plan(rota.plan());
        notify::status(&rota.to_string());
    }
    shared.ledger.plan(Vec::new());
    notify::stopping(stopping::TIME + hook::LAST + hook::CUT);
    drop(asked);
    while let Some(ended) = fetches.join_next_with_id().await {
        rota.ended(ended, &Moment::now(), 0.0).await;
    }
    desk.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Begins every fetch that is due.
fn start(rota: &mut Rota, fetches: &mut JoinSet<Report>, shared: &Arc<Shared>) {
    rota.begin(&Moment::now(), |provider| {
        let (provider, shared) = (Arc::clone(provider), Arc::clone(shared));
        fetches
            .spawn(async move { session::fetch(&provider, &shared).await })
            .id()
    });
}

/// The whole file, or nothing of it.
fn reload(options: &DaemonOptions, desk: &config::Desk, rota: &mut Rota, ledger: &Ledger) {
    let settings = options.read().map_err(|error| error.to_string());
    let settings = settings.and_then(|settings| {
        if settings.desk == *desk {
            return Ok(settings);
        }
        Err("control, metrics or metrics_file of [fetch] changed (restart to change it)".to_owned())
    });
    match settings {
        Ok(settings) => {
            rota.reload(settings.providers, &Moment::now());
            ledger.keep_results(|name| rota.has(name));
            tracing::info!(providers = rota.len(), "reloaded");
        }
        Err(why) => tracing::error!("cannot reload: {why} (everything stays as it was)"),
    }
}

fn beat() -> Interval {
    let mut clock = interval(notify::watchdog_interval().map_or(BEAT, |limit| limit.min(BEAT)));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    clock
}

/// Nothing is due while all of them are being fetched from.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// A number from 0 to 1. It only spreads load, so a system that has none to give is no reason to stop.
fn chance() -> f64 {
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}
