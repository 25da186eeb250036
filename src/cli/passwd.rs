//! `turnabout passwd`: makes, changes and removes accounts without disturbing the rest of the file.
//!
//! The new file is written beside the old one, read back as the service will read it, and only then renamed over
//! it; meanwhile the directory is locked, so that of two runs at once neither loses its change.

mod edit;
mod target;

use crate::accounts::{AccountsError, CredentialError, Scheme};
use crate::sasl::{SaslError, Secret, prepare};
use crate::smtp::Domain;
use crate::smtp::next_hop::NextHop;
use std::fmt;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use target::Target;
use zeroize::Zeroizing;

/// Make, change or remove the account of a customer.
///
/// The password is asked for twice on a terminal, and read as one line from standard input otherwise.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The accounts file [default: the one that the configuration file names]
    #[arg(long, value_name = "FILE")]
    pub accounts: Option<PathBuf>,
    /// The customer's user name
    pub user: String,
    /// How to store the password: SCRAM-SHA-256, SCRAM-SHA-1, ARGON2ID, SHA512-CRYPT, YESCRYPT, or PLAIN, which
    /// CRAM-MD5 needs [default: as before, SCRAM-SHA-256 for a new account]
    #[arg(long, value_name = "SCHEME")]
    pub scheme: Option<Scheme>,
    /// The domains the customer may fetch, with commas between; needed for a new account
    #[arg(long, value_name = "DOMAIN,...", value_delimiter = ',')]
    pub domains: Vec<Domain>,
    /// The next hop of the customer's domains in the mail server, like [127.77.0.1]:24; needed for a new account
    #[arg(long, value_name = "[ADDRESS]:PORT")]
    pub next_hop: Option<NextHop>,
    /// Remove the account
    #[arg(long, conflicts_with_all = ["scheme", "domains", "next_hop"])]
    pub delete: bool,
}

/// What was done, for a word to the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// A new account.
    Added(String),
    /// A new password, and perhaps more, for an account there was.
    Changed(String),
    /// An account less.
    Removed(String),
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, user) = match self {
            Self::Added(user) => ("added", user),
            Self::Changed(user) => ("changed", user),
            Self::Removed(user) => ("removed", user),
        };
        write!(f, "{verb} {user:?} (a running service reads it at SIGHUP)")
    }
}

/// Why nothing was changed. The file is as it was.
#[derive(Debug, thiserror::Error)]
pub enum PasswdError {
    /// The user's name or the password cannot be used.
    #[error("cannot take this {what}: {cause}")]
    Unusable {
        /// User name or password.
        what: &'static str,
        /// Why.
        cause: SaslError,
    },
    /// No password was given, or not the same one twice.
    #[error("cannot read the password: {0}")]
    NoPassword(String),
    /// A new account lacks something.
    #[error(
        "cannot add {user:?}: there is no such account yet (give {missing} too, or check the name)"
    )]
    Incomplete {
        /// The user's name.
        user: String,
        /// The options that are missing.
        missing: &'static str,
    },
    /// There is nothing to remove.
    #[error("cannot remove {0:?}: there is no such account (check the name)")]
    NoSuchAccount(String),
    /// The accounts file cannot be read, or would not be readable after the change.
    #[error(transparent)]
    Accounts(#[from] AccountsError),
    /// The password cannot be stored in this scheme.
    #[error("cannot store the password: {0} (choose another --scheme)")]
    Credential(#[from] CredentialError),
    /// The accounts are written in a way that is read, but not changed.
    #[error(
        "cannot change {}: its accounts are not [[account]] tables (write each account under a line [[account]])", path.display()
    )]
    Inline {
        /// The accounts file.
        path: PathBuf,
    },
    /// The new file cannot be written.
    #[error("cannot write {}: {cause} (check the directory's owner and free space)", path.display())]
    Write {
        /// The accounts file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
}

/// Runs the command: asks for the password on the terminal or takes it from standard input.
///
/// # Errors
/// [`PasswdError`]; the accounts file is unchanged then.
pub fn run(args: &Args, accounts: &Path) -> Result<Done, PasswdError> {
    run_with(args, accounts, ask)
}

/// Runs the command with another way to get the password; it is asked for once, before anything is locked.
///
/// # Errors
/// [`PasswdError`]; the accounts file is unchanged then.
pub fn run_with(
    args: &Args,
    accounts: &Path,
    ask: impl FnOnce() -> Result<Secret, PasswdError>,
) -> Result<Done, PasswdError> {
    let user = prepare("user name", &args.user).map_err(|cause| PasswdError::Unusable {
        what: "user name",
        cause,
    })?;
    let user = user.expose();
    let target = Target::new(accounts)?;
    // A first look before the question, so that nobody types a password in vain.
    edit::edit(&target.read()?, args, accounts, user, None)?;
    let password = if args.delete { None } else { Some(ask()?) };
    let password = password
        .map(|password| prepare("password", password.expose()))
        .transpose()
        .map_err(|cause| PasswdError::Unusable {
            what: "password",
            cause,
        })?;
    let lock = target.lock()?;
    let (text, done) = edit::edit(&target.read()?, args, accounts, user, password.as_ref())?;
    target.replace(&lock, &text)?;
    Ok(done)
}

/// Gets the password from the operator.
fn ask() -> Result<Secret, PasswdError> {
    let failed = |error: io::Error| PasswdError::NoPassword(error.to_string());
    if io::stdin().is_terminal() {
        let first = Secret::from(rpassword::prompt_password("Password: ").map_err(failed)?);
        let again = Secret::from(rpassword::prompt_password("Once more: ").map_err(failed)?);
        if first != again {
            let cause = "the two are not the same (nothing is changed)";
            return Err(PasswdError::NoPassword(cause.to_owned()));
        }
        return Ok(first);
    }
    one_line(io::stdin().lock())
}

/// Reads a password as one line; more than a line is somebody's mistake.
///
/// # Errors
/// [`PasswdError::NoPassword`].
pub fn one_line(input: impl Read) -> Result<Secret, PasswdError> {
    let refused = |cause: &str| PasswdError::NoPassword(cause.to_owned());
    // The capacity keeps the text from moving and leaving copies behind.
    let mut text = Zeroizing::new(String::with_capacity(2048));
    io::BufReader::new(input.take(1024))
        .read_to_string(&mut text)
        .map_err(|error| PasswdError::NoPassword(error.to_string()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() {
        return Err(refused(
            "standard input is empty (give the password as one line)",
        ));
    }
    if line.contains(['\n', '\r']) {
        return Err(refused("standard input has more than one line (give one)"));
    }
    Ok(Secret::from(line))
}
