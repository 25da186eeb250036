//! Whose turn it is: each provider with its course, and who waits for the end of a fetch.

use super::moment::Moment;
use super::schedule::Course;
use crate::config::Provider;
use crate::control::{Asked, Request};
use crate::fetch::{End, Report};
use crate::report::{Next, whole};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::task::{Id, JoinError};

/// How many may wait for the end of one fetch: each holds a descriptor.
const WAITING: usize = 32;

/// The answer to [`Request::Now`]: how the fetch ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// The sentence that a single fetch prints.
    pub line: String,
    /// The exit code that goes with it.
    pub exit: u8,
    /// The [`Report`].
    pub report: serde_json::Value,
}

/// All providers of a standing customer.
#[derive(Debug)]
pub(super) struct Rota(Vec<Entry>);

#[derive(Debug)]
struct Entry {
    provider: Arc<Provider>,
    course: Course,
    /// The fetch that runs.
    task: Option<Id>,
    /// Who asked for it.
    waiting: Vec<Asked>,
    /// The configuration has it no more; only the end of its fetch is waited for.
    gone: bool,
}

impl Entry {
    fn new(provider: Provider, now: &Moment) -> Self {
        Self {
            course: Course::new(provider.schedule, now.at),
            provider: Arc::new(provider),
            task: None,
            waiting: Vec::new(),
            gone: false,
        }
    }

    fn due(&self) -> Option<Instant> {
        self.course.due().filter(|_| !self.gone)
    }

    fn keep_quiet(&mut self, now: &Moment) {
        self.course.keep_quiet(&self.provider.quiet_hours, now);
    }
}

impl Rota {
    pub(super) fn new(providers: Vec<Provider>, now: &Moment) -> Self {
        // A name that is given twice is one provider.
        let mut rota = Self(Vec::new());
        rota.reload(providers, now);
        rota
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().filter(|entry| !entry.gone).count()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        let mut present = self.0.iter().filter(|entry| !entry.gone);
        present.any(|entry| entry.provider.name == name)
    }

    /// When the next fetch is due; nothing if every provider is being fetched from.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().filter_map(Entry::due).min()
    }

    /// When it is whose turn, for those who look.
    pub(super) fn plan(&self) -> Vec<Next> {
        let present = self.0.iter().filter(|entry| !entry.gone);
        present
            .map(|entry| {
                let (wait, failures) = entry.course.waits_for();
                Next {
                    name: whole(&entry.provider.name).to_string(),
                    due: entry.due(),
                    wait,
                    failures,
                }
            })
            .collect()
    }

    /// Begins what is due.
    pub(super) fn begin(&mut self, now: &Moment, mut spawn: impl FnMut(&Arc<Provider>) -> Id) {
        for entry in self.0.iter_mut().filter(|entry| !entry.gone) {
            entry.keep_quiet(now);
            if entry.course.begin(now.at) {
                entry.task = Some(spawn(&entry.provider));
            }
        }
    }

    pub(super) fn want_all(&mut self, now: Instant) {
        for entry in &mut self.0 {
            entry.course.want(now);
        }
    }

    /// Somebody asks for a fetch, and waits for its end. One that is running already is as good.
    pub(super) async fn want(&mut self, asked: Asked, now: Instant) {
        let Request::Now { provider } = &asked.request else {
            return;
        };
        let mut present = self.0.iter_mut().filter(|entry| !entry.gone);
        let Some(entry) = present.find(|entry| entry.provider.name == *provider) else {
            let error = format!(
                "{provider:?} is none of the providers that the daemon fetches from (reload or restart it if the configuration has changed)"
            );
            asked.refuse(error).await;
            return;
        };
        entry.waiting.retain(|waiting| !waiting.has_gone());
        if entry.waiting.len() >= WAITING {
            let error = format!(
                "{WAITING} others wait for the end of this fetch already (try again when it is over)"
            );
            asked.refuse(error).await;
            return;
        }
        tracing::info!(provider = %entry.provider.name, "a fetch was asked for");
        if entry.task.is_none() {
            entry.course.want(now);
        }
        entry.waiting.push(asked);
    }

    /// A fetch has ended; whoever waits for it is told.
    pub(super) async fn ended(
        &mut self,
        ended: Result<(Id, Report), JoinError>,
        now: &Moment,
        chance: f64,
    ) {
        let (id, report) = match ended {
            Ok((id, report)) => (id, Some(report)),
            Err(error) => {
                tracing::error!(%error, "a fetch broke off (please report this)");
                (error.id(), None)
            }
        };
        let Some(entry) = self.0.iter_mut().find(|entry| entry.task == Some(id)) else {
            return;
        };
        entry.task = None;
        let end = report.as_ref().map_or(End::TryLater, |report| report.end);
        entry.course.ended(end, now.at, chance);
        entry.keep_quiet(now);
        let due = entry.course.due().unwrap_or(now.at);
        let wait = due.saturating_duration_since(now.at);
        if !entry.gone {
            tracing::info!(
                provider = %entry.provider.name,
                wait = %in_seconds(wait),
                next = %at(wait),
                "next fetch"
            );
        }
        let waiting = std::mem::take(&mut entry.waiting);
        if let Some(answer) = report.and_then(|report| answer(&report)) {
            for asked in waiting {
                asked.answer(&answer).await;
            }
        }
        self.0.retain(|entry| !entry.gone || entry.task.is_some());
    }

    /// Other providers, or others of the same names. Fetches that run go on.
    pub(super) fn reload(&mut self, providers: Vec<Provider>, now: &Moment) {
        for entry in &mut self.0 {
            entry.gone = true;
        }
        for provider in providers {
            let mut same = self.0.iter_mut();
            match same.find(|entry| entry.provider.name == provider.name) {
                Some(entry) => {
                    entry.gone = false;
                    entry.course.reload(provider.schedule, now.at);
                    entry.provider = Arc::new(provider);
                }
                None => self.0.push(Entry::new(provider, now)),
            }
        }
        self.0.retain(|entry| !entry.gone || entry.task.is_some());
        for entry in &mut self.0 {
            entry.keep_quiet(now);
        }
    }

    /// The machine slept this long: what has become due meanwhile is due now.
    pub(super) fn slept(&mut self, time: Duration) {
        for entry in &mut self.0 {
            entry.course.slept(time);
        }
    }
}

fn answer(report: &Report) -> Option<Answer> {
    Some(Answer {
        line: report.to_string(),
        exit: report.exit,
        report: serde_json::to_value(report).ok()?,
    })
}

/// What a service manager shows.
impl fmt::Display for Rota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.0.iter().filter(|entry| entry.task.is_some());
        let names: Vec<&str> = running.map(|entry| entry.provider.name.as_str()).collect();
        let waiting = self
            .0
            .iter()
            .filter_map(|entry| Some((entry.due()?, entry)));
        let next = waiting.min_by_key(|(due, _)| *due).map(|(due, entry)| {
            let wait = due.saturating_duration_since(Instant::now());
            format!("next {} at {}", entry.provider.name, at(wait))
        });
        match (names.is_empty(), next) {
            (false, Some(next)) => write!(f, "fetching from {}; {next}", names.join(", ")),
            (false, None) => write!(f, "fetching from {}", names.join(", ")),
            (true, Some(next)) => write!(f, "{next}"),
            (true, None) => write!(f, "no provider"),
        }
    }
}

fn in_seconds(wait: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::from_secs(wait.as_secs()))
}

/// The time of day after a wait.
fn at(wait: Duration) -> String {
    humantime::format_rfc3339_seconds(SystemTime::now() + wait).to_string()
}
