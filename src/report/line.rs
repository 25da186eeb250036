//! An event becomes a line.

use std::fmt::{self, Debug, Write};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber, span};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use super::LogFormat;
use super::escape::{is_printable, write_printable};

/// The longest value in a line, in characters; peers are cut earlier, by `safe`.
const LONGEST: usize = 2000;

/// Who reads standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// The systemd journal: it adds the time and takes the level from a `<6>` in front.
    Journal,
    /// A person at a terminal, who knows the time.
    Person,
    /// A file or a pipe: the time is needed.
    File,
    /// A syslog daemon, which knows time and level.
    Daemon,
}

/// Fields as they stand in a line: `a=1 b="x y"`, or `"a":1,"b":"x y"`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields(pub(super) LogFormat);

impl<'writer> FormatFields<'writer> for Fields {
    fn format_fields<R: RecordFields>(
        &self,
        mut writer: Writer<'writer>,
        fields: R,
    ) -> fmt::Result {
        let mut pairs = Pairs::new(self.0);
        fields.record(&mut pairs);
        writer.write_str(&pairs.text)
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &span::Record<'_>,
    ) -> fmt::Result {
        let mut pairs = Pairs::new(self.0);
        pairs.text = std::mem::take(&mut current.fields);
        fields.record(&mut pairs);
        current.fields = pairs.text;
        Ok(())
    }
}

/// Events as lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lines {
    pub(super) format: LogFormat,
    pub(super) reader: Reader,
}

impl<S> FormatEvent<S, Fields> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, Fields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut pairs = Pairs::new(self.format);
        event.record(&mut pairs);
        for span in context.event_scope().into_iter().flatten() {
            if let Some(fields) = span.extensions().get::<FormattedFields<Fields>>()
                && !fields.fields.is_empty()
            {
                pairs.separate();
                pairs.text.push_str(&fields.fields);
            }
        }
        let level = *event.metadata().level();
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        match (self.format, self.reader) {
            (LogFormat::Json, _) => write!(
                writer,
                r#"{{"time":"{time}","level":"{level}","message":{}"#,
                json_string(&pairs.message)
            )?,
            (LogFormat::Text, Reader::Journal) => write!(writer, "<{}>", priority(level))?,
            (LogFormat::Text, Reader::Person | Reader::Daemon) => {}
            (LogFormat::Text, Reader::File) => write!(writer, "{time} ")?,
        }
        match self.format {
            LogFormat::Text => writeln!(writer, "{}", shown(level, &pairs)),
            LogFormat::Json => {
                let comma = if pairs.text.is_empty() { "" } else { "," };
                writeln!(writer, "{comma}{}}}", pairs.text)
            }
        }
    }
}

/// The text line: level, message, fields.
pub(super) fn shown(level: Level, pairs: &Pairs) -> String {
    let mut line = format!("{level} ");
    for c in pairs.message.chars() {
        // Writing to a string does not fail.
        write_printable(&mut line, c).ok();
    }
    if !pairs.text.is_empty() {
        line.push(' ');
        line.push_str(&pairs.text);
    }
    line
}

/// The level as syslog and the journal number it.
pub(super) fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// Collects the message and the other fields of one event or span.
#[derive(Debug)]
pub(super) struct Pairs {
    format: LogFormat,
    message: String,
    text: String,
}

impl Pairs {
    pub(super) fn new(format: LogFormat) -> Pairs {
        Pairs {
            format,
            message: String::new(),
            text: String::new(),
        }
    }

    fn separate(&mut self) {
        if !self.text.is_empty() {
            self.text.push(match self.format {
                LogFormat::Text => ' ',
                LogFormat::Json => ',',
            });
        }
    }

    /// A value that needs no quotes in either format.
    fn plain(&mut self, field: &Field, value: &str) {
        self.separate();
        self.text.push_str(&match self.format {
            LogFormat::Text => format!("{}={value}", field.name()),
            LogFormat::Json => format!("{}:{value}", json_string(field.name())),
        });
    }

    fn string(&mut self, field: &Field, value: &str) {
        let value: String = value.chars().take(LONGEST).collect();
        if field.name() == "message" {
            self.message = value;
            return;
        }
        let value = match self.format {
            LogFormat::Text => text_value(&value),
            LogFormat::Json => json_string(&value),
        };
        self.plain(field, &value);
    }
}

impl Visit for Pairs {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.string(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.string(field, &format!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, &value.to_string());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, &value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, &value.to_string());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, &value.to_string());
        } else {
            self.string(field, &value.to_string());
        }
    }
}

/// A value in a text line: quoted when it is empty or has a blank, `=` or a quote in it.
///
/// A quote inside becomes `\u{22}`: whatever reader undoes escapes or does not, the value ends where
/// it ends.
fn text_value(value: &str) -> String {
    let quoted = value.is_empty() || value.contains([' ', '=', '"']);
    let mut text = String::with_capacity(value.len().saturating_add(2));
    if quoted {
        text.push('"');
    }
    for c in value.chars() {
        let written = match c {
            '"' => text.write_str("\\u{22}"),
            _ => write_printable(&mut text, c),
        };
        // Writing to a string does not fail.
        written.ok();
    }
    if quoted {
        text.push('"');
    }
    text
}

/// A JSON string in which everything not printable is escaped, beyond what JSON demands.
fn json_string(value: &str) -> String {
    let json = serde_json::Value::from(value).to_string();
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_printable(c) {
            text.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            write!(text, "\\u{unit:04x}").ok();
        }
    }
    text
}
