//! Nothing is lost: cut connections, killed programs and restarted mail servers, with a real Postfix on both sides.
//!
//! Between the hosts stands a proxy that knows the conversation line by line. It cuts at a line that is named, or holds
//! it back while something is killed. After each accident every message must be in the provider's queue or in the
//! customer's mailbox; in both only if the provider could not know that its final reply had been given.

mod conversation;
mod cuts;
mod end;
mod killed;
mod ledger;
mod middle;
mod reloaded;
mod restarted;
mod scissors;
mod site;

pub use cuts::{reset_in_the_kernels_tls, silence_in_the_kernels_tls};
pub use killed::{
    both_killed_in_the_transfer, fetch_killed_before_postfix_has_looked,
    fetch_killed_with_the_250_in_hand, killed_before_the_hand_off, killed_in_the_lending,
};
pub use middle::Middle;
pub use scissors::{How, Part, Plan, Scissors};
pub use site::Link;
