//! turnabout is killed where the kernel is to do its TLS: before the turn mail stays, and after it nobody needs turnabout.

use crate::lab::Mode;
use crate::loss::{
    Link, both_killed_in_the_transfer, fetch_killed_before_postfix_has_looked,
    fetch_killed_with_the_250_in_hand, killed_before_the_hand_off, killed_in_the_lending,
};

const LINK: Link = Link::InKernel(Mode::Starttls);

/// Rules: R29
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn turnabout_killed_before_the_hand_off_leaves_all_mail_in_the_queue() {
    killed_before_the_hand_off(LINK, 10);
}

/// Rules: R29
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn fetch_killed_with_the_250_in_hand_leaves_all_mail_in_the_queue() {
    fetch_killed_with_the_250_in_hand(LINK, 10);
}

/// Rules: R29
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn fetch_killed_before_postfix_has_looked_at_the_connection_changes_nothing() {
    fetch_killed_before_postfix_has_looked(LINK, 10);
}

/// Rules: R29
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn serve_killed_at_any_moment_of_the_lending_loses_no_mail() {
    killed_in_the_lending(LINK, &[50, 800]);
}

/// Rules: R29, B19
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn both_turnabouts_killed_in_the_transfer_do_not_disturb_the_delivery() {
    both_killed_in_the_transfer(LINK, 40, &["body 20 20"]);
}
