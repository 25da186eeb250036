//! `turnabout status`: what a running service is doing.

mod show;
mod watch;

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Exit, failed};
use crate::config;
use crate::control::{self, ControlError, Request};
use crate::report::Status;

/// The arguments of `turnabout status`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status 0: a service answers; 69: none does. So it serves as a health check as well."
)]
pub(super) struct Args {
    /// The control socket of the service to ask [default: those of the configuration].
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,

    /// Print one JSON object for each service that answers.
    #[arg(long)]
    json: bool,

    /// Show it anew every second, until Ctrl-C.
    #[arg(long)]
    watch: bool,
}

/// Whom to ask, and how to show the answers.
#[derive(Debug)]
struct Question {
    sockets: Vec<PathBuf>,
    json: bool,
}

impl Args {
    /// Asks once, or every second.
    pub(super) fn run(self, config: &Path) -> Exit {
        let question = Question {
            sockets: match self.socket {
                Some(socket) => vec![socket],
                None => sockets(config),
            },
            json: self.json,
        };
        if self.watch {
            return watch::run(&question);
        }
        match question.ask() {
            Ok(answers) => print(&question.text(&answers)),
            Err(errors) => none(&errors),
        }
    }
}

/// Nobody answers: each says why.
fn none(errors: &[ControlError]) -> Exit {
    if errors.is_empty() {
        let error = "cannot ask anybody: the configuration switches the control sockets off (set the key control, or give --socket)";
        return failed(&error, Exit::Unavailable);
    }
    for error in errors {
        tracing::error!("{error}");
    }
    Exit::Unavailable
}

impl Question {
    /// Those that answer, at least one.
    fn ask(&self) -> Result<Vec<Status>, Vec<ControlError>> {
        let (mut answers, mut errors) = (Vec::new(), Vec::new());
        for socket in &self.sockets {
            match ask(socket) {
                Ok(status) => answers.push(status),
                Err(error) => errors.push(error),
            }
        }
        if answers.is_empty() {
            return Err(errors);
        }
        for error in errors {
            // Provider and customer are seldom one machine: the other is not missed.
            tracing::debug!("{error}");
        }
        Ok(answers)
    }

    /// The answers, as they are to be shown.
    fn text(&self, answers: &[Status]) -> String {
        if self.json {
            let lines = answers
                .iter()
                .filter_map(|one| serde_json::to_string(one).ok());
            return lines.map(|line| line + "\n").collect();
        }
        let blocks: Vec<String> = answers.iter().map(show::text).collect();
        blocks.join("\n")
    }
}

fn ask(socket: &Path) -> Result<Status, ControlError> {
    let answer = control::ask(socket, &Request::Status)?;
    serde_json::from_value(answer).map_err(|error| ControlError::Answer(socket.to_owned(), error))
}

/// The sockets of the configuration. What runs was started with a file that could be read then: one that cannot be
/// read now, or not by this user, is no reason to see nothing, and the usual places are asked.
fn sockets(path: &Path) -> Vec<PathBuf> {
    match config::load(path) {
        Ok(config) => {
            let serve = config.serve.and_then(|serve| serve.desk.control);
            serve.into_iter().chain(config.fetch_desk.control).collect()
        }
        Err(error) => {
            tracing::debug!("{error}; asking at the usual places");
            config::Desk::usual_sockets()
        }
    }
}

/// Writes to standard output; a reader that has gone has seen enough.
fn print(text: &str) -> Exit {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            failed(&format!("cannot write the status: {error}"), Exit::Internal)
        }
        _ => Exit::Done,
    }
}
