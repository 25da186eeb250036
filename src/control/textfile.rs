//! The metrics as a file, for the textfile collector of the node exporter: it is never seen half written.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Writes a file in the place of the one before.
///
/// # Errors
/// The directory cannot be written.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = beside(path)?;
    let written = write(&new, text).and_then(|()| fs::rename(&new, path));
    if written.is_err() {
        // What is left over is of no use to anybody.
        fs::remove_file(&new).ok();
    }
    written
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // One of a process of this number that did not come to its end.
    fs::remove_file(path).ok();
    let mut file: File = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(path)?;
    file.write_all(text.as_bytes())
}

/// A name in the same directory that no collector reads: it does not end in .prom.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let name = format!(".{}.{}", name.to_string_lossy(), std::process::id());
    Ok(path.with_file_name(name))
}

/// What the file says; nothing if it is not there.
pub(super) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
