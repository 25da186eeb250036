//! The programs round a fetch: can they be started, and who can change what is started?

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::Uid;

use super::access::{Obstacle, changeable_by_group, changeable_by_others, changeable_by_owner};
use super::files;
use super::finding::{Findings, Severity};
use super::machine::{self, Machine};
use super::units::{self, Fetcher};
use crate::config::{Provider, in_words};

/// What the file's mode must have for somebody at least.
const RUN: u32 = 0o111;

/// One of the two.
struct Hook<'a> {
    place: String,
    program: &'a Path,
    /// How grave it is if it does not run, and what becomes of the fetch then.
    missed: (Severity, &'static str),
}

/// Looks at both hooks of a provider.
pub(super) fn check(provider: &Provider, machine: &Machine, findings: &mut Findings) {
    let hooks = [
        (
            "hook_before",
            &provider.hooks.before,
            (Severity::Error, "nobody is dialled"),
        ),
        (
            "hook_after",
            &provider.hooks.after,
            (Severity::Warning, "nothing is done after a fetch"),
        ),
    ];
    for (key, words, missed) in hooks {
        let Some(program) = words.as_ref().and_then(|words| words.first()) else {
            continue;
        };
        let hook = Hook {
            place: format!("providers.{}.{key}", provider.name),
            program: Path::new(program),
            missed,
        };
        let fetchers = units::fetchers(machine);
        hook.runs(&fetchers, findings);
        hook.is_safe(&fetchers, findings);
    }
}

impl Hook<'_> {
    /// Is it a program, and may those start it who fetch?
    fn runs(&self, fetchers: &[Fetcher], findings: &mut Findings) {
        let program = self.program.display();
        let (severity, so) = self.missed;
        let mut say = |why: String, fix: String| {
            let sentence = format!("{program} {why}, so {so}");
            findings
                .add(severity, self.place.clone(), sentence)
                .fix(fix);
        };
        let install = format!("install -m 755 PROGRAM {program}");
        match fs::metadata(self.program) {
            Ok(facts) if !facts.is_file() => say("is not a program".to_owned(), install),
            Ok(facts) if facts.mode() & RUN == 0 => {
                say(
                    "may not be executed by anybody".to_owned(),
                    format!("chmod a+x {program}"),
                );
            }
            Ok(_) => self.lets_in(fetchers, findings),
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied && !machine::is_root() =>
            {
                files::unseen(self.program, &error, findings);
            }
            Err(error) => say(format!("cannot be run: {}", in_words(&error)), install),
        }
    }

    fn lets_in(&self, fetchers: &[Fetcher], findings: &mut Findings) {
        let (gravest, so) = self.missed;
        for Fetcher {
            unit,
            user,
            enabled,
        } in fetchers
        {
            // One that nobody starts may have been forgotten.
            let severity = if *enabled { gravest } else { Severity::Warning };
            match user.can_run(self.program) {
                Ok(()) => {}
                Err(Obstacle::Mode(at)) => {
                    let mode = if at.is_dir() { "g+x" } else { "g+rx" };
                    let group = user.group();
                    let sentence = format!(
                        "{} fetches as user {}, who cannot run {} because of {}, so {so}",
                        unit.display(),
                        user.name,
                        self.program.display(),
                        at.display()
                    );
                    let at = at.display();
                    findings
                        .add(severity, self.place.clone(), sentence)
                        .fix(format!("chgrp {group} {at} && chmod {mode} {at}"));
                }
                Err(Obstacle::Unseen(at, error)) => files::unseen(&at, &error, findings),
            }
        }
    }

    /// Whoever can change it has turnabout do what he likes. One finding is enough: the widest.
    fn is_safe(&self, fetchers: &[Fetcher], findings: &mut Findings) {
        // A link can be changed where it stands, a file where it lies.
        let places = [Some(self.program), self.program.parent()];
        let places = || places.into_iter().flatten();
        let found = places()
            .find_map(changeable_by_others)
            .map(|at| {
                let fix = format!("chmod o-w {}", at.display());
                (
                    Severity::Error,
                    "any user of this machine".to_owned(),
                    at,
                    fix,
                )
            })
            .or_else(|| {
                let (severity, allowed) = owners(fetchers);
                let (at, owner) =
                    places().find_map(|place| changeable_by_owner(place, &allowed))?;
                let fix = format!("chown root {}", at.display());
                Some((severity, format!("user {owner}"), at, fix))
            })
            .or_else(|| {
                let (at, group) = places().find_map(changeable_by_group)?;
                let fix = format!("chmod g-w {}", at.display());
                Some((Severity::Warning, format!("the group {group}"), at, fix))
            });
        let Some((severity, who, at, fix)) = found else {
            return;
        };
        let sentence = format!(
            "{who} can change {}, and turnabout runs {}",
            at.display(),
            self.program.display()
        );
        findings
            .add(severity, self.place.clone(), sentence)
            .fix(fix);
    }
}

/// Who may own what is run, and how grave it is if somebody else does. Without a unit that is started by itself it may
/// well be the owner who fetches, by cron for instance: nobody says so.
fn owners(fetchers: &[Fetcher]) -> (Severity, Vec<u32>) {
    let enabled = fetchers.iter().filter(|fetcher| fetcher.enabled);
    let enabled: Vec<u32> = enabled.map(|fetcher| fetcher.user.uid()).collect();
    if !enabled.is_empty() {
        return (Severity::Error, enabled);
    }
    let mut all: Vec<u32> = fetchers.iter().map(|fetcher| fetcher.user.uid()).collect();
    all.push(Uid::effective().as_raw());
    (Severity::Warning, all)
}
