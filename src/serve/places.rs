//! One customer at a time, across all processes of the service: a file for each, locked by who serves it (flock(2)).
//!
//! inetd starts a process for each connection, and an operator may have inetd for one port and a standing server for
//! another. What one process of them must not forget between two connections is kept here too: when a customer had
//! its turn, that the kernel could not serve it, and the key from which unknown users get their stand-ins.
//!
//! A lock ends with the process that holds it, however that ends. The files stay: to remove one would be to lock
//! another file of the same name than somebody else does.

use crate::accounts::StandInKey;
use crate::smtp::next_hop::NextHop;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_DIRECTORY, O_NOFOLLOW};
use nix::unistd::{User, geteuid};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The file with the key for stand-ins.
const KEY: &str = "stand-in-key";

/// Why the directory is of no use.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot use {path}: {cause} (make serve.runtime_directory a directory of the service's user, for instance with `install -d -o {user} -m 750 {path}`)"
)]
pub(super) struct PlaceError {
    path: PathBuf,
    cause: io::Error,
    user: String,
}

/// Whether a customer can be served now.
#[derive(Debug)]
pub(super) enum Taken {
    /// Nobody else serves it while this value lives.
    Place(Place),
    /// Somebody does.
    Busy,
    /// It had its turn less than the interval ago.
    TooSoon,
}

/// The directory.
#[derive(Debug)]
pub(super) struct Places {
    directory: PathBuf,
}

/// What is locked; dropping it lets go.
#[derive(Debug)]
pub(super) struct Place {
    file: Flock<File>,
}

impl Places {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Makes the directory for the service's user, if it is not there: in `/run` while we are root still. The one above
    /// stays root's, or somebody else could put another one in its place.
    pub(super) fn make(directory: &Path, user: &str) {
        if let Some(above) = directory.parent().filter(|above| !above.exists())
            && let Err(error) = make_directory(above, 0o755)
        {
            tracing::debug!(directory = %above.display(), %error, "not made");
        }
        let made = make_directory(directory, 0o750).and_then(|(made, group_of_above)| {
            if !geteuid().is_root() {
                return Ok(());
            }
            let user = User::from_name(user)?;
            let user = user.ok_or_else(|| io::Error::other("no such user"))?;
            let group = (!group_of_above).then_some(user.gid.as_raw());
            fchown(&made, Some(user.uid.as_raw()), group)
        });
        match made {
            Ok(()) => tracing::debug!(directory = %directory.display(), "made"),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // Whoever needs it will say so.
            Err(error) => {
                tracing::debug!(directory = %directory.display(), %error, "not made");
            }
        }
    }

    /// Takes the customer's place, unless it was taken, or used less than `interval` ago.
    ///
    /// # Errors
    /// When nobody can tell.
    pub(super) fn customer(&self, user: &str, interval: Duration) -> Result<Taken, PlaceError> {
        let taken = self.take("customer", user)?;
        if let Taken::Place(place) = &taken
            && place.turned().is_some_and(|since| since < interval)
        {
            return Ok(Taken::TooSoon);
        }
        Ok(taken)
    }

    /// Takes the place of a next hop.
    ///
    /// # Errors
    /// When nobody can tell.
    pub(super) fn next_hop(&self, next_hop: &NextHop) -> Result<Taken, PlaceError> {
        self.take("next-hop", &next_hop.to_string())
    }

    /// From now on this customer's sessions go through the relay.
    pub(super) fn relay_only(&self, user: &str) {
        let name = name("relay-only", user);
        if let Err(error) = self.open(&name) {
            tracing::debug!(%error, "not remembered for other processes");
        }
    }

    /// Has the kernel failed this customer, in whatever process?
    pub(super) fn is_relay_only(&self, user: &str) -> bool {
        self.directory.join(name("relay-only", user)).exists()
    }

