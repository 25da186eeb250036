//! One reading of the ledger, sample by sample.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;

use super::last::{Past, unix};
use super::{Ledger, Rows, lock};
use crate::report::outcome::{Counter, Role, State};

/// Labels of a sample: name and value.
type Labels<'a> = [(&'a str, &'a str)];

/// A gauge for each provider: name, help, and its value where it is known.
type OfProvider = (&'static str, &'static str, fn(&Past) -> Option<f64>);

const PROVIDERS: [OfProvider; 4] = [
    (
        "turnabout_fetch_last_timestamp_seconds",
        "When the last fetch from a provider ended, in seconds since 1970.",
        |past| past.at.map(unix),
    ),
    (
        "turnabout_fetch_last_success_timestamp_seconds",
        "When the last fetch from a provider ended well, with or without mail.",
        |past| past.succeeded.map(unix),
    ),
    (
        "turnabout_fetch_last_seconds",
        "How long the last fetch from a provider took.",
        |past| past.seconds,
    ),
    (
        "turnabout_fetch_last_ok",
        "1 if the last fetch from a provider went well, otherwise 0.",
        |past| past.good.map(|good| f64::from(u8::from(good))),
    ),
];

/// A ledger, read when it is scraped.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) ledger: Ledger,
    /// Everything; otherwise what is known of providers.
    pub(super) whole: bool,
}

impl Collector for Reading {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet {
            encoder,
            role: self.ledger.role().name(),
        };
        let mut rows = self.ledger.rows();
        if self.whole {
            rows.forget_closed();
            sheet.process(unix(self.ledger.0.since))?;
            sheet.open(&rows)?;
            sheet.totals(&rows)?;
        }
        match self.ledger.role() {
            Role::Serve => Ok(()),
            Role::Fetch => sheet.providers(&rows),
        }
    }
}

/// Where samples are written.
struct Sheet<'a> {
    encoder: DescriptorEncoder<'a>,
    role: &'static str,
}

impl Sheet<'_> {
    fn gauge<'l>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (&'l Labels<'l>, f64)>,
    ) -> fmt::Result {
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self
            .encoder
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in samples {
            let none: Option<&Exemplar<NoLabelSet, u64>> = None;
            metric
                .encode_family(&labels)?
                .encode_counter(&value, none)?;
        }
        Ok(())
    }

    fn process(&mut self, since: f64) -> fmt::Result {
        let role = self.role;
        let version = env!("CARGO_PKG_VERSION");
        self.gauge(
            "turnabout_build_info",
            "The version of the program, as a label of a constant 1.",
            [(&[("role", role), ("version", version)][..], 1.0)],
        )?;
        self.gauge(
            "turnabout_start_time_seconds",
            "When the process was started, in seconds since 1970.",
            [(&[("role", role)][..], since)],
        )
    }

    fn open(&mut self, rows: &Rows) -> fmt::Result {
        let role = self.role;
        let states: Vec<State> = rows.open.values().map(|one| lock(one).state).collect();
        let count = |state| match state {
            State::Left => rows.left.len(),
            state => states.iter().filter(|one| **one == state).count(),
        };
        let labels = State::ALL.map(|state| [("role", role), ("state", state.name())]);
        let counts = State::ALL.map(|state| u32::try_from(count(state)).unwrap_or(u32::MAX));
        self.gauge(
            "turnabout_sessions_open",
            "Sessions that are open, by what they are doing; left are those that only the mail server still has.",
            labels
                .iter()
                .zip(counts)
                .map(|(labels, count)| (&labels[..], f64::from(count))),
        )
    }

    fn totals(&mut self, rows: &Rows) -> fmt::Result {
        let (role, totals) = (self.role, &rows.totals);
        self.counter(
            "turnabout_sessions",
            "Sessions that are over, by what they came to and by hand-off.",
            totals.sessions.iter().map(|((outcome, handoff), count)| {
                let result = outcome.name();
                let labels = [
                    ("role", role),
                    ("result", result),
                    ("handoff", handoff.as_str()),
                ];
                (labels, *count)
            }),
        )?;
        self.durations(rows)?;
        self.counter(
            "turnabout_handed_over",
            "Connections that a mail server was given, by hand-off and by who carries them after the turn.",
            totals.handed_over.iter().map(|((handoff, carried), count)| {
                let labels = [
                    ("role", role),
                    ("handoff", handoff.as_str()),
                    ("carried", carried.as_str()),
                ];
                (labels, *count)
            }),
        )?;
        self.counter(
            "turnabout_mail_left",
            "Turned sessions that ended with mail left in the queue, put off or refused by the customer.",
            [([("role", role)], totals.mail_left)],
        )?;
        self.counter(
            "turnabout_logins",
            "Logins of customers, by result.",
            Counter::ALL.into_iter().filter_map(|one| {
                let labels = [("role", role), ("result", one.login()?)];
                Some((labels, totals.counter(one)))
            }),
        )?;
        let codes: Vec<(String, u64)> = totals
            .atrn
            .iter()
            .map(|(code, count)| (code.to_string(), *count))
            .collect();
        self.counter(
            "turnabout_atrn_replies",
            "Answers to ATRN by code: 250 turns, 453 is no mail, all others refuse it.",
            codes
                .iter()
                .map(|(code, count)| ([("role", role), ("code", code.as_str())], *count)),
        )?;
        self.counter(
            "turnabout_connections_refused",
            "Connections that were not served, or ended before their login, by reason.",
            Counter::ALL.into_iter().filter_map(|one| {
                let labels = [("role", role), ("reason", one.refusal()?)];
                Some((labels, totals.counter(one)))
            }),
        )
    }

    fn durations(&mut self, rows: &Rows) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(
            "turnabout_session_seconds",
            "How long sessions took, by what they came to.",
            None,
            MetricType::Histogram,
        )?;
        for (outcome, histogram) in &rows.totals.seconds {
            let labels = [("role", self.role), ("result", outcome.name())];
            histogram.encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }

    /// How each provider fared: what this process knows, and for the others what the file said.
    fn providers(&mut self, rows: &Rows) -> fmt::Result {
        let mut all = rows.past.clone();
        for (name, last) in &rows.last {
            let before = all.get(name).and_then(|past| past.succeeded);
            let now = Past {
                at: Some(last.at),
                succeeded: last.succeeded.or(before),
                seconds: Some(last.seconds),
                good: Some(last.outcome.is_good()),
            };
            all.insert(name.clone(), now);
        }
        for (name, help, pick) in PROVIDERS {
            let known = all
                .iter()
                .filter_map(|(name, past)| Some(([("provider", name.as_str())], pick(past)?)));
            let samples: Vec<([(&str, &str); 1], f64)> = known.collect();
            let samples = samples.iter();
            self.gauge(
                name,
                help,
                samples.map(|(labels, value)| (&labels[..], *value)),
            )?;
        }
        Ok(())
    }
}
