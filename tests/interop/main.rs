//! Tests against real programs: Postfix, Exim and others, fetchmail, INetSim, each host in namespaces of its own.
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

mod activation;
mod check;
mod confined;
mod containers;
mod customers;
mod delivery;
mod demo;
mod docker;
mod handoff;
mod kernel;
mod lab;
mod loss;
mod mail_servers;
mod newer;
mod others;
mod package;
mod probe;
mod queue;
mod readme;
mod schedule;
mod starttls;
mod status;
mod tls;
mod trust;
