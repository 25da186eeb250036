//! `turnabout fetch`: be the customer.

use std::path::{Path, PathBuf};

use super::{Exit, failed, fetch_now};
use crate::config::{self, ConfigError, Provider, ProviderOptions};
use crate::fetch::{self, DaemonError, DaemonOptions, End};

/// The arguments of `turnabout fetch`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A provider comes from the configuration file by its name, or from the options.\n\
    First try: turnabout fetch --host odmr.example.net --user alice --password-file - --handoff exec -- /usr/sbin/exim4 -bs"
)]
pub(super) struct Args {
    /// Providers of the configuration file to fetch from.
    #[arg(value_name = "NAME", conflicts_with_all = ["all", "options"], required_unless_present_any = ["all", "host", "daemon", "now"])]
    names: Vec<String>,

    /// Fetch from every provider of the configuration file.
    #[arg(long, conflicts_with = "options")]
    all: bool,

    /// Stay, and fetch again and again at the times of the configuration file, from all providers unless some are named.
    #[arg(long, conflicts_with_all = ["all", "json", "options"])]
    daemon: bool,

    /// Have the running daemon fetch now, and report how that ends.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["names", "all", "daemon", "options"])]
    now: Option<String>,

    /// Report the end of each fetch as one JSON object on standard output.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: Options,
}

/// One provider without a configuration file.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Without a configuration file")]
#[group(id = "options")]
struct Options {
    /// The provider's name or address.
    #[arg(long, requires = "user")]
    host: Option<String>,

    /// The provider's port [default: 366].
    #[arg(long, requires = "host")]
    port: Option<u16>,

    /// How the connection is protected: starttls, implicit or none [default: starttls].
    #[arg(long, value_name = "KIND", requires = "host")]
    tls: Option<String>,

    /// Authorities to trust in place of the system's.
    #[arg(long, value_name = "FILE", requires = "host")]
    ca_file: Option<String>,

    /// The provider's certificate: sha256: and its digest; several separated by commas.
    #[arg(long, value_name = "SHA256", value_delimiter = ',', requires = "host")]
    fingerprint: Vec<String>,

    /// The customer's own certificate.
    #[arg(long, value_name = "FILE", requires = "host")]
    certificate: Option<String>,

    /// The private key of the customer's own certificate.
    #[arg(long, value_name = "FILE", requires = "host")]
    key: Option<String>,

    /// Who encrypts after the turn: auto, kernel or relay [default: auto].
    #[arg(long, value_name = "WHO", requires = "host")]
    handoff_tls: Option<String>,

    /// The user name to authenticate with.
    #[arg(long, requires = "host")]
    user: Option<String>,

    /// A file whose first line is the password, or - for standard input.
    #[arg(
        long,
        value_name = "FILE",
        requires = "host",
        required_unless_present_any = ["names", "all", "daemon", "now", "certificate"]
    )]
    password_file: Option<String>,

    /// Domains to ask for, separated by commas [default: all the provider has for this user].
    #[arg(long, value_name = "DOMAINS", value_delimiter = ',', requires = "host")]
    domains: Vec<String>,

    /// SASL mechanisms that may be used, separated by commas [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "host")]
    mechanisms: Vec<String>,

    /// With --tls none: use PLAIN or LOGIN if nothing better is offered, although anybody on the way can read the password.
    #[arg(long, requires = "host")]
    plaintext_without_tls: bool,

    /// How the connection reaches the mail server: postfix-pass, exec, catch or relay [default: postfix-pass].
    #[arg(long, value_name = "KIND", requires = "host")]
    handoff: Option<String>,

    /// With postfix-pass: the socket of Postfix's service of type pass. With catch: that of turnabout catch.
    #[arg(long, value_name = "SOCKET", requires = "host")]
    socket: Option<String>,

    /// With catch: the user with this number runs it [default: root, our own, or the owner of the socket's directory].
    #[arg(long, value_name = "UID", requires = "host")]
    receiver_uid: Option<u32>,

    /// With exec: the user to run the command as.
    #[arg(long, value_name = "USER", requires = "host")]
    command_user: Option<String>,

    /// With exec and the relay: how the command learns the provider's address, exim or environment.
    #[arg(long, value_name = "KIND", requires = "host")]
    command_peer: Option<String>,

    /// With relay: where the mail server listens, ADDRESS:PORT or unix:PATH.
    #[arg(long, value_name = "ADDRESS", requires = "host")]
    relay_to: Option<String>,

    /// With relay: the version of the PROXY header, v1, v2 or none [default: v2].
    #[arg(long, value_name = "VERSION", requires = "host")]
    proxy: Option<String>,

    /// With --proxy none, or a provider at the end of a tunnel: the mail server may take it for this machine.
    #[arg(long, requires = "host")]
    i_know: bool,

    /// The name to say EHLO with [default: this machine's, or its address].
    #[arg(long, value_name = "NAME", requires = "host")]
    hostname: Option<String>,

    /// With exec: the program, by its absolute path, and its arguments.
    #[arg(last = true, value_name = "COMMAND", requires = "host")]
    command: Vec<String>,
}

