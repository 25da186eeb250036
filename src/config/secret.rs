//! Where a password comes from, and reading it when it is needed.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use super::error::{ConfigError, in_words as said};
use crate::sasl::Secret;

/// More than any password; a wrong file is noticed instead of read to the end.
const LONGEST: u64 = 4096;

/// How long a password command may take to end when it has closed its output.
const ENDING: Duration = Duration::from_secs(5);

/// How long a password command may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The first line of a file that other users cannot read.
    File(PathBuf),
    /// The first line that a program prints; started without a shell.
    Command(Vec<String>),
    /// The first line of standard input (`--password-file -`).
    StandardInput,
}

impl fmt::Display for SecretSource {
    /// Names the source, never the secret.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretSource::File(path) => write!(out, "the password file {}", path.display()),
            SecretSource::Command(words) => {
                let program = words.first().map_or("", String::as_str);
                write!(out, "the password that {program} prints")
            }
            SecretSource::StandardInput => write!(out, "the password on standard input"),
        }
    }
}

impl SecretSource {
    /// Reads the password: blocks, a command for at most one minute.
    ///
    /// # Errors
    /// The file cannot be read or others may read it, the command fails, or the first line is empty,
    /// too long (4096 octets) or not UTF-8.
    pub fn read(&self) -> Result<Secret, ConfigError> {
        let text = match self {
            SecretSource::File(path) => self.in_file(path)?,
            SecretSource::Command(words) => self.printed_by(words)?,
            SecretSource::StandardInput => self.bounded(io::stdin().lock())?,
        };
        let line = text
            .split(|octet| *octet == b'\n')
            .next()
            .unwrap_or_default();
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match std::str::from_utf8(line) {
            Ok("") => Err(self.error("its first line is empty", "put the password there")),
            Ok(line) if line.contains('\0') => {
                Err(self.error("it has a NUL in it", "no mechanism can carry that"))
            }
            Ok(line) => Ok(Secret::from(line)),
            Err(_) => Err(self.error("it is not UTF-8", "write the password in UTF-8")),
        }
    }

    fn in_file(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let unreadable = |error: io::Error| {
            self.error(
                &said(&error),
                "the user that runs turnabout must be able to read it",
            )
        };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o007 != 0 {
            let advice = format!("chmod o-rwx {}", path.display());
            return Err(self.error("other users can read or change it", &advice));
        }
        self.bounded(file)
    }

    fn printed_by(&self, words: &[String]) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let advice = "password_command is a program and its arguments; it prints the password and ends with 0";
        let failed = |error: io::Error| self.error(&said(&error), advice);
        let Some((program, arguments)) = words.split_first() else {
            return Err(self.error("the command is empty", advice));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let text = self.printed(&mut child);
        let ended = text.is_ok() && ends_soon(&mut child);
        if !ended {
            // Already gone is as good as killed; one that runs as another user cannot be, and is left behind.
            child.kill().ok();
            if !ends_soon(&mut child) {
                // It is waited for all the same, lest a daemon collect zombies.
                std::thread::spawn(move || child.wait());
                text?;
                return Err(self.error("it does not end, and cannot be ended", advice));
            }
        }
        let text = text?;
        if !ended {
            return Err(self.error("it closed its output and did not end", advice));
        }
        let status = child.wait().map_err(failed)?;
        if !status.success() {
            return Err(self.error(&format!("it ended with {status}"), advice));
        }
        Ok(text)
    }

    /// What the child prints, if it closes its output in time.
    fn printed(&self, child: &mut Child) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        let output = child.stdout.take();
        let source = self.clone();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let text = match output {
                Some(output) => source.bounded(output),
                None => Err(source.error("it prints nothing", "it must print the password")),
            };
            // Nobody listens any more if time was up.
            sender.send(text).ok();
        });
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Err(self.error(
                "it took more than a minute",
                "it must print the password and end",
            ))
        })
    }

    fn bounded(&self, source: impl Read) -> Result<Zeroizing<Vec<u8>>, ConfigError> {
        // Room from the start: a buffer that grows leaves copies behind.
        let room = usize::try_from(LONGEST).unwrap_or(0).saturating_add(1);
        let mut text = Zeroizing::new(Vec::with_capacity(room));
        let count = source
            .take(LONGEST.saturating_add(1))
            .read_to_end(&mut text)
            .map_err(|error| self.error(&said(&error), "it must be readable"))?;
        if u64::try_from(count).unwrap_or(u64::MAX) > LONGEST {
            return Err(self.error(
                "it has more than 4096 octets",
                "the password is its first line, and nothing else need be there",
            ));
        }
        Ok(text)
    }

    fn error(&self, cause: &str, advice: &str) -> ConfigError {
        ConfigError::new("read", self.to_string(), cause, advice)
    }
}

/// Waits for a child that has nothing more to say. True when it has ended, or cannot be asked.
fn ends_soon(child: &mut Child) -> bool {
    let by = Instant::now() + ENDING;
    while let Ok(None) = child.try_wait() {
        if Instant::now() >= by {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    true
}
