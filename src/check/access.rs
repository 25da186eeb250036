//! What a user may do with a file, by its mode and the modes of the directories above it.

use std::ffi::CString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, getgrouplist};

/// A user with all groups.
#[derive(Debug, Clone)]
pub(super) struct Account {
    pub(super) name: String,
    uid: u32,
    groups: Vec<Gid>,
}

/// Why a user cannot read a file.
#[derive(Debug)]
pub(super) enum Obstacle {
    /// The file, or a directory above it, does not let him.
    Mode(PathBuf),
    /// It could not be looked at.
    Unseen(PathBuf, io::Error),
}

impl Account {
    /// `None` if there is no such user.
    pub(super) fn find(name: &str) -> Option<Self> {
        let user = User::from_name(name).ok().flatten()?;
        let c_name = CString::new(name).ok()?;
        let groups = getgrouplist(&c_name, user.gid).unwrap_or_else(|_| vec![user.gid]);
        Some(Self {
            name: name.to_owned(),
            uid: user.uid.as_raw(),
            groups,
        })
    }

    /// The same user with one group more.
    pub(super) fn with_group(mut self, name: &str) -> Self {
        if let Ok(Some(group)) = nix::unistd::Group::from_name(name) {
            self.groups.insert(0, group.gid);
        }
        self
    }

    /// May this user read the file, as far as modes tell?
    pub(super) fn can_read(&self, path: &Path) -> Result<(), Obstacle> {
        let real = fs::canonicalize(path).map_err(|error| unseen(path, error))?;
        for directory in real.ancestors().skip(1) {
            self.may(directory, 0o1)?;
        }
        self.may(&real, 0o4)
    }

    /// May this user start the program, as far as modes tell? One that is a script is read by its interpreter as well.
    pub(super) fn can_run(&self, path: &Path) -> Result<(), Obstacle> {
        let real = fs::canonicalize(path).map_err(|error| unseen(path, error))?;
        for directory in real.ancestors().skip(1) {
            self.may(directory, 0o1)?;
        }
        self.may(&real, if is_script(&real) { 0o5 } else { 0o1 })
    }

    /// Its number.
    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    /// May this user make files in the directory?
    pub(super) fn can_write_in(&self, directory: &Path) -> Result<(), Obstacle> {
        let real = fs::canonicalize(directory).map_err(|error| unseen(directory, error))?;
        for above in real.ancestors().skip(1) {
            self.may(above, 0o1)?;
        }
        self.may(&real, 0o3)
    }

    fn may(&self, path: &Path, bits: u32) -> Result<(), Obstacle> {
        let facts = fs::metadata(path).map_err(|error| unseen(path, error))?;
        let class = if facts.uid() == self.uid {
            6
        } else if self.groups.contains(&Gid::from_raw(facts.gid())) {
            3
        } else {
            0
        };
        if self.uid == 0 || facts.mode() & (bits << class) == bits << class {
            return Ok(());
        }
        Err(Obstacle::Mode(path.to_owned()))
    }

    /// The name of its first group, for `chgrp`.
    pub(super) fn group(&self) -> String {
        let first = self.groups.first();
        first
            .and_then(|gid| nix::unistd::Group::from_gid(*gid).ok().flatten())
            .map_or_else(|| self.name.clone(), |group| group.name)
    }
}

fn is_script(path: &Path) -> bool {
    let mut start = [0; 2];
    let read = fs::File::open(path).and_then(|mut file| file.read_exact(&mut start));
    read.is_ok() && start == *b"#!"
}

fn unseen(path: &Path, error: io::Error) -> Obstacle {
    Obstacle::Unseen(path.to_owned(), error)
}

/// The first of the file and the directories above it that a group which is not root's may change, and that group.
pub(super) fn changeable_by_group(path: &Path) -> Option<(PathBuf, String)> {
    let real = fs::canonicalize(path).ok()?;
    real.ancestors().find_map(|path| {
        let facts = fs::metadata(path).ok()?;
        let open = facts.mode() & 0o020 != 0 && facts.gid() != 0;
        let kept = facts.is_dir() && facts.mode() & 0o1000 != 0;
        let gid = Gid::from_raw(facts.gid());
        let group = nix::unistd::Group::from_gid(gid).ok().flatten();
        let name = group.map_or_else(|| gid.to_string(), |group| group.name);
        (open && !kept).then(|| (path.to_owned(), name))
    })
}

/// Who besides root and the owner may change what stands here: the file or a directory above it. A directory with the
/// sticky bit keeps files from others.
pub(super) fn changeable_by_others(path: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(path).ok()?;
    real.ancestors()
        .find(|path| {
            fs::metadata(path).is_ok_and(|facts| {
                let sticky = facts.is_dir() && facts.mode() & 0o1000 != 0;
                facts.mode() & 0o002 != 0 && !sticky
            })
        })
        .map(Path::to_owned)
}

/// The first of the file and the directories above it whose owner is neither root nor one of these, and that owner.
pub(super) fn changeable_by_owner(path: &Path, allowed: &[u32]) -> Option<(PathBuf, String)> {
    let real = fs::canonicalize(path).ok()?;
    real.ancestors().find_map(|path| {
        let owner = fs::metadata(path).ok()?.uid();
        if owner == 0 || allowed.contains(&owner) {
            return None;
        }
        let user = User::from_uid(Uid::from_raw(owner)).ok().flatten();
        let name = user.map_or_else(|| owner.to_string(), |user| user.name);
        Some((path.to_owned(), name))
    })
}
