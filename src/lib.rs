//! turnabout: On-Demand Mail Relay (ODMR, RFC 2645) for the mail server you already run.
//!
//! The map of the house is completed as its rooms are built.
#![forbid(unsafe_code)]

pub mod accounts;
pub mod cli;
pub mod config;
pub mod sasl;
pub mod smtp;
