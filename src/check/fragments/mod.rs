//! What a mail server needs for this configuration, as files to append to its own.
//!
//! They are the files of contrib/, which are part of the program, with the names, domains and next hops of the
//! configuration in them, and with what the mail server has set already. So what is shipped, what is printed and what is
//! checked cannot drift apart.

mod exim;
mod postfix;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

pub(super) use exim::{table_line as exim_table_line, transport as exim_transport};
pub(super) use postfix::{customer_service, provider_service, table_line};

use super::Machine;
use crate::config::Config;

/// Which mail server they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// Postfix.
    Postfix,
    /// Exim.
    Exim,
}

/// One file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Its name in the directory it is written to.
    pub name: &'static str,
    /// Its text; comments say where it goes.
    pub text: String,
}

/// Why there are no fragments.
#[derive(Debug, thiserror::Error)]
pub enum FragmentError {
    /// The configuration gives this mail server nothing to do.
    #[error(
        "cannot print fragments for {0}: no hand-off of this configuration is to it (set handoff)"
    )]
    NoHandoff(&'static str),
    /// The accounts.
    #[error(transparent)]
    Accounts(#[from] crate::accounts::AccountsError),
    /// A file that is there already says something else.
    #[error(
        "cannot write {0}: it is there and says something else (move it away, or name another directory)"
    )]
    Exists(PathBuf),
    /// It cannot be written.
    #[error("cannot write {path}: {cause} (check the directory)")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

/// The fragments for one mail server.
///
/// # Errors
/// The configuration has no hand-off to it, or the accounts cannot be read.
pub async fn fragments(
    config: &Config,
    which: For,
    machine: &Machine,
) -> Result<Vec<Fragment>, FragmentError> {
    match which {
        For::Postfix => postfix::all(config, machine).await,
        For::Exim => exim::all(config).await,
    }
}

/// Writes them into a directory, all or none; a file that says the same already is left as it is.
///
/// # Errors
/// A file is there and says something else, or cannot be written.
pub fn write(fragments: &[Fragment], directory: &Path) -> Result<Vec<PathBuf>, FragmentError> {
    let failed = |path: &Path, cause| FragmentError::Write {
        path: path.to_owned(),
        cause,
    };
    fs::create_dir_all(directory).map_err(|cause| failed(directory, cause))?;
    let mut missing = Vec::new();
    for fragment in fragments {
        let path = directory.join(fragment.name);
        match fs::read(&path) {
            Ok(text) if text == fragment.text.as_bytes() => {}
            Ok(_) => return Err(FragmentError::Exists(path)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => missing.push((path, fragment)),
            Err(cause) => return Err(failed(&path, cause)),
        }
    }
    let mut written = Vec::new();
    for (path, fragment) in missing {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .and_then(|mut file| file.write_all(fragment.text.as_bytes()))
            .map_err(|cause| failed(&path, cause))?;
        written.push(path);
    }
    Ok(written)
}

/// A text of which each line may become another.
fn rewritten(text: &str, mut line: impl FnMut(&str) -> Option<String>) -> String {
    let lines = text
        .lines()
        .map(|old| line(old).unwrap_or_else(|| old.to_owned()));
    lines.map(|line| line + "\n").collect()
}

/// The comment at the head of a table, and the lines of this configuration.
fn table(shipped: &str, lines: impl Iterator<Item = String>) -> String {
    let comment = shipped.lines().filter(|line| line.starts_with('#'));
    comment
        .map(str::to_owned)
        .chain(lines)
        .map(|line| line + "\n")
        .collect()
}
