//! `turnabout check`: is everything right before the first mail?

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::{Exit, failed};
use crate::check::fragments::{self, For, Fragment, FragmentError};
use crate::check::{self, Machine, Report, Severity};
use crate::config;

/// The arguments of `turnabout check`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the findings as one JSON object.
    #[arg(long)]
    json: bool,

    /// Print what Postfix needs for this configuration, and check nothing.
    #[arg(long, conflicts_with = "json", group = "fragments")]
    postfix: bool,

    /// Print what Exim needs for this configuration, and check nothing.
    #[arg(long, conflicts_with = "json", group = "fragments")]
    exim: bool,

    /// Write that into files in this directory instead; none is overwritten.
    #[arg(long, value_name = "DIR", requires = "fragments")]
    write: Option<PathBuf>,

    /// The configuration directory of the customer's Postfix, if it is not the default one's.
    #[arg(long, value_name = "DIR")]
    config_directory: Option<PathBuf>,
}

impl Args {
    /// Looks, and prints what is found.
    pub(super) fn run(self, path: &Path) -> Exit {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let runtime = match runtime {
            Ok(runtime) => runtime,
            Err(error) => return failed(&format!("cannot check: {error}"), Exit::Internal),
        };
        let machine = Machine {
            config_directory: self.config_directory.clone(),
            ..Machine::default()
        };
        if self.postfix || self.exim {
            return match runtime.block_on(self.fragments(path, &machine)) {
                Ok(()) => Exit::Done,
                Err(error) => failed(&error, Exit::Config),
            };
        }
        let report = runtime.block_on(check::look(path, &machine));
        let exit = if report.count(Severity::Error) > 0 {
            Exit::Config
        } else {
            Exit::Done
        };
        let printed = if self.json {
            as_json(path, &report, exit)
        } else {
            as_text(path, &report)
        };
        match printed {
            Ok(()) => exit,
            Err(error) => failed(&format!("cannot report the check: {error}"), Exit::Internal),
        }
    }

    async fn fragments(
        &self,
        path: &Path,
        machine: &Machine,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let config = config::load(path)?;
        let mut all = Vec::new();
        for (wanted, which) in [(self.postfix, For::Postfix), (self.exim, For::Exim)] {
            if wanted {
                all.extend(fragments::fragments(&config, which, machine).await?);
            }
        }
        match &self.write {
            Some(directory) => write(&all, directory)?,
            None => print(&all)?,
        }
        Ok(())
    }
}

fn write(all: &[Fragment], directory: &Path) -> Result<(), FragmentError> {
    for path in fragments::write(all, directory)? {
        tracing::info!("wrote {}", path.display());
    }
    Ok(())
}

fn print(all: &[Fragment]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for fragment in all {
        writeln!(out, "#### {}\n{}", fragment.name, fragment.text)?;
    }
    out.flush()
}

fn as_text(path: &Path, report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for finding in &report.findings {
        writeln!(
            out,
            "{:<8} {}: {}",
            finding.severity, finding.place, finding.sentence
        )?;
        let fix = finding.fix.as_deref().unwrap_or_default();
        for (number, line) in fix.lines().enumerate() {
            let lead = if number == 0 { "fix:" } else { "" };
            writeln!(out, "{:<8} {lead:<4} {line}", "")?;
        }
    }
    let count = |severity, one: &str| match report.count(severity) {
        1 => format!("1 {one}"),
        number => format!("{number} {one}s"),
    };
    writeln!(
        out,
        "{}: {}, {}, {}",
        path.display(),
        count(Severity::Error, "error"),
        count(Severity::Warning, "warning"),
        count(Severity::Note, "note")
    )?;
    out.flush()
}

fn as_json(path: &Path, report: &Report, exit: Exit) -> io::Result<()> {
    let object = serde_json::json!({
        "config": path.display().to_string(),
        "exit": exit.code(),
        "errors": report.count(Severity::Error),
        "warnings": report.count(Severity::Warning),
        "notes": report.count(Severity::Note),
        "findings": report.findings,
    });
    let mut out = io::stdout().lock();
    writeln!(out, "{object}")?;
    out.flush()
}
