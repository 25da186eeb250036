//! Lines for the systemd journal by its own protocol: the line a person reads, and every field by itself.
//!
//! The library sends an event as it is. This puts the whole text line into MESSAGE, so that `journalctl` and fail2ban
//! see who it was about, and makes every value harmless first: a terminal may show it.

use std::io;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_journald::{Priority, PriorityMappings};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use super::escape::whole;
use super::line::{Pairs, shown};

/// In front of the names of fields: `TURNABOUT_SESSION`, `TURNABOUT_PEER`, `TURNABOUT_USER` and so on.
const PREFIX: &str = "TURNABOUT";

/// The facility mail.
const MAIL: &str = "2";

/// Sends events to the journal.
pub(super) struct Journal(tracing_journald::Layer);

impl Journal {
    /// Connects.
    ///
    /// # Errors
    /// There is no journal on this machine.
    pub(super) fn connect() -> io::Result<Self> {
        let layer = tracing_journald::layer()?
            .with_syslog_identifier("turnabout".to_owned())
            .with_field_prefix(Some(PREFIX.to_owned()))
            .with_custom_fields([("SYSLOG_FACILITY", MAIL)])
            .with_priority_mappings(PriorityMappings {
                error: Priority::Error,
                warn: Priority::Warning,
                info: Priority::Informational,
                debug: Priority::Debug,
                trace: Priority::Debug,
            });
        Ok(Self(layer))
    }
}

impl<S> Layer<S> for Journal
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut line = Pairs::new(LogFormat::Text);
        event.record(&mut line);
        let mut values = Values(Vec::new());
        event.record(&mut values);
        let level: Level = *event.metadata().level();
        let line = shown(level, &line);
        for (field, value) in &mut values.0 {
            if field.name() == "message" {
                value.clone_from(&line);
            }
        }
        let all = event.metadata().fields();
        let texts: Vec<Option<&str>> = all
            .iter()
            .map(|field| {
                let mut known = values.0.iter();
                let found = known.find(|(known, _)| *known == field);
                found.map(|(_, text)| text.as_str())
            })
            .collect();
        let texts: Vec<Option<&dyn tracing::Value>> = texts
            .iter()
            .map(|text| {
                let text: &dyn tracing::Value = text.as_ref()?;
                Some(text)
            })
            .collect();
        let harmless = all.value_set_all(&texts);
        let event = Event::new(event.metadata(), &harmless);
        self.0.on_event(&event, context);
    }
}

/// The fields of an event and their values, made harmless.
struct Values(Vec<(Field, String)>);

impl Visit for Values {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push((field.clone(), whole(value).to_string()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.record_str(field, &format!("{value:?}"));
    }
}
