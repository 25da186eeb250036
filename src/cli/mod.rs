//! The command line: one file per command.

mod catch;
mod check;
mod completions;
mod exit;
mod fetch;
mod fetch_now;
pub mod passwd;
mod probe;
mod read_keys;
mod serve;
mod status;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing::Level;

pub use exit::Exit;

use crate::config;
use crate::report::{self, LogFormat, LogTo};
use crate::service::{self, Started};

/// On-Demand Mail Relay (ODMR, RFC 2645) for the mail server you already run.
#[derive(Debug, Parser)]
#[command(name = "turnabout", version, max_term_width = 100)]
#[command(after_help = "Manual pages: turnabout(8), turnabout.toml(5), turnabout-conformance(7).")]
pub struct Cli {
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = config::DEFAULT_PATH)]
    config: PathBuf,

    /// How log lines on standard error look.
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        value_enum,
        default_value_t
    )]
    log_format: LogFormat,

    /// Where log lines go.
    #[arg(
        long,
        global = true,
        value_name = "TARGET",
        value_enum,
        default_value_t
    )]
    log_to: LogTo,

    /// The least level to log: error, warn, info, debug or trace.
    #[arg(long, global = true, value_name = "LEVEL", default_value = "info")]
    log_level: Level,

    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be the provider: hold the mail and hand it over when its customer asks.
    Serve(serve::Args),
    /// Be the customer: fetch the mail of this machine's domains from a provider.
    Fetch(Box<fetch::Args>),
    /// Try a provider without taking mail: what it offers, and what deviates from the standards.
    Probe(Box<probe::Args>),
    /// Receive turned connections from another container and run the mail server on them.
    Catch(catch::Args),
    /// Make, change or remove an account of the provider.
    Passwd(passwd::Args),
    /// Show what a running service is doing.
    Status(status::Args),
    /// Look at the configuration and the machine, and say what is not right.
    Check(check::Args),
    /// Read certificates and keys as root for `serve`, which starts this itself.
    #[command(hide = true)]
    ReadKeys(read_keys::Args),
    /// Write the completions for a shell, for packages.
    #[command(hide = true)]
    Completions(completions::Args),
}

impl Command {
    /// Does it run by itself, so that its lines are for whoever looks later?
    fn is_service(&self) -> bool {
        match self {
            Self::Serve(_) | Self::Fetch(_) | Self::Catch(_) => true,
            Self::Passwd(_)
            | Self::Probe(_)
            | Self::Status(_)
            | Self::Check(_)
            | Self::Completions(_)
            | Self::ReadKeys(_) => false,
        }
    }
}

/// Runs a command line, program name first; everything the program does begins here.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    // Before anything is opened that is to stay.
    service::inherited::note();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are answers; anything else is a mistake in the command line.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Done
            };
            if service::is_started_on_a_connection() {
                return misstarted(&error).into();
            }
            // Nobody to tell if standard error is closed.
            error.print().ok();
            return exit.into();
        }
    };
    let service = cli.command.is_service();
    report::init(cli.log_format, cli.log_to, cli.log_level, service);
    match cli.command {
        Command::Serve(arguments) => arguments.run(&cli.config),
        Command::Fetch(arguments) => arguments.run(&cli.config),
        Command::Probe(arguments) => arguments.run(&cli.config),
        Command::Catch(arguments) => arguments.run(),
        Command::Passwd(arguments) => passwd(&arguments, &cli.config),
        Command::Status(arguments) => arguments.run(&cli.config),
        Command::Check(arguments) => arguments.run(&cli.config),
        Command::ReadKeys(arguments) => arguments.run(),
        Command::Completions(arguments) => arguments.run(),
    }
    .into()
}

/// A command line that is good for nothing in the configuration of inetd or its like: the peer hears 421, never the
/// usage.
fn misstarted(error: &clap::Error) -> Exit {
    report::init(LogFormat::default(), LogTo::default(), Level::INFO, true);
    let started = service::started_with();
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let exit = failed(
        &format!("cannot serve the connection: {first} (correct the command line)"),
        Exit::Usage,
    );
    if let Ok(Started::Connection(connection)) = started {
        crate::serve::turn_away(&connection);
    }
    exit
}

/// Logs an error on its way out.
fn failed(error: &impl std::fmt::Display, exit: Exit) -> Exit {
    tracing::error!("{error}");
    exit
}

/// Changes an account and says what was done.
fn passwd(arguments: &passwd::Args, config: &Path) -> Exit {
    let accounts = match &arguments.accounts {
        Some(accounts) => Ok(accounts.clone()),
        // The first account may be made before the first configuration.
        None if !config.exists() => Ok(PathBuf::from(config::DEFAULT_ACCOUNTS)),
        None => config::load(config).and_then(|file| Ok(file.service(config)?.accounts)),
    };
    let changed = match accounts {
        Ok(accounts) => passwd::run(arguments, &accounts).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match changed {
        Ok(done) => {
            tracing::info!("{done}");
            Exit::Done
        }
        Err(error) => failed(&error, Exit::Config),
    }
}
