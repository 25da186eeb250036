//! What a probe has found: a page for a person, one object for a program.

use super::finding::{Finding, Kind};
use crate::config::Provider;
use crate::fetch::report::End;
use crate::fetch::stop::Stop;
use crate::report;
use crate::smtp::{Offer, Reply};
use crate::tls::{Certificate, Facts};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Whether somebody was logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Login {
    /// There was no user, or it did not come to that.
    NotTried,
    /// User and password are right.
    Accepted,
    /// They are not.
    Refused,
}

/// Whether mail waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mail {
    /// ATRN was not said, or was not answered with yes or no.
    Unknown,
    /// The provider turned.
    Waiting,
    /// 453.
    None,
}

/// What TLS has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TlsReport {
    /// `TLS1.2` or `TLS1.3`.
    pub version: String,
    /// The cipher suite by its registered name.
    pub cipher: &'static str,
    /// The names and addresses that the certificate is for.
    pub names: Option<String>,
    /// Its first moment, as `2026-11-22T18:00:00Z`.
    pub not_before: Option<String>,
    /// Its last.
    pub not_after: Option<String>,
    /// Its SHA-256, as the key `fingerprint` takes it.
    pub fingerprint: Option<String>,
    /// A fetch would go on.
    pub trusted: bool,
}

impl TlsReport {
    pub(super) fn of(facts: &Facts) -> Self {
        let certificate = facts.peer.as_ref().map(|peer| Certificate::of(&peer.der));
        let told = |get: fn(&Certificate) -> Option<String>| certificate.as_ref().and_then(get);
        Self {
            version: facts.version.to_string(),
            cipher: facts.cipher,
            names: told(|one| one.names.clone()),
            not_before: told(|one| one.from.clone()),
            not_after: told(|one| one.until.clone()),
            fingerprint: told(|one| Some(one.fingerprint.to_string())),
            trusted: true,
        }
    }
}

/// The report of one probe.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The provider's name in the configuration, or its host.
    pub provider: String,
    /// The host that was dialled.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The address that answered, with its port.
    pub peer: Option<String>,
    /// The greeting.
    pub greeting: Option<String>,
    /// The lines of the offer in the clear, without the name.
    pub offered_in_clear: Option<Vec<String>>,
    /// What TLS has shown.
    pub tls: Option<TlsReport>,
    /// The lines of the offer under TLS, without the name.
    pub offered_in_tls: Option<Vec<String>>,
    /// The mechanisms in the last offer.
    pub mechanisms: Vec<String>,
    /// The login name, if one was given.
    pub user: Option<String>,
    /// The mechanism that was used.
    pub mechanism: Option<String>,
    /// Whether the login was accepted.
    pub login: Login,
    /// Whether mail waits.
    pub mail: Mail,
    /// What deviates, and what else is good to know.
    pub findings: Vec<Finding>,
    /// From the dialling to the end, in seconds.
    pub seconds: f64,
    /// The exit code that a fetch would have.
    pub exit: u8,
    /// One sentence that says more.
    pub text: String,
    /// Nobody is asked about mail without the option.
    #[serde(skip)]
    pub(super) asked: bool,
}

impl Report {
    pub(super) fn new(provider: &Provider, asked: bool) -> Self {
        let named = !provider.user.is_empty();
        Self {
            provider: provider.name.clone(),
            host: provider.host.clone(),
            port: provider.port,
            peer: None,
            greeting: None,
            offered_in_clear: None,
            tls: None,
            offered_in_tls: None,
            mechanisms: Vec::new(),
            user: named.then(|| provider.user.clone()),
            mechanism: None,
            login: Login::NotTried,
            mail: Mail::Unknown,
            findings: Vec::new(),
            seconds: 0.0,
            exit: 0,
            text: String::new(),
            asked,
        }
    }

    pub(super) fn greeting(&mut self, reply: &Reply) {
        self.greeting = Some(report::safe(&reply.to_string()).to_string());
    }

