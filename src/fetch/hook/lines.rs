//! What a hook prints goes to the log, line by line and within bounds.

use crate::report::whole;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;
use tokio::task::JoinHandle;

/// The longest line that is logged, in octets; what is behind that is left out.
const LONGEST: usize = 500;

/// As many lines of each output are logged; what comes then is read and left out.
const MOST: usize = 100;

/// Logs what it prints until it prints no more. Dropping the handle does not end that.
pub(super) fn log(child: &mut Child, session: &str, which: &'static str) -> JoinHandle<()> {
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let session = session.to_owned();
    tokio::spawn(async move {
        let say = |line: &str| tracing::info!(session, hook = which, line, "hook says");
        tokio::join!(lines(out, say), lines(err, say));
    })
}

async fn lines(output: Option<impl AsyncRead + Unpin>, say: impl Fn(&str)) {
    let Some(mut output) = output else { return };
    let mut chunk = [0; 1024];
    let mut split = Split::default();
    loop {
        match output.read(&mut chunk).await {
            Ok(0) | Err(_) => break,
            Ok(count) => split.take(chunk.get(..count).unwrap_or_default(), &say),
        }
    }
    split.take_end(&say);
}

/// Octets on the way to becoming lines.
#[derive(Debug, Default)]
struct Split {
    line: Vec<u8>,
    said: usize,
}

impl Split {
    fn take(&mut self, octets: &[u8], say: impl Fn(&str)) {
        for octet in octets {
            if *octet == b'\n' {
                self.take_end(&say);
            } else if self.line.len() < LONGEST {
                self.line.push(*octet);
            }
        }
    }

    fn take_end(&mut self, say: impl Fn(&str)) {
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() || self.said > MOST {
            return;
        }
        self.said += 1;
        if self.said > MOST {
            say("(more than this is not logged)");
        } else {
            say(&whole(&String::from_utf8_lossy(line)).to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, MOST, Split};
    use std::cell::RefCell;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let said = RefCell::new(Vec::new());
        let say = |line: &str| said.borrow_mut().push(line.to_owned());
        let mut split = Split::default();
        for chunk in chunks {
            split.take(chunk, say);
        }
        split.take_end(say);
        said.into_inner()
    }

    #[test]
    fn lines_come_whole_however_they_are_cut_and_harmless() {
        let chunks: [&[u8]; 4] = [b"dial", b"ing\r\n\nup", b"\n", b"\x1b[2Jhe said \xff"];
        assert_eq!(
            split(&chunks),
            ["dialing", "up", "\\u{1b}[2Jhe said \u{fffd}"]
        );
    }

    #[test]
    fn a_flood_is_cut_in_length_and_number() {
        let long = vec![b'x'; 3 * LONGEST];
        assert_eq!(split(&[&long]), ["x".repeat(LONGEST)]);
        let many = b"y\n".repeat(3 * MOST);
        let said = split(&[&many]);
        assert_eq!(said.len(), MOST + 1);
        assert_eq!(
            said.last().map(String::as_str),
            Some("(more than this is not logged)")
        );
    }
}
