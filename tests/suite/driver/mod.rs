//! What the tests of the drivers share: the real program as a child, a peer that speaks lines, and
//! fakes that stand at the mail server's own interfaces.
//!
//! Everything started here is ended by its id when its value is dropped, also by a panic.

mod catch;
mod daemon;
mod one;
mod peer;
mod postfix;
mod process;
mod provider;
mod receiver;
mod secure;
mod serve;

pub use catch::{Catcher, Hand, pair};
pub use daemon::{Daemon, Isp};
pub use one::{Inetd, One};
pub use peer::{Peer, connected_from};
pub use postfix::{Message, install, write_open};
pub use process::{Running, until};
pub use provider::{
    Fetch, IN_TLS, opened, opened_in_tls, scripted, scripted_at, start_tls, until_tls,
};
pub use receiver::Receiver;
pub use secure::{Site, client_with, secured_at_once, write_pair};
pub use serve::{ALICE, ALICE_HOP, BOB, BOB_HOP, Serve, Setup, accounts, service_user};
