//! Words of the conversation and the small values they speak about.

pub mod network;
pub mod next_hop;
