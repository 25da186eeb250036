//! `turnabout status --watch`: the same every second, on a terminal in place, otherwise one block after the other.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use terminal_size::{Height, terminal_size};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::{Exit, Question, failed, none};

const SECOND: Duration = Duration::from_secs(1);

/// Another screen without a cursor, where long lines are cut; and back to the one before.
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";
/// To the first place, everything cleared.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Shows it until it is told to end, or nobody reads it any more. Somebody must answer the first time.
pub(super) fn run(question: &Question) -> Exit {
    if let Err(errors) = question.ask() {
        return none(&errors);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let shown = runtime.and_then(|runtime| runtime.block_on(watch(question)));
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            failed(&format!("cannot show the status: {error}"), Exit::Internal)
        }
        _ => Exit::Done,
    }
}

async fn watch(question: &Question) -> io::Result<()> {
    let mut signals = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    let mut clock = interval(SECOND);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let screen = Screen::enter(!question.json)?;
    loop {
        tokio::select! {
            _ = clock.tick() => screen.draw(&block(question))?,
            _ = signals.0.recv() => return Ok(()),
            _ = signals.1.recv() => return Ok(()),
            _ = signals.2.recv() => return Ok(()),
        }
    }
}

fn block(question: &Question) -> String {
    match question.ask() {
        Ok(answers) => question.text(&answers),
        // A service that is started anew is back soon.
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    }
}

/// The terminal, as it is found again when this value is dropped.
struct Screen {
    terminal: bool,
}

impl Screen {
    fn enter(for_people: bool) -> io::Result<Self> {
        let screen = Self {
            terminal: for_people && io::stdout().is_terminal(),
        };
        if screen.terminal {
            write(ENTER)?;
        }
        Ok(screen)
    }

    fn draw(&self, text: &str) -> io::Result<()> {
        if !self.terminal {
            return write(text);
        }
        write(&format!("{CLEAR}{}", fitting(text, height())))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.terminal {
            // A terminal that has gone needs nothing.
            write(LEAVE).ok();
        }
    }
}

fn height() -> usize {
    terminal_size().map_or(usize::MAX, |(_, Height(height))| usize::from(height))
}

/// As many lines as there is room for, the last of them without an end that would scroll.
fn fitting(text: &str, height: usize) -> String {
    let count = text.lines().count();
    if count <= height {
        return text.trim_end_matches('\n').to_owned();
    }
    let room = height.saturating_sub(1);
    let mut lines: Vec<&str> = text.lines().take(room).collect();
    let more = format!("... {} more lines", count.saturating_sub(room));
    lines.push(&more);
    lines.join("\n")
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::fitting;

    #[test]
    fn what_does_not_fit_is_counted() {
        assert_eq!(fitting("a\nb\nc\n", 3), "a\nb\nc");
        assert_eq!(fitting("a\nb\nc\nd\n", 3), "a\nb\n... 2 more lines");
    }
}
