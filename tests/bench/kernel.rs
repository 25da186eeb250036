//! Whether the running kernel speaks TLS.

use nix::sys::socket::{setsockopt, sockopt::TcpUlp};
use std::net::{TcpListener, TcpStream};

/// Tried on a connection to ourselves. That it takes the keys as well is turnabout's to find out:
/// its log says which way a session has gone, and [`crate::transfer`] looks there.
pub fn speaks_tls() -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    setsockopt(&client, TcpUlp::default(), b"tls").is_ok()
}
