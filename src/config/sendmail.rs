//! Postfix's `sendmail -bs` is not a way to receive mail from a network.

use std::fs;
use std::path::Path;

/// True if this command line, the program and its arguments, is `sendmail -bs` of Postfix.
///
/// That program takes whoever talks to it for a local user: its smtpd skips every access check, so a
/// turned connection given to it is an open relay for the provider. Sendmail's own `sendmail -bs`, and
/// Exim's, look at the peer and are fine; so the program itself decides, not its name alone: Postfix's
/// submits by `postdrop`, and has that name inside. A program that cannot be read is Postfix's if
/// `postconf` stands beside it.
pub fn is_postfix_sendmail_bs(command: &[String]) -> bool {
    let Some((program, arguments)) = command.split_first() else {
        return false;
    };
    asks_for_bs(arguments) && is_postfix_sendmail(Path::new(program))
}

/// `-bs` in the ways getopt(3) accepts it: also behind flags without a value, or as `-b s`.
fn asks_for_bs(arguments: &[String]) -> bool {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(flags) = argument.strip_prefix('-') else {
            continue;
        };
        match flags.split_once('b') {
            Some((_, "")) => return arguments.next().is_some_and(|mode| mode.starts_with('s')),
            Some((_, mode)) if mode.starts_with('s') => return true,
            _ => {}
        }
    }
    false
}

fn is_postfix_sendmail(program: &Path) -> bool {
    let real = fs::canonicalize(program).unwrap_or_else(|_| program.to_owned());
    let named_sendmail = |path: &Path| {
        path.file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name == "sendmail" || name == "sendmail.postfix")
    };
    if !named_sendmail(&real) {
        return false;
    }
    match fs::read(&real) {
        Ok(octets) => octets.windows(POSTDROP.len()).any(|part| part == POSTDROP),
        Err(_) => real.with_file_name("postconf").exists(),
    }
}

const POSTDROP: &[u8] = b"postdrop";
