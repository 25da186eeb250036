//! The ledger in the text format of Prometheus.
//!
//! The library writes the format of `OpenMetrics`. What is given out is the older format that everything reads, the node exporter's
//! textfile collector and `promtool` too: there a counter's own lines bear its whole name.

use std::collections::HashSet;
use std::fmt::{self, Write};
use std::time::SystemTime;

use prometheus_client::registry::Registry;

use super::Ledger;
use super::sheet::Reading;

/// The metrics of a one-shot `fetch`: how each provider fared, and no counter, since it would begin anew each time.
const OF_PROVIDERS: &str = "turnabout_fetch_";

impl Ledger {
    /// Everything there is to scrape.
    ///
    /// # Errors
    /// Writing to a string fails, which does not happen.
    pub fn metrics(&self) -> Result<String, fmt::Error> {
        self.encoded(true)
    }

    /// How each provider fared the last time: for a process that fetches once.
    ///
    /// # Errors
    /// As [`metrics`](Self::metrics).
    pub fn last_metrics(&self) -> Result<String, fmt::Error> {
        self.encoded(false)
    }

    fn encoded(&self, whole: bool) -> Result<String, fmt::Error> {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Reading {
            ledger: self.clone(),
            whole,
        }));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        classic(&text)
    }

    /// Takes over what a file of an earlier process says about providers, so that a restart does not forget when a
    /// fetch last went well. What is not understood is passed over.
    pub fn recall(&self, text: &str) {
        let mut rows = self.rows();
        for line in text.lines() {
            if let Some((name, provider, value)) = of_provider(line) {
                let past = rows.past.entry(provider.to_owned()).or_default();
                let time = || SystemTime::UNIX_EPOCH.checked_add(seconds(value)?);
                match name {
                    "last_timestamp_seconds" => past.at = time(),
                    "last_success_timestamp_seconds" => past.succeeded = time(),
                    "last_seconds" => past.seconds = Some(value),
                    "last_ok" => past.good = Some(value > 0.0),
                    _ => {}
                }
            }
        }
    }
}

/// `turnabout_fetch_NAME{provider="PROVIDER"} VALUE`, in parts.
fn of_provider(line: &str) -> Option<(&str, &str, f64)> {
    let (name, rest) = line
        .strip_prefix(OF_PROVIDERS)?
        .split_once("{provider=\"")?;
    let (provider, value) = rest.split_once("\"} ")?;
    // An escape in it: no name of a provider has one.
    let plain = !provider.contains(['\\', '"']);
    plain.then_some((name, provider, value.parse().ok()?))
}

fn seconds(value: f64) -> Option<std::time::Duration> {
    std::time::Duration::try_from_secs_f64(value).ok()
}

/// `OpenMetrics` as the text format before it.
fn classic(text: &str) -> Result<String, fmt::Error> {
    let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let counters: HashSet<&str> = types
        .filter_map(|line| line.strip_suffix(" counter"))
        .collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some(what), Some(name), Some(rest)) if counters.contains(name) => {
                writeln!(out, "# {what} {name}_total {rest}")?;
            }
            _ => writeln!(out, "{line}")?,
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::{classic, of_provider};
    use crate::report::outcome::Outcome;
    use std::collections::HashSet;

    #[test]
    fn counters_bear_their_whole_name_and_the_end_is_not_marked() {
        let open = "# HELP a_b Some help.\n# TYPE a_b counter\na_b_total{x=\"# TYPE c\"} 1\n# HELP g G.\n# TYPE g gauge\ng 2\n# EOF\n";
        let text = "# HELP a_b_total Some help.\n# TYPE a_b_total counter\na_b_total{x=\"# TYPE c\"} 1\n# HELP g G.\n# TYPE g gauge\ng 2\n";
        assert_eq!(classic(open).as_deref(), Ok(text));
    }

    #[test]
    fn a_line_about_a_provider_is_read_and_any_other_is_passed_over() {
        let line = "turnabout_fetch_last_ok{provider=\"isp\"} 1.0";
        assert_eq!(of_provider(line), Some(("last_ok", "isp", 1.0)));
        for other in [
            "turnabout_logins_total{result=\"failed\"} 3",
            "turnabout_fetch_last_ok{provider=\"i\\\"sp\"} 1",
            "turnabout_fetch_last_ok{provider=\"isp\"} soon",
            "turnabout_fetch_last_ok{provider=\"isp\"",
        ] {
            assert_eq!(of_provider(other), None, "{other}");
        }
    }

    #[test]
    fn every_outcome_has_a_word_of_its_own() {
        let words: HashSet<&str> = Outcome::ALL.iter().map(|one| one.name()).collect();
        assert_eq!(words.len(), Outcome::ALL.len());
    }
}
