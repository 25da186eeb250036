//! Asking: connect, one line, one answer.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use super::{ControlError, Refusal, Request, TIME};

/// The longest answer: thousands of sessions and accounts.
const ANSWER: u64 = 256 * 1024 * 1024;

/// Asks the service whose socket this is; waits for the answer, five seconds at most for each part of it, or until the
/// fetch that was asked for has ended.
///
/// # Errors
/// Nobody answers, not in time, or with a refusal.
pub fn ask(path: &Path, request: &Request) -> Result<Value, ControlError> {
    let answer = exchange(path, request).map_err(|cause| ControlError::ask(path, cause))?;
    let wrong = |error| ControlError::Answer(path.to_owned(), error);
    let value: Value = serde_json::from_slice(&answer).map_err(wrong)?;
    match serde_json::from_value::<Refusal>(value.clone()) {
        Ok(refusal) => Err(ControlError::Refused(path.to_owned(), refusal.error)),
        Err(_) => Ok(value),
    }
}

fn exchange(path: &Path, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    let limit = match request {
        Request::Status => Some(TIME),
        // A fetch may last as long as it has mail.
        Request::Now { .. } => None,
    };
    stream.set_read_timeout(limit)?;
    stream.set_write_timeout(Some(TIME))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    // Who is not listened to may find it closed already; why, its silence tells.
    stream
        .write_all(&line)
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .unwrap_or_default();
    let mut answer = Vec::new();
    match stream.take(ANSWER).read_to_end(&mut answer) {
        Err(error) if error.kind() != io::ErrorKind::ConnectionReset => return Err(error),
        _ if answer.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
        _ => {}
    }
    Ok(answer)
}
