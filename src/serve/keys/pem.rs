//! The PEM sections of a file that this program has a use for, and nothing else of it.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use zeroize::Zeroizing;

/// The longest file that is read, in octets: hundreds of certificates.
pub(super) const LIMIT: usize = 1024 * 1024;

/// Reads the certificates and private keys in a file.
///
/// # Errors
/// When it cannot be read, is no ordinary file, or is longer than [`LIMIT`].
pub(super) fn read(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    // A pipe without a writer must not hold anybody up.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NONBLOCK)
        .open(path)?;
    let facts = file.metadata()?;
    if !facts.is_file() {
        return Err(io::Error::other("it is no ordinary file"));
    }
    let length = usize::try_from(facts.len()).unwrap_or(usize::MAX);
    if length > LIMIT {
        return Err(io::Error::other("it is longer than a mebibyte"));
    }
    // Room for all of it at once: what is moved to a larger place leaves its old place unwiped.
    let mut text = Zeroizing::new(Vec::with_capacity(LIMIT.min(length.saturating_add(4096))));
    let room = text.capacity();
    file.take(u64::try_from(room).unwrap_or(u64::MAX))
        .read_to_end(&mut text)?;
    Ok(sections(&text))
}

/// Certificates and private keys. Whoever can put another file in the place of one that root reads for him
/// gets no passwords and no tickets out of it.
fn sections(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut kept = Zeroizing::new(Vec::with_capacity(text.len().saturating_add(1)));
    let mut inside = false;
    for line in text.split(|octet| *octet == b'\n') {
        let label = label(line, b"-----BEGIN ");
        inside = inside || label.is_some_and(wanted);
        if inside {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
        if self::label(line, b"-----END ").is_some() {
            inside = false;
        }
    }
    kept
}

fn label<'a>(line: &'a [u8], begin: &[u8]) -> Option<&'a [u8]> {
    line.trim_ascii_end()
        .strip_prefix(begin)?
        .strip_suffix(b"-----")
}

fn wanted(label: &[u8]) -> bool {
    label == b"CERTIFICATE" || label.ends_with(b"PRIVATE KEY")
}

#[cfg(test)]
mod tests {
    use super::{read, sections};

    #[test]
    fn only_certificates_and_private_keys_are_kept() {
        let text = b"root:$6$x\n-----BEGIN CERTIFICATE-----\r\nAA\r\n-----END CERTIFICATE-----\r\nsubject\n\
            -----BEGIN DH PARAMETERS-----\nBB\n-----END DH PARAMETERS-----\n\
            -----BEGIN EC PRIVATE KEY-----\nCC\n-----END EC PRIVATE KEY-----";
        let kept = b"-----BEGIN CERTIFICATE-----\r\nAA\r\n-----END CERTIFICATE-----\r\n\
            -----BEGIN EC PRIVATE KEY-----\nCC\n-----END EC PRIVATE KEY-----\n";
        assert_eq!(sections(text).as_slice(), kept);
        assert!(sections(b"root:$6$x:1::\n").is_empty());
    }

    #[test]
    fn what_is_no_ordinary_file_is_not_waited_for() {
        let why = read("/".as_ref()).map_err(|error| error.to_string()).err();
        assert_eq!(why.as_deref(), Some("it is no ordinary file"));
    }
}
