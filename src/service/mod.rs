//! The process: what it was started with, and what it tells whoever looks after it.
//!
//! The same command is started by hand, by inetd, by xinetd, by tcpserver, or by systemd in two ways. Nobody says
//! which: [`started_with`] looks at the descriptors. [`notify`] speaks to a service manager that wants to know. What is
//! not brought along is opened by [`listen`].
//!
//! **Order.** [`inherited::note`] comes first of all in a process, before anything is opened that is to stay;
//! [`started_with`] comes before the first thread, and after the log has seen what descriptor 2 is.

pub mod inherited;
pub mod listen;
pub mod notify;
mod own;
mod started;
mod stdio;

pub use started::{Connection, Listener, StartError, Started, started_with, unix_listener};
pub use stdio::{is_connection, is_started_on_a_connection};
