//! Sockets that listen, made the same way wherever one is needed.

use nix::sys::stat::{Mode, umask};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

/// Listens on a TCP address; the kernel keeps up to `backlog` connections until they are accepted. Nothing blocks on it.
///
/// An IPv6 address takes IPv6 only, so that `[::]:366` and `0.0.0.0:366` can stand side by side and each peer has one
/// plain address.
///
/// # Errors
/// The address is not to be had.
pub fn tcp(address: SocketAddr, backlog: i32) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// Listens on a Unix socket whose file has this `mode` from its first moment. Nothing blocks on it.
///
/// The mask of the process sets the mode, for a chmod would follow whatever somebody who may write in the directory
/// has put there meanwhile, and we may be root. A file that another thread makes in that moment has no more than `mode`.
///
/// # Errors
/// The directory is not there, may not be written, or has a file of this name.
pub fn unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let before = umask(Mode::from_bits_truncate(!mode & 0o777));
    let bound = UnixListener::bind(path);
    umask(before);
    let listener = bound?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::{tcp, unix};
    use nix::sys::stat::{Mode, umask};
    use std::error::Error;
    use std::fs;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_unix_socket_has_its_mode_and_leaves_the_mask_as_it_was() -> Result<(), Box<dyn Error>> {
        let directory = tempfile::tempdir()?;
        let mask = Mode::from_bits_truncate(0o027);
        let before = umask(mask);
        for mode in [0o600, 0o660, 0o666] {
            let path = directory.path().join(format!("{mode:o}"));
            let _listener = unix(&path, mode)?;
            assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, mode);
        }
        assert_eq!(umask(before), mask);
        Ok(())
    }

    #[test]
    fn both_families_listen_on_one_port_and_neither_takes_the_others_peers()
    -> Result<(), Box<dyn Error>> {
        let Ok(six) = tcp("[::1]:0".parse()?, 8) else {
            // A machine without IPv6.
            assert!(TcpListener::bind("[::1]:0").is_err());
            return Ok(());
        };
        let port = six.local_addr()?.port();
        let four = tcp(([127, 0, 0, 1], port).into(), 8)?;
        let _client = TcpStream::connect(("127.0.0.1", port))?;
        let nobody = six.accept().map_err(|error| error.kind());
        assert!(matches!(nobody, Err(std::io::ErrorKind::WouldBlock)));
        four.set_nonblocking(false)?;
        assert!(four.accept()?.1.is_ipv4());
        Ok(())
    }
}
