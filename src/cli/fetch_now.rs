//! `turnabout fetch --now NAME`: the running daemon fetches, and we wait for the end.

use std::io::{self, Write};
use std::path::Path;

use super::{Exit, failed};
use crate::config;
use crate::control::{self, ControlError, Request};
use crate::fetch::Answer;

/// Asks, waits, prints the report, and ends as that fetch did.
pub(super) fn run(path: &Path, name: &str, json: bool) -> Exit {
    let read = config::load(path).and_then(|config| {
        let control = config.fetch_desk.control.clone();
        config.named_providers(path, &[name.to_owned()])?;
        Ok(control)
    });
    let socket = match read {
        Ok(Some(socket)) => socket,
        Ok(None) => {
            let error = "cannot ask the daemon: control is \"none\" in [fetch] (give it a socket, or send SIGUSR1)";
            return failed(&error, Exit::Unavailable);
        }
        Err(error) => return failed(&error, Exit::Config),
    };
    let request = Request::Now {
        provider: name.to_owned(),
    };
    let answer = control::ask(&socket, &request).and_then(|answer| {
        serde_json::from_value::<Answer>(answer)
            .map_err(|error| ControlError::Answer(socket.clone(), error))
    });
    match answer {
        Ok(answer) => match print(&answer, json) {
            Ok(()) => of(answer.exit),
            Err(error) => failed(&format!("cannot report the fetch: {error}"), Exit::Internal),
        },
        Err(ControlError::Refused(_, why)) => {
            failed(&format!("cannot fetch now: {why}"), Exit::Config)
        }
        Err(ControlError::Ask { path, cause, .. }) => {
            let error = format!(
                "cannot ask the daemon at {}: {cause} (is turnabout fetch --daemon running, and may this user ask it?)",
                path.display()
            );
            failed(&error, Exit::Unavailable)
        }
        Err(error) => failed(&error, Exit::Unavailable),
    }
}

fn print(answer: &Answer, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &answer.report)?;
        writeln!(out)
    } else {
        writeln!(out, "{}", answer.line)
    }
}

fn of(code: u8) -> Exit {
    let known = Exit::ALL.iter().find(|exit| exit.code() == code);
    known.copied().unwrap_or(Exit::Internal)
}
