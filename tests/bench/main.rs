//! The figures of the README, measured beside the programs that turnabout is compared with.
//!
//! `tests/bench/run` runs everything and prints the table; `cargo bench --bench figures -- data`
//! or another of [`PARTS`] runs a part. Nothing here asserts a time: a measurement that fails says
//! what went wrong, and a slow one is a figure.
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
mod certificate;
mod data;
mod figures;
mod helper;
mod hosts;
mod kernel;
mod load;
mod negotiation;
mod nginx;
mod process;
mod provider;
mod queue;
mod rig;
mod session;
mod start;
mod transfer;
mod way;

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

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Whole,
    /// Whether it works at all: figures that mean little.
    Quick,
    /// For a machine that is itself a program: less of it, as often.
    Emulated,
}

const PARTS: [&str; 6] = [
    "data",
    "data-tls",
    "negotiation",
    "negotiation-tls",
    "idle",
    "start",
];

/// Runs the parts that were named, or all.
fn measure(words: &[&str]) {
    let (options, parts): (Vec<&str>, Vec<&str>) = words
        .iter()
        .copied()
        .partition(|word| word.starts_with("--"));
    let wanted = |part| parts.is_empty() || parts.contains(&part);
    if let Some(unknown) = parts.iter().find(|part| !PARTS.contains(*part)) {
        eprintln!(
            "no part is called '{unknown}' (there are: {})",
            PARTS.join(", ")
        );
        std::process::exit(64);
    }
    let (mut size, mut only) = (Size::Whole, None);
    for option in options {
        match option {
            "--quick" => size = Size::Quick,
            "--emulated" => size = Size::Emulated,
            "--many" => only = Some("many"),
            "--one" => only = Some("one"),
            // Cargo's own.
            "--bench" => {}
            unknown => {
                eprintln!(
                    "unknown option {unknown} (there are: --quick, --emulated, --many, --one)"
                );
                std::process::exit(64);
            }
        }
    }
    let mut table = Table::default();
    if wanted("data") {
        data::measure(false, size, only, &mut table);
    }
    if wanted("data-tls") {
        data::measure(true, size, only, &mut table);
    }
    if wanted("negotiation") {
        negotiation::measure("sessions", size, &mut table);
    }
    if wanted("negotiation-tls") {
        negotiation::measure("sessions-tls", size, &mut table);
    }
    if wanted("idle") {
        negotiation::measure("idle", size, &mut table);
    }
    if wanted("start") {
        negotiation::measure("start", size, &mut table);
    }
    println!("\n{table}");
}