    /// The key for stand-ins that all processes share, so that an unknown user looks the same on each connection
    /// (rule B74); drawn by the first of them.
    pub(super) fn stand_in_key(&self) -> Result<StandInKey, PlaceError> {
        let key = || -> io::Result<StandInKey> {
            let file = self.open(KEY)?;
            is_ours_alone(&file)?;
            // Two that find it empty draw one after the other.
            let mut file =
                Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
            let mut octets = [0; 32];
            if file.metadata()?.len() < 32 {
                getrandom::fill(&mut octets)
                    .map_err(|error| io::Error::other(error.to_string()))?;
                file.write_all(&octets)?;
            } else {
                file.read_exact(&mut octets)?;
            }
            Ok(StandInKey::new(octets))
        };
        key().map_err(|cause| self.unusable(cause))
    }

    fn take(&self, kind: &str, who: &str) -> Result<Taken, PlaceError> {
        let name = name(kind, who);
        let file = self.open(&name).map_err(|cause| self.unusable(cause))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) if self.has(&name, &file) => Ok(Taken::Place(Place { file })),
            // Somebody took the file away, or put another in its place, while we locked it: a lock that nobody else
            // will find is none.
            Ok(_) | Err((_, Errno::EWOULDBLOCK)) => Ok(Taken::Busy),
            Err((_, errno)) => Err(self.unusable(errno.into())),
        }
    }

    /// Does the name lead to this file?
    fn has(&self, name: &str, file: &File) -> bool {
        let named = fs::symlink_metadata(self.directory.join(name));
        let identity = |facts: &fs::Metadata| (facts.dev(), facts.ino());
        file.metadata()
            .is_ok_and(|own| named.is_ok_and(|named| identity(&named) == identity(&own)))
    }

    fn open(&self, name: &str) -> io::Result<File> {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(O_NOFOLLOW)
            .open(self.directory.join(name))
    }

    fn unusable(&self, cause: io::Error) -> PlaceError {
        PlaceError {
            path: self.directory.clone(),
            cause,
            user: super::privileges::user_name(geteuid()),
        }
    }
}

impl Place {
    /// The customer has its turn now: the time of the file says when, its length that it was.
    pub(super) fn had_its_turn(&mut self) {
        let noted = self.file.write_all(b"1\n").and_then(|()| {
            // The second octet of a second turn would be the third of the file.
            self.file.set_len(2)?;
            self.file.set_modified(SystemTime::now())
        });
        if let Err(error) = noted {
            tracing::debug!(%error, "the turn is not remembered for other processes");
        }
    }

    /// How long ago that was.
    fn turned(&self) -> Option<Duration> {
        let facts = self.file.metadata().ok()?;
        if facts.len() == 0 {
            return None;
        }
        // A clock that was set back says nothing.
        facts.modified().ok()?.elapsed().ok()
    }
}

/// A directory with this mode, and whether it has, and gives on, the group of the one above (its set-group-ID bit).
fn make_directory(path: &Path, mode: u32) -> io::Result<(File, bool)> {
    fs::create_dir(path)?;
    // By its descriptor: were it another one's link by now, a name would lead root there.
    let made = File::options()
        .read(true)
        .custom_flags(O_DIRECTORY | O_NOFOLLOW)
        .open(path)?;
    let inherited = made.metadata()?.mode() & 0o2000;
    made.set_permissions(Permissions::from_mode(mode | inherited))?;
    Ok((made, inherited != 0))
}

/// The directory may be a group's: a key that another one has put there, or can read, would tell him which users exist.
fn is_ours_alone(file: &File) -> io::Result<()> {
    let facts = file.metadata()?;
    if facts.is_file() && facts.uid() == geteuid().as_raw() && facts.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("{KEY} is not this user's alone")))
}

