//! `turnabout probe`: a dry run against a provider.

use std::path::Path;

use super::{Exit, failed};
use crate::config::{self, ConfigError, Provider, ProviderOptions};
use crate::fetch::probe;

/// The arguments of `turnabout probe`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "No mail is taken, ever. Without a user nobody is logged in, and nothing secret is sent.\n\
    First try: turnabout probe odmr.example.net"
)]
pub(super) struct Args {
    /// A provider of the configuration file by its name, or any host.
    #[arg(value_name = "HOST")]
    host: String,

    /// Ask whether mail waits: turn, greet with 421 and take nothing.
    #[arg(long)]
    atrn: bool,

    /// Print one JSON object instead of a page.
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    options: Options,
}

/// What differs from the defaults; with one of these HOST is a host, whatever the configuration file has.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Without a configuration file")]
#[group(id = "options", multiple = true)]
struct Options {
    /// The port [default: 366].
    #[arg(long)]
    port: Option<u16>,

    /// How the connection is protected: starttls, implicit or none [default: starttls].
    #[arg(long, value_name = "KIND")]
    tls: Option<String>,

    /// Authorities to trust in place of the system's.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<String>,

    /// The provider's certificate: sha256: and its digest; several separated by commas.
    #[arg(long, value_name = "SHA256", value_delimiter = ',')]
    fingerprint: Vec<String>,

    /// Log in as this user.
    #[arg(long)]
    user: Option<String>,

    /// A file whose first line is the password, or - for standard input.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<String>,

    /// Log in with this certificate.
    #[arg(long, value_name = "FILE", requires = "user")]
    certificate: Option<String>,

    /// The private key of the certificate.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<String>,

    /// With --atrn: domains to ask for, separated by commas [default: all the provider has for this user].
    #[arg(long, value_name = "DOMAINS", value_delimiter = ',')]
    domains: Vec<String>,

    /// SASL mechanisms that may be used, separated by commas [default: all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',', requires = "user")]
    mechanisms: Vec<String>,

    /// With --tls none: use PLAIN or LOGIN if nothing better is offered, although anybody on the way can read the password.
    #[arg(long, requires = "user")]
    plaintext_without_tls: bool,

    /// The name to say EHLO with [default: this machine's, or its address].
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
}

impl Args {
    /// Probes one provider.
    pub(super) fn run(self, path: &Path) -> Exit {
        let (atrn, json) = (self.atrn, self.json);
        let provider = match self.provider(path) {
            Ok(provider) => provider,
            Err(error) => return failed(&error, Exit::Config),
        };
        let options = probe::Options {
            provider,
            atrn,
            json,
        };
        match probe::run(&options) {
            Ok(code) => exit(code),
            Err(error) => failed(&format!("cannot report the probe: {error}"), Exit::Internal),
        }
    }

    fn provider(self, path: &Path) -> Result<Provider, ConfigError> {
        if !self.options.any() && path.exists() {
            let config = config::load(path)?;
            let mut providers = config.providers.into_iter();
            if let Some(found) = providers.find(|provider| provider.name == self.host) {
                return Ok(found);
            }
        }
        let options = self.options;
        let user = options.user.clone();
        let given = ProviderOptions {
            host: Some(self.host),
            port: options.port,
            tls: options.tls,
            ca_file: options.ca_file,
            fingerprint: options.fingerprint,
            certificate: options.certificate,
            key: options.key,
            user: options.user,
            password_file: options.password_file,
            domains: options.domains,
            mechanisms: options.mechanisms,
            plaintext_without_tls: options.plaintext_without_tls,
            hostname: options.hostname,
            ..ProviderOptions::default()
        };
        match user {
            Some(_) => given.provider(),
            None => given.without_login(),
        }
    }
}

impl Options {
    fn any(&self) -> bool {
        let texts = [
            &self.tls,
            &self.ca_file,
            &self.user,
            &self.password_file,
            &self.certificate,
            &self.key,
            &self.hostname,
        ];
        let lists = [&self.fingerprint, &self.domains, &self.mechanisms];
        self.port.is_some()
            || self.plaintext_without_tls
            || texts.iter().any(|text| text.is_some())
            || lists.iter().any(|list| !list.is_empty())
    }
}

/// The exit code by its number.
fn exit(code: u8) -> Exit {
    let known = Exit::ALL.iter().find(|exit| exit.code() == code);
    known.copied().unwrap_or(Exit::Internal)
}