impl Args {
    /// Fetches from one or more providers.
    pub(super) fn run(self, path: &Path) -> Exit {
        let json = self.json;
        if let Some(name) = &self.now {
            return fetch_now::run(path, name, json);
        }
        if self.daemon {
            return daemon(&DaemonOptions {
                config_file: path.to_owned(),
                names: self.names,
            });
        }
        match self.providers(path) {
            Ok((providers, metrics_file)) => start(fetch::Options {
                providers,
                json,
                metrics_file,
            }),
            Err(error) => failed(&error, Exit::Config),
        }
    }

    /// The providers to fetch from, in the order they were named, and the file for their metrics.
    fn providers(self, path: &Path) -> Result<(Vec<Provider>, Option<PathBuf>), ConfigError> {
        if self.options.host.is_some() {
            return Ok((vec![self.options.provider()?], None));
        }
        let config = config::load(path)?;
        let metrics_file = config.fetch_desk.metrics_file.clone();
        let providers = if self.all {
            config.all_providers(path)?
        } else {
            config.named_providers(path, &self.names)?
        };
        Ok((providers, metrics_file))
    }
}

impl Options {
    fn provider(self) -> Result<Provider, ConfigError> {
        ProviderOptions {
            host: self.host,
            port: self.port,
            tls: self.tls,
            ca_file: self.ca_file,
            fingerprint: self.fingerprint,
            certificate: self.certificate,
            key: self.key,
            handoff_tls: self.handoff_tls,
            user: self.user,
            password_file: self.password_file,
            domains: self.domains,
            mechanisms: self.mechanisms,
            plaintext_without_tls: self.plaintext_without_tls,
            handoff: self.handoff,
            socket: self.socket,
            command: self.command,
            command_user: self.command_user,
            command_peer: self.command_peer,
            relay_to: self.relay_to,
            proxy: self.proxy,
            i_know: self.i_know,
            receiver_uid: self.receiver_uid,
            hostname: self.hostname,
        }
        .provider()
    }
}

/// Fetches from all of them at the same time; the exit code is the gravest.
fn start(options: fetch::Options) -> Exit {
    match fetch::run(options) {
        Ok(ends) => ends.into_iter().map(exit).fold(Exit::Done, Exit::graver),
        Err(error) => failed(&format!("cannot report the fetch: {error}"), Exit::Internal),
    }
}

/// Fetches until told to stop.
fn daemon(options: &DaemonOptions) -> Exit {
    match fetch::daemon(options) {
        Ok(()) => Exit::Done,
        Err(error) => {
            let exit = match &error {
                DaemonError::Config(_) => Exit::Config,
                DaemonError::Metrics(..) => Exit::Unavailable,
                DaemonError::System(_) => Exit::Internal,
            };
            failed(&error, exit)
        }
    }
}

/// The exit code of one fetch.
fn exit(end: End) -> Exit {
    match end {
        End::Fetched | End::NoMail => Exit::Done,
        End::Unreachable => Exit::Unavailable,
        End::TryLater => Exit::TryLater,
        End::Protocol => Exit::Protocol,
        End::Refused => Exit::Refused,
        End::Configuration => Exit::Config,
    }
}
