//! The figures of the README, measured beside the programs that turnabout is compared with.
//!
//! `tests/bench/run` runs everything and prints the table; `cargo bench --bench figures -- data`
//! or `-- negotiation` or `-- idle` runs a part. Nothing here asserts a time: a measurement that
//! fails says what went wrong, and a slow one is a figure.
//!
//! Everything happens in throw-away hosts made by `contrib/lab`, so it needs root, and in pairs:
//! first the one, then the other, then the other way round, so that what the machine does beside
//! falls on both. The table shows the median of the pairs' ratios.
// A measurement that cannot go on must stop with the reason, and its result is what it prints.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::unreachable,
    missing_docs,
    unreachable_pub
)]

mod accounts;
mod data;
mod figures;
mod helper;
mod hosts;
mod load;
mod negotiation;
mod nginx;
mod process;
mod provider;
mod session;
mod transfer;

use figures::Table;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        // This program once more, in another role.
        ["helper", rest @ ..] => helper::main(rest),
        ["timed", rest @ ..] => process::timed(rest),
        ["inside", rest @ ..] => negotiation::inside(rest),
        // "cargo test --all-targets" runs every target; only "cargo bench" says this word.
        words if !words.contains(&"--bench") => {}
        words => measure(words),
    }
}

/// Runs the parts that were named, or all.
fn measure(words: &[&str]) {
    let parts: Vec<&str> = words
        .iter()
        .copied()
        .filter(|word| !word.starts_with("--"))
        .collect();
    let quick = words.contains(&"--quick");
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    if let Some(unknown) = parts
        .iter()
        .find(|part| !["data", "negotiation", "idle"].contains(*part))
    {
        eprintln!("no part is called '{unknown}' (there are: data, negotiation, idle)");
        std::process::exit(64);
    }
    let mut table = Table::default();
    if wanted("data") {
        data::measure(quick, &mut table);
    }
    if wanted("negotiation") {
        negotiation::measure("sessions", quick, &mut table);
    }
    if wanted("idle") {
        negotiation::measure("idle", quick, &mut table);
    }
    println!("\n{table}");
}
