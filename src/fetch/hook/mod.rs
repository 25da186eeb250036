//! What the operator has run round a fetch: bring up a line, put it down, flush a queue.

mod lines;
mod run;

use super::report::{End, Report};
use super::session::stopped_early;
use super::stop::Stop;
use super::stopping::Stopping;
use crate::config::Provider;
use crate::report::whole;
pub(super) use run::CUT;
use run::{Failure, Run};
use std::time::Duration;
use tokio::time::sleep;

/// How long the hook after a fetch may still take when everything else has to end at once.
pub(super) const LAST: Duration = Duration::from_secs(5);

/// The hooks round one fetch.
#[derive(Debug)]
pub(super) struct Hook<'a> {
    provider: &'a Provider,
    stopping: &'a Stopping,
    id: String,
    /// The time for the first has come, whatever became of it: then the second runs as well.
    begun: bool,
}

impl<'a> Hook<'a> {
    pub(super) fn new(provider: &'a Provider, stopping: &'a Stopping, id: &str) -> Self {
        Self {
            provider,
            stopping,
            id: id.to_owned(),
            begun: false,
        }
    }

    /// Before anybody is dialled.
    ///
    /// # Errors
    /// When the hook has failed, or we are to stop: nobody is to be dialled.
    pub(super) async fn before(&mut self) -> Result<(), Stop> {
        self.begun = true;
        let Some(words) = &self.provider.hooks.before else {
            return Ok(());
        };
        let ended = self.run("before", words, Vec::new(), self.stopping.told());
        match ended.await {
            Ok(()) => Ok(()),
            Err(Failure::Cut) => Err(stopped_early()),
            Err(failure) => Err(Stop(
                End::TryLater,
                format!(
                    "cannot make ready for the fetch: hook_before {} {failure} (nobody was dialled; what it said is in the log)",
                    program(words)
                ),
            )),
        }
    }

    /// When the fetch has ended. Its result stays what it is.
    pub(super) async fn after(self, report: &Report) {
        let Some(words) = &self.provider.hooks.after else {
            return;
        };
        if !self.begun {
            return;
        }
        let result = vec![
            ("TURNABOUT_END", report.end.word().to_owned()),
            ("TURNABOUT_EXIT", report.exit.to_string()),
            ("TURNABOUT_TEXT", whole(&report.text).to_string()),
            ("TURNABOUT_SECONDS", report.seconds.to_string()),
        ];
        let at_once = async {
            self.stopping.at_once().await;
            sleep(LAST).await;
        };
        if let Err(failure) = self.run("after", words, result, at_once).await {
            tracing::warn!(
                session = self.id,
                provider = %self.provider.name,
                "hook_after {} {failure} (the result of the fetch stays as it is)",
                program(words)
            );
        }
    }

    async fn run(
        &self,
        which: &'static str,
        words: &[String],
        more: Vec<(&'static str, String)>,
        cut: impl Future<Output = ()>,
    ) -> Result<(), Failure> {
        let domains = self.provider.domains.iter().flat_map(|list| list.iter());
        let domains: Vec<String> = domains.map(ToString::to_string).collect();
        let mut environment = vec![
            ("TURNABOUT_HOOK", which.to_owned()),
            ("TURNABOUT_PROVIDER", whole(&self.provider.name).to_string()),
            ("TURNABOUT_DOMAINS", domains.join(" ")),
        ];
        environment.extend(more);
        let run = Run {
            session: &self.id,
            which,
            words,
            environment,
            limit: self.provider.hooks.time,
        };
        run.whole(cut).await
    }
}

fn program(words: &[String]) -> String {
    whole(words.first().map_or("", String::as_str)).to_string()
}
