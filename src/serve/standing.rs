//! A server that stands: bind, drop root, read the files, serve until told to stop.
//!
//! Order of the start, and why: the ports are bound as root, and a child that stays root is started to read
//! certificates and keys ([`super::keys`]); then root is given up for good; only then are the accounts read (so a later
//! reload, as the mail server's user, cannot fail where the start succeeded) and the mail server asked for its
//! version and its sockets.

use super::acceptor;
use super::activation::Listeners;
use super::certificates::{self, Certificates};
use super::confine::confine;
use super::keys::KeyReader;
use super::mail_server::MailServer;
use super::places::Places;
use super::pulse::Pulse;
use super::session::Begins;
use super::state::{Files, State};
use super::{Options, ServeError, Stops, ends, fits, last_sessions, listener, privileges, reload};
use crate::accounts::{Accounts, StandInKey};
use crate::config;
use crate::control::{Desk, DeskSettings, MetricsListener};
use crate::handoff::provider::ProviderHandoff;
use crate::service::{self, notify};
use nix::unistd::geteuid;
use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

/// Serves until SIGTERM or SIGINT, on the sockets that we were `started` with, or else on the addresses of the
/// configuration; and on a socket that inetd has lent until nobody has come for `serve.limits.lent_time`.
///
/// # Errors
/// Whatever makes a start impossible; see [`ServeError`].
pub fn run(options: Options, started: Vec<service::Listener>) -> Result<(), ServeError> {
    let lent = started.iter().any(|listener| listener.lent);
    let listeners = if started.is_empty() {
        Listeners::bind(&options.serve)?
    } else {
        Listeners::of(started, &options.serve)?
    };
    let metrics = metrics(options.serve.desk.metrics)?;
    listener::raise_descriptor_limit();
    let user = match &options.serve.user {
        Some(user) => user.clone(),
        None => ProviderHandoff::default_user(&options.serve)?,
    };
    let mut certificates = Certificates::new(key_reader(&options.serve)?);
    Places::make(&options.serve.runtime_directory, &user);
    privileges::drop_to(&user)?;
    if let Err(error) = File::open(&options.config_file) {
        tracing::warn!(
            config = %options.config_file.display(), %user, %error,
            "SIGHUP will not reload: this user cannot read the configuration (chgrp it to the user's group, and chmod g+r)"
        );
    }
    let (places, key) = places(&options.serve)?;
    let accounts = Arc::new(Accounts::load(&options.serve.accounts, &key)?);
    fits(&options.serve, &accounts)?;
    let tls = certificates.load(&options.serve, &accounts)?;
    confine(&options.serve, Some(&options.config_file));
    // Password hashes may take tens of megabytes each and all of a processor: a few at a time,
    // the others wait.
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(processors + 1)
        .build()?;
    let files = Files {
        serve: options.serve,
        accounts,
        tls,
    };
    let ready = Ready {
        config_file: options.config_file,
        listeners,
        lent,
        metrics,
        certificates,
        key,
        places,
    };
    let ended = runtime.block_on(serve(ready, files));
    // What is still in a blocking call (a password hash) is not waited for.
    runtime.shutdown_background();
    ended
}

/// What was made ready before there were threads.
struct Ready {
    config_file: PathBuf,
    listeners: Listeners,
    lent: bool,
    metrics: Option<MetricsListener>,
    certificates: Certificates,
    key: StandInKey,
    places: Option<Places>,
}

/// As root, a child that can read the files after root is given up; otherwise we read them as any other.
fn key_reader(serve: &config::Serve) -> io::Result<KeyReader> {
    let files = Certificates::files(serve);
    if geteuid().is_root() && !files.is_empty() {
        return KeyReader::with_root(files);
    }
    Ok(KeyReader::own())
}

