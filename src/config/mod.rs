//! The configuration; only the part that the accounts file shares with it is here yet.

pub mod suggest;
