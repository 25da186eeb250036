//! One file per command.

pub mod passwd;
