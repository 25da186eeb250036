//! Providers that the kernel's TLS cannot serve: a note for the next time, a file for each.
//!
//! A record that no mail server can read (new keys in the midst of a session) ends it under kernel TLS; the mail stays
//! with the provider. The next sessions go through the relay, which can read them. Nothing is lost with the note, and
//! after a month the kernel is tried again.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How long a note counts.
const MEMORY: Duration = Duration::from_secs(30 * 24 * 3600);

/// The note about one provider.
#[derive(Debug)]
pub(super) struct Note(PathBuf);

impl Note {
    /// The note about the provider of this name; it need not exist.
    pub(super) fn about(provider: &str, directory: &Path) -> Self {
        Self(directory.join(format!("relay-only-{}", file_name(provider))))
    }

    /// Is there one that still counts?
    pub(super) fn exists(&self) -> bool {
        let written = fs::metadata(&self.0).and_then(|facts| facts.modified());
        written.is_ok_and(|at| {
            let age = SystemTime::now().duration_since(at);
            // Of the future: the clock was set back.
            age.map_or(true, |age| age < MEMORY)
        })
    }

    /// Writes it, and says in the log how that went.
    pub(super) fn write(&self, id: &str) {
        let file = self.0.display();
        match self.put() {
            Ok(()) => tracing::warn!(
                session = id, %file,
                "this provider sends TLS records that a mail server cannot read: from now on the relay is used (remove the file to try the kernel again)"
            ),
            Err(error) => tracing::warn!(
                session = id, %error,
                "cannot write {file}: the next session may fail in the same way (let this user write there, or set handoff_tls = \"relay\")"
            ),
        }
    }

    fn put(&self) -> io::Result<()> {
        if let Some(directory) = self.0.parent() {
            fs::create_dir_all(directory)?;
        }
        // Others may write in the directory: what they have put under this name is replaced, never followed.
        let text =
            "The kernel's TLS could not serve this provider. Remove this file to try it again.\n";
        let new = self.0.with_extension(format!("{}.new", std::process::id()));
        fs::remove_file(&new).ok();
        let mut file = fs::File::create_new(&new)?;
        let written = file.write_all(text.as_bytes());
        written
            .and_then(|()| fs::rename(&new, &self.0))
            .inspect_err(|_| {
                fs::remove_file(&new).ok();
            })
    }
}

/// A name as part of a file's name: what is not a letter, a digit, `-` or `_` becomes its number.
fn file_name(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for octet in name.bytes() {
        if octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_') {
            text.push(char::from(octet));
        } else {
            text.push_str(&format!("%{octet:02X}"));
        }
    }
    text.truncate(200);
    text
}

#[cfg(test)]
mod tests {
    use super::{MEMORY, Note, file_name};
    use std::fs::File;
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_note_is_found_again_and_counts_for_a_month() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let below = directory.path().join("state");
        let note = Note::about("isp", &below);
        assert!(!note.exists());
        note.put()?;
        assert!(note.exists());
        assert!(!Note::about("other", &below).exists());
        let file = File::options().write(true).open(&note.0)?;
        file.set_modified(SystemTime::now() - MEMORY - Duration::from_secs(1))?;
        assert!(!note.exists());
        Ok(())
    }

    #[test]
    fn a_link_that_somebody_has_put_there_is_replaced_and_not_followed() -> std::io::Result<()> {
        let directory = tempfile::tempdir()?;
        let other = directory.path().join("other");
        std::fs::write(&other, "precious")?;
        let note = Note::about("isp", directory.path());
        std::os::unix::fs::symlink(&other, &note.0)?;
        note.put()?;
        assert_eq!(std::fs::read_to_string(&other)?, "precious");
        assert!(!std::fs::symlink_metadata(&note.0)?.is_symlink());
        Ok(())
    }

    #[test]
    fn no_name_leads_out_of_the_directory_or_to_another_names_note() {
        assert_eq!(
            file_name("../../etc/passwd"),
            "%2E%2E%2F%2E%2E%2Fetc%2Fpasswd"
        );
        assert_ne!(file_name("a b"), file_name("a%20b"));
        assert!(file_name(&"é".repeat(300)).len() <= 200);
    }
}
