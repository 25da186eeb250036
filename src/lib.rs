//! turnabout: On-Demand Mail Relay (ODMR, RFC 2645) for the mail server you already run.
//!
//! The map of the house is completed as its rooms are built.
//!
//! # Layers
//!
//! A module uses only what stands in a row below its own; modules of one row are strangers. A test
//! (`layers`) holds every `use crate::` against this table.
//!
//! ```text
//! 5  cli
//! 4  serve   fetch
//! 3  handoff   accounts
//! 2  wire   queue   config   report
//! 1  odmr
//! 0  smtp   sasl
//! ```
#![forbid(unsafe_code)]

pub mod accounts;
pub mod cli;
pub mod config;
pub mod fetch;
pub mod handoff;
pub mod odmr;
pub mod queue;
pub mod report;
pub mod sasl;
pub mod serve;
pub mod smtp;
pub mod wire;