    pub(super) fn offer(&mut self, reply: &Reply, offer: &Offer, under_tls: bool) {
        let shown = |text: &String| report::safe(text).to_string();
        let lines = reply.lines.iter().skip(1).map(shown).collect();
        if under_tls {
            self.offered_in_tls = Some(lines);
        } else {
            self.offered_in_clear = Some(lines);
        }
        self.mechanisms = offer.auth.iter().map(shown).collect();
    }

    pub(super) fn well(&mut self) {
        self.text = match (self.mail, self.login) {
            (Mail::Waiting, _) => "mail waits, nothing was taken",
            (Mail::None, _) => "no mail waits",
            (Mail::Unknown, Login::Accepted) => "the login works; ATRN was not said",
            (Mail::Unknown, _) => "nothing but EHLO was asked, since no user was given",
        }
        .to_owned();
    }

    pub(super) fn failed(&mut self, Stop(end, text): Stop) {
        self.exit = End::exit_code(end);
        self.text = text;
    }

    pub(super) fn ended(mut self, after: Duration) -> Self {
        self.seconds = (after.as_secs_f64() * 1000.0).round() / 1000.0;
        self
    }

    /// The rows of the page.
    fn rows(&self) -> Vec<(&'static str, String)> {
        let mut rows = Vec::new();
        let mut row = |name, text: Option<String>| rows.extend(text.map(|text| (name, text)));
        let list = |lines: &Vec<String>| match lines.len() {
            0 => "nothing".to_owned(),
            _ => lines.join(", "),
        };
        row("address", self.peer.clone());
        row("greeting", self.greeting.clone());
        row("in clear", self.offered_in_clear.as_ref().map(list));
        if let Some(tls) = &self.tls {
            let unknown = || "?".to_owned();
            row("tls", Some(format!("{} {}", tls.version, tls.cipher)));
            let names = tls.names.clone().unwrap_or_else(unknown);
            row("certificate", Some(format!("for {names}")));
            let from = tls.not_before.clone().unwrap_or_else(unknown);
            let until = tls.not_after.clone().unwrap_or_else(unknown);
            row("valid", Some(format!("from {from} until {until}")));
            row("fingerprint", tls.fingerprint.clone());
            let trusted = if tls.trusted { "yes" } else { "no, see below" };
            row("trusted", Some(trusted.to_owned()));
        }
        row("in tls", self.offered_in_tls.as_ref().map(list));
        if self.offered_in_clear.is_some() || self.offered_in_tls.is_some() {
            row("mechanisms", Some(list(&self.mechanisms)));
        }
        row("login", Some(self.login_words()));
        row("mail", Some(self.mail_words().to_owned()));
        for finding in &self.findings {
            let name = match finding.kind {
                Kind::Deviates => "deviates",
                Kind::Note => "note",
            };
            row(name, Some(finding.to_string()));
        }
        row(
            "result",
            Some(format!(
                "{} (exit {}, {:.1} s)",
                self.text, self.exit, self.seconds
            )),
        );
        rows
    }

    fn login_words(&self) -> String {
        let with = self.mechanism.as_deref().unwrap_or("no mechanism");
        match (&self.user, self.login) {
            (None, _) => "not tried, no user was given".to_owned(),
            (Some(user), Login::NotTried) => format!("{user}: not tried"),
            (Some(user), Login::Accepted) => format!("{user}: accepted with {with}"),
            (Some(user), Login::Refused) => format!("{user}: refused with {with}"),
        }
    }

    fn mail_words(&self) -> &'static str {
        match self.mail {
            Mail::Waiting => "waits",
            Mail::None => "none",
            Mail::Unknown if self.asked => "not told",
            Mail::Unknown => "not asked (--atrn asks)",
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} port {}", self.host, self.port)?;
        for (name, text) in self.rows() {
            writeln!(f, "  {name:<13}{text}")?;
        }
        Ok(())
    }
}