/// Names may hold anything, so the file has their digest.
fn name(kind: &str, who: &str) -> String {
    let mut name = format!("{kind}-");
    for octet in Sha256::digest(who).iter().take(16) {
        // Writing to a string does not fail.
        write!(name, "{octet:02x}").ok();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::{Place, Places, Taken};
    use nix::unistd::geteuid;
    use std::error::Error;
    use std::fs::Permissions;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::path::Path;
    use std::time::Duration;

    fn place(taken: Taken) -> Option<Place> {
        match taken {
            Taken::Place(place) => Some(place),
            Taken::Busy | Taken::TooSoon => None,
        }
    }

    /// Rules: R20
    #[test]
    fn a_place_is_taken_once_and_free_again_when_it_is_let_go() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let one = Places::new(directory.path().to_owned());
        let other = Places::new(directory.path().to_owned());
        let held = place(one.customer("alice", Duration::ZERO)?);
        assert!(held.is_some());
        let again = other.customer("alice", Duration::ZERO)?;
        assert!(matches!(again, Taken::Busy));
        assert!(place(other.customer("bob", Duration::ZERO)?).is_some());
        drop(held);
        assert!(place(other.customer("alice", Duration::ZERO)?).is_some());
        Ok(())
    }

    /// Rules: R20
    #[test]
    fn the_interval_runs_from_the_turn_and_not_from_a_look() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let places = Places::new(directory.path().to_owned());
        let hour = Duration::from_secs(3600);
        assert!(place(places.customer("alice", hour)?).is_some());
        let mut held = place(places.customer("alice", hour)?).ok_or("not free")?;
        held.had_its_turn();
        drop(held);
        let again = places.customer("alice", hour)?;
        assert!(matches!(again, Taken::TooSoon));
        assert!(place(places.customer("alice", Duration::ZERO)?).is_some());
        assert!(place(places.customer("bob", hour)?).is_some());
        Ok(())
    }

    #[test]
    fn all_processes_make_the_same_stand_ins() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let places = Places::new(directory.path().to_owned());
        let file = directory.path().join(super::KEY);
        places.stand_in_key()?;
        let drawn = std::fs::read(&file)?;
        assert_eq!(drawn.len(), 32);
        assert_ne!(drawn, [0; 32]);
        places.stand_in_key()?;
        assert_eq!(std::fs::read(&file)?, drawn);
        Ok(())
    }

    /// Rules: B74
    #[test]
    fn a_key_that_others_can_read_is_not_taken() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let places = Places::new(directory.path().to_owned());
        let file = directory.path().join(super::KEY);
        std::fs::write(&file, [7; 32])?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o666))?;
        let said = places.stand_in_key().map_err(|error| error.to_string());
        let said = said.err().unwrap_or_default();
        assert!(said.contains("not this user's alone"), "{said}");
        Ok(())
    }

    /// Whoever may write there could take a lock away, and let a second session of the customer in.
    #[test]
    fn the_directory_and_the_one_above_are_made_and_nobody_else_may_write_there()
    -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let mode = |path: &Path| std::fs::metadata(path).map(|facts| facts.mode() & 0o7777);
        let above = directory.path().join("turnabout");
        let own = above.join("serve");
        let user = super::super::privileges::user_name(geteuid());
        Places::make(&own, &user);
        assert_eq!((mode(&above)?, mode(&own)?), (0o755, 0o750));
        assert!(place(Places::new(own).customer("alice", Duration::ZERO)?).is_some());

        // As systemd-tmpfiles leaves it: what is made below has its group, which may ask for the status.
        let shared = directory.path().join("shared");
        std::fs::create_dir(&shared)?;
        std::fs::set_permissions(&shared, Permissions::from_mode(0o2755))?;
        Places::make(&shared.join("serve"), &user);
        assert_eq!(mode(&shared.join("serve"))?, 0o2750);
        Ok(())
    }

    #[test]
    fn a_directory_that_is_not_there_is_one_sentence() {
        let places = Places::new("/nonexistent/turnabout".into());
        let said = places
            .customer("alice", Duration::ZERO)
            .map_err(|error| error.to_string())
            .err()
            .unwrap_or_default();
        let begin = "cannot use /nonexistent/turnabout: No such file or directory";
        assert!(said.starts_with(begin), "{said}");
    }
}
