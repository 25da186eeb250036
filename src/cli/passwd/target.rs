//! The file that is replaced: under a lock, with the old one's owner and mode, and never half.

use super::PasswdError;
use crate::accounts::{self, Accounts, AccountsError, StandInKey};
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::geteuid;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// An accounts file, which need not exist yet.
pub(super) struct Target {
    /// As the operator calls it.
    shown: PathBuf,
    /// Where it is, symbolic links followed: the file is replaced, not the link.
    path: PathBuf,
    directory: PathBuf,
}

impl Target {
    pub(super) fn new(shown: &Path) -> Result<Self, PasswdError> {
        let failed = |cause| PasswdError::Write {
            path: shown.to_owned(),
            cause,
        };
        let path = match fs::canonicalize(shown) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let directory = shown
                    .parent()
                    .filter(|parent| !parent.as_os_str().is_empty());
                let directory = directory.unwrap_or(Path::new("."));
                let name = shown.file_name().ok_or(error).map_err(failed)?;
                fs::canonicalize(directory).map_err(failed)?.join(name)
            }
            other => other.map_err(failed)?,
        };
        let directory = path.parent().unwrap_or(Path::new("/")).to_owned();
        Ok(Self {
            shown: shown.to_owned(),
            path,
            directory,
        })
    }

    /// The text as it is, understood as accounts; empty when there is no file yet.
    pub(super) fn read(&self) -> Result<Zeroizing<String>, AccountsError> {
        if !self.path.exists() {
            return Ok(Zeroizing::new(String::new()));
        }
        let text = accounts::read(&self.path, &self.shown)?;
        Accounts::parse(&text, &self.shown, &StandInKey::new([0; 32]))?;
        Ok(text)
    }

    /// Waits until no other run is at it. The directory is locked, since the file is about to be another.
    pub(super) fn lock(&self) -> Result<Flock<File>, PasswdError> {
        let directory = File::open(&self.directory).map_err(|cause| self.failed(cause))?;
        Flock::lock(directory, FlockArg::LockExclusive)
            .map_err(|(_, errno)| self.failed(errno.into()))
    }

    /// Puts the new text in place of the old, or leaves everything as it is.
    pub(super) fn replace(&self, lock: &Flock<File>, text: &str) -> Result<(), PasswdError> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let new = Unfinished(self.directory.join(format!(".{name}.new")));
        self.write(&new.0, text)
            .map_err(|cause| self.failed(cause))?;
        Accounts::load_as(&new.0, &self.shown, &StandInKey::new([0; 32]))?;
        fs::rename(&new.0, &self.path).map_err(|cause| self.failed(cause))?;
        lock.sync_all().map_err(|cause| self.failed(cause))
    }

    fn write(&self, new: &Path, text: &str) -> io::Result<()> {
        // What a run left that was cut off; nobody else writes here now.
        match fs::remove_file(new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(new)?;
        match fs::metadata(&self.path) {
            Ok(old) => {
                let made = file.metadata()?;
                if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
                    fchown(&file, Some(old.uid()), Some(old.gid()))?;
                }
                file.set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.adopt(&file)?,
            Err(error) => return Err(error),
        }
        file.write_all(text.as_bytes())?;
        file.sync_all()
    }

    /// A new file goes to the group of its directory, if an administrator gave that one of its own: the service,
    /// which is not root, must be able to read it.
    fn adopt(&self, file: &File) -> io::Result<()> {
        let group = fs::metadata(&self.directory)?.gid();
        if group == 0 || !geteuid().is_root() {
            return Ok(());
        }
        fchown(file, None, Some(group))?;
        file.set_permissions(Permissions::from_mode(0o640))
    }

    fn failed(&self, cause: io::Error) -> PasswdError {
        PasswdError::Write {
            path: self.shown.clone(),
            cause,
        }
    }
}

/// The new file until it has its name; a failure takes it away again.
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After the rename there is nothing of this name.
        drop(fs::remove_file(&self.0));
    }
}
