//! `turnabout completions`: what a shell completes, from the same table as the options. Packages keep it in files.

use std::io::{self, Write};

use clap::{Command, CommandFactory};
use clap_complete::Shell;

use super::{Cli, Exit, failed};

/// The arguments of `turnabout completions`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell.
    shell: Shell,
}

impl Args {
    /// Writes the completions to standard output.
    pub(super) fn run(self) -> Exit {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut for_people(), "turnabout", &mut text);
        match io::stdout().write_all(&text) {
            Ok(()) => Exit::Done,
            Err(error) => failed(
                &format!("cannot write the completions: {error}"),
                Exit::Internal,
            ),
        }
    }
}

/// The command line without the commands that nobody types.
fn for_people() -> Command {
    let whole = Cli::command();
    let shown = whole
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    Command::new("turnabout")
        .version(env!("CARGO_PKG_VERSION"))
        .args(whole.get_arguments().cloned())
        .subcommands(shown.cloned())
}
