//! Words: what travels between the two peers, parsed and bounded.

pub mod network;
