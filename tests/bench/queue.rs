//! Postfix's queue directories, counted.

use std::fs;
use std::path::Path;

/// In the order in which a message goes through them: looked at in any other order, one that moves
/// meanwhile could be overlooked.
pub const QUEUES: [&str; 4] = ["deferred", "maildrop", "incoming", "active"];

/// Looks only as far as the first file: this is asked often.
pub fn is_empty(spool: &Path, queues: &[&str]) -> bool {
    !queues.iter().any(|queue| holds_a_file(&spool.join(queue)))
}

fn holds_a_file(directory: &Path) -> bool {
    entries(directory).any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds_a_file(&entry.path()),
        Ok(_) => true,
        Err(_) => false,
    })
}

/// How many files are below the directory.
pub fn files(directory: &Path) -> usize {
    entries(directory)
        .map(|entry| {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}
