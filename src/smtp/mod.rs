//! Words: what travels between the two peers, parsed and bounded.

pub mod network;
pub mod next_hop;
