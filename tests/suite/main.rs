//! Hermetic tests: no mail server, no network beyond socket pairs and loopback.
// A test that cannot go on must stop with the reason: unwrap, expect and panic are how tests say so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice
)]
#![allow(
    clippy::unreachable,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]
mod network;
mod next_hop;
mod sasl_by_hand;
mod sasl_exchange;
mod sasl_scram_hostile;
mod sasl_vectors;
