//! Certificates and keys for TLS, readable by root only, in a process that is not root any more.
//!
//! ```text
//!   turnabout serve (root)  -- binds, starts the child, gives up root -->  turnabout serve (postfix)
//!            |                                                                 |  number of a file
//!            +--> turnabout read-keys FILE ... (root)  <---- socket pair ------+  its PEM sections
//! ```
//!
//! The child stays root, listens to nobody else, and can do one thing: read again one of the files that were named
//! when it was started, so that a renewed certificate is taken without a restart. It ends with its parent. A parent
//! that somebody has taken over learns nothing from it but the keys it holds already. Not started as root there is no
//! child, and the files are read as any other.

mod child;
mod pem;

pub use child::{NotASocket, answer};

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use zeroize::Zeroizing;

/// The hidden command of this program that the child runs.
pub const COMMAND: &str = "read-keys";

/// How long the child may take for one file.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// What to do about a file that is not there, or is not what it should be.
const FILE: &str = "correct the file or its name";

/// In front of an answer: what follows.
const CONTENTS: u8 = 0;
/// The system's number of an error.
const ERRNO: u8 = 1;
/// An error in words.
const WORDS: u8 = 2;

/// A file that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {path}: {cause} ({hint})")]
pub struct KeyError {
    path: PathBuf,
    cause: io::Error,
    hint: &'static str,
}

/// Reads the PEM sections of files, as root where that was possible at the start.
#[derive(Debug)]
pub(super) struct KeyReader {
    /// What the child may read, in the order of its numbers.
    named: Vec<PathBuf>,
    /// None when there was no root at the start, or when the child is gone.
    root: Option<Root>,
}

/// The child and our end of the socket pair.
#[derive(Debug)]
struct Root {
    child: Child,
    stream: UnixStream,
}

impl KeyReader {
    /// Reads as whoever we are.
    pub(super) fn own() -> Self {
        Self {
            named: Vec::new(),
            root: None,
        }
    }

    /// Starts the child. To be called as root, and before root is given up.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(super) fn with_root(files: Vec<PathBuf>) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_read_timeout(Some(ANSWER_TIME))?;
        ours.set_write_timeout(Some(ANSWER_TIME))?;
        let child = Command::new("/proc/self/exe")
            .arg0("turnabout")
            .arg(COMMAND)
            .arg("--")
            .args(&files)
            .env_clear()
            // A signal from a terminal is for the parent, which says when it is over.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let root = Root {
            child,
            stream: ours,
        };
        Ok(Self {
            named: files,
            root: Some(root),
        })
    }

    /// The certificates and private keys in a file, in PEM; nothing else of it.
    ///
    /// Waits for the disk, and for the child: ten seconds at most.
    ///
    /// # Errors
    /// When it cannot be read, with what to do.
    pub(super) fn read(&mut self, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |cause: io::Error, hint| KeyError {
            path: path.to_owned(),
            cause,
            hint,
        };
        let number = self.named.iter().position(|named| named == path);
        let (Some(number), Some(root)) = (number, &mut self.root) else {
            return pem::read(path).map_err(|cause| {
                let hint = self.hint(&cause);
                failed(cause, hint)
            });
        };
        match root.ask(number) {
            Ok(Ok(contents)) => Ok(contents),
            Ok(Err(cause)) => Err(failed(cause, FILE)),
            Err(cause) => {
                // Whatever came late would be taken for the answer to the next question.
                self.root = None;
                Err(failed(
                    cause,
                    "the process that reads keys as root is gone: restart the service",
                ))
            }
        }
    }

    fn hint(&self, cause: &io::Error) -> &'static str {
        match cause.kind() {
            io::ErrorKind::PermissionDenied if self.named.is_empty() => {
                "start as root, or let the service's user read it, and nobody else"
            }
            io::ErrorKind::PermissionDenied => {
                "what root reads is settled at the start: restart the service"
            }
            _ => FILE,
        }
    }
}

impl Root {
    /// The child's answer; the outer error is a child that gives none.
    fn ask(&mut self, number: usize) -> io::Result<io::Result<Zeroizing<Vec<u8>>>> {
        let number = u16::try_from(number).map_err(io::Error::other)?;
        self.stream.write_all(&number.to_be_bytes())?;
        let mut kind = [0];
        self.stream.read_exact(&mut kind)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > pem::LIMIT {
            return Err(io::Error::other("an answer that is too long"));
        }
        let mut answer = Zeroizing::new(vec![0; length]);
        self.stream.read_exact(&mut answer)?;
        Ok(match kind {
            [CONTENTS] => Ok(answer),
            [ERRNO] => Err(errno(&answer)),
            _ => Err(io::Error::other(
                String::from_utf8_lossy(&answer).into_owned(),
            )),
        })
    }
}

fn errno(octets: &[u8]) -> io::Error {
    let number = <[u8; 4]>::try_from(octets).map(i32::from_be_bytes);
    io::Error::from_raw_os_error(number.unwrap_or(0))
}

impl Drop for Root {
    /// The child sees its end close and goes; one that hangs is ended.
    fn drop(&mut self) {
        self.stream.shutdown(std::net::Shutdown::Both).ok();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
