//! After the turn nobody needs turnabout: the mail servers have the connection and the kernel its keys.

use crate::lab::Mode;
use crate::loss::{Link, both_killed_in_the_transfer};

/// Rules: R29, B19
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn both_turnabouts_killed_in_the_transfer_do_not_disturb_the_delivery() {
    both_killed_in_the_transfer(Link::InKernel(Mode::Starttls), 40, &["body 20 20"]);
}