/// Where customers are locked for other processes; one that stands can do without, if it is the only one.
fn places(serve: &config::Serve) -> io::Result<(Option<Places>, StandInKey)> {
    let places = Places::new(serve.runtime_directory.clone());
    match places.stand_in_key() {
        Ok(key) => Ok((Some(places), key)),
        Err(error) => {
            tracing::warn!("{error}: only this process knows which customers it serves");
            let key = StandInKey::draw().map_err(|error| io::Error::other(error.to_string()))?;
            Ok((None, key))
        }
    }
}

async fn serve(ready: Ready, files: Files) -> Result<(), ServeError> {
    let Ready {
        config_file,
        listeners,
        lent,
        metrics,
        mut certificates,
        key,
        places,
    } = ready;
    let handoff = ProviderHandoff::new(&files.serve).await?;
    let mail_server = MailServer::known(handoff, super::kernel(&files.serve));
    let mut hangup = signal(SignalKind::hangup())?;
    let mut stops = Stops::new()?;
    let (ends, told) = ends();
    let lent_time = lent.then_some(files.serve.limits.lent_time);
    let state = Arc::new(State::new(files, key, mail_server, places, told));
    // What is said to be ready can be asked as well.
    let desk = desk(&state, metrics);
    say_ready(&state, &listeners);
    let mut acceptors = JoinSet::new();
    for (listeners, begins) in [
        (listeners.in_clear, Begins::InClear),
        (listeners.with_tls, Begins::WithTls),
    ] {
        for listener in listeners {
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            acceptors.spawn(acceptor::accept(listener, begins, Arc::clone(&state)));
        }
    }
    let mut look = every(certificates::LOOK);
    let mut pulse = Pulse::new(lent_time);
    let mut beat = every(pulse.interval());
    notify::ready(&state.figures().to_string());
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                notify::reloading();
                reload::reload(&config_file, &state, &mut certificates);
                notify::ready(&state.figures().to_string());
            }
            _ = look.tick() => reload::renew(&state, &mut certificates),
            _ = beat.tick() => if pulse.beat(&state) {
                tracing::info!("nobody has come for a while, whoever lent the socket may have it back (serve.limits.lent_time)");
                break;
            },
            name = stops.first() => {
                tracing::info!(signal = name, "stopping");
                break;
            }
        }
    }
    ends.stop.send_replace(true);
    notify::stopping(super::STOP_TIME + state.files().serve.limits.stop_time);
    last_sessions(&state, acceptors, &ends).await;
    desk.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// Listens for Prometheus, if it is to be answered.
fn metrics(address: Option<SocketAddr>) -> Result<Option<MetricsListener>, ServeError> {
    let bind = |at| MetricsListener::bind(at).map_err(|error| ServeError::Metrics(at, error));
    address.map(bind).transpose()
}

/// What the service shows of itself, as the user that it is now.
fn desk(state: &State, metrics: Option<MetricsListener>) -> Desk {
    let wanted = state.files().serve.desk.clone();
    let settings = DeskSettings {
        control: wanted.control,
        metrics,
        metrics_file: wanted.metrics_file,
        now: None,
    };
    Desk::open(&state.ledger, settings)
}

fn say_ready(state: &State, listeners: &Listeners) {
    let files = state.files();
    let serve = &files.serve;
    tracing::info!(
        listen = addresses(&listeners.in_clear), listen_tls = addresses(&listeners.with_tls),
        tls = serve.tls.name(), handoff_tls = serve.has_tls().then(|| serve.handoff_tls.name()),
        handoff = serve.handoff.name(), accounts = files.accounts.len(), hostname = %serve.hostname,
        "ready"
    );
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = interval_at(Instant::now() + period, period);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// Where they listen, for the log; nothing if there are none.
fn addresses(listeners: &[StdListener]) -> Option<String> {
    let all: Vec<String> = listeners
        .iter()
        .filter_map(local)
        .map(|at| at.to_string())
        .collect();
    (!all.is_empty()).then(|| all.join(","))
}

fn local(listener: &StdListener) -> Option<SocketAddr> {
    listener.local_addr().ok()
}
