//! The child that stays root: it reads again the files it was told at its start, and nothing else.

use super::{CONTENTS, ERRNO, WORDS, pem};
use nix::sys::prctl::set_no_new_privs;
use nix::sys::resource::{Resource, setrlimit};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Started by hand: there is nobody who asks.
#[derive(Debug, thiserror::Error)]
#[error(
    "cannot read keys for anybody: standard input is no socket ({0}; `turnabout serve` starts this command itself)"
)]
pub struct NotASocket(io::Error);

/// Answers on standard input, a socket, until its other end is closed.
///
/// # Errors
/// When standard input is no socket.
pub fn answer(files: &[PathBuf]) -> Result<(), NotASocket> {
    let mut stream = socket().map_err(NotASocket)?;
    give_up();
    let mut number = [0; 2];
    // The parent's end is closed with the parent.
    while stream.read_exact(&mut number).is_ok() {
        let file = files.get(usize::from(u16::from_be_bytes(number)));
        let (kind, text) = contents(file);
        if say(&mut stream, kind, &text).is_err() {
            break;
        }
    }
    Ok(())
}

fn socket() -> io::Result<UnixStream> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Says so if it is anything but a Unix socket.
    stream.local_addr()?;
    Ok(stream)
}

/// Nothing that this process does needs to write a file, leave a core, or run a program with more rights.
fn give_up() {
    for resource in [Resource::RLIMIT_CORE, Resource::RLIMIT_FSIZE] {
        setrlimit(resource, 0, 0).ok();
    }
    set_no_new_privs().ok();
}

fn contents(file: Option<&PathBuf>) -> (u8, Zeroizing<Vec<u8>>) {
    let read = file
        .ok_or_else(|| io::Error::other("it was not named at the start"))
        .and_then(|file| pem::read(Path::new(file)));
    match read {
        Ok(text) => (CONTENTS, text),
        Err(error) => match error.raw_os_error() {
            Some(errno) => (ERRNO, Zeroizing::new(errno.to_be_bytes().to_vec())),
            None => (WORDS, Zeroizing::new(error.to_string().into_bytes())),
        },
    }
}

fn say(stream: &mut UnixStream, kind: u8, text: &[u8]) -> io::Result<()> {
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    stream.write_all(&[kind])?;
    stream.write_all(&length.to_be_bytes())?;
    stream.write_all(text)
}
