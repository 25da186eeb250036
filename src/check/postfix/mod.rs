//! Postfix, asked by its own programs: `postconf` for settings and services, `postmap` for tables.

pub(super) mod customer;
mod lists;
pub(super) mod provider;
mod relay_control;
mod routes;
mod transport;

pub(super) use lists::{joined, words};

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::machine;
use crate::config::Serve;
use crate::queue::{Answer, QueueError};

/// How many keys one `postmap` is asked for: what is written to it must fit into a pipe.
const AT_ONCE: usize = 200;

/// One Postfix instance and all it says of its settings.
#[derive(Debug)]
pub(super) struct Postfix {
    commands: PathBuf,
    config: Option<PathBuf>,
    main: HashMap<String, String>,
    services: Vec<Service>,
    /// What `-o` says in master.cf, by `name/type/parameter`.
    overrides: HashMap<String, String>,
}

/// One line of master.cf.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) name: String,
    pub(super) kind: String,
    /// The column `private`: `n` is a socket for everybody.
    pub(super) private: String,
    /// The program, without its arguments.
    pub(super) command: String,
}

impl Postfix {
    /// Asks for all settings at once.
    pub(super) async fn look(commands: &Path, config: Option<&Path>) -> Result<Self, QueueError> {
        let mut postfix = Self {
            commands: commands.to_owned(),
            config: config.map(Path::to_owned),
            main: HashMap::new(),
            services: Vec::new(),
            overrides: HashMap::new(),
        };
        let main = postfix.asked("postconf", &["-x"], Vec::new()).await?;
        postfix.main = main.output.lines().filter_map(setting).collect();
        let services = postfix.asked("postconf", &["-M"], Vec::new()).await?;
        postfix.services = services.output.lines().filter_map(service).collect();
        let overrides = postfix.asked("postconf", &["-x", "-P"], Vec::new()).await?;
        postfix.overrides = overrides.output.lines().filter_map(setting).collect();
        Ok(postfix)
    }

    /// A parameter of main.cf with its `$names` expanded; empty if Postfix does not know it.
    pub(super) fn main(&self, name: &str) -> &str {
        self.main.get(name).map_or("", String::as_str)
    }

    /// A parameter as it was written, `$names` as they are.
    pub(super) async fn as_written(&self, name: &str) -> Option<String> {
        let answer = self
            .asked("postconf", &["-h", name], Vec::new())
            .await
            .ok()?;
        Some(answer.output.trim().to_owned())
    }

    /// Whether main.cf sets it at all.
    pub(super) async fn is_set(&self, name: &str) -> bool {
        let answer = self.asked("postconf", &["-n", name], Vec::new()).await;
        answer.is_ok_and(|answer| !answer.output.trim().is_empty())
    }

    /// What holds in a service: its own `-o`, else main.cf.
    pub(super) fn effective(&self, service: &Service, name: &str) -> &str {
        let key = format!("{}/{}/{name}", service.name, service.kind);
        let own = self.overrides.get(&key).map(String::as_str);
        own.unwrap_or_else(|| self.main(name))
    }

    /// Services of this name, of any type.
    pub(super) fn services(&self, name: &str) -> impl Iterator<Item = &Service> {
        self.services
            .iter()
            .filter(move |service| service.name == name)
    }

    /// Where its configuration is, for what is said about it.
    pub(super) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.main("config_directory"))
    }

    /// Looks keys up in a table; what is not in it is not in the answer.
    pub(super) async fn lookup(
        &self,
        table: &str,
        keys: &[String],
    ) -> Result<HashMap<String, String>, String> {
        let mut found = HashMap::new();
        for some in keys.chunks(AT_ONCE) {
            let mut input = some.join("\n").into_bytes();
            input.push(b'\n');
            let answer = self
                .asked("postmap", &["-q", "-", table], input)
                .await
                .map_err(|error| error.to_string())?;
            if !answer.success && answer.said.contains("fatal:") {
                return Err(answer.said);
            }
            let pairs = answer
                .output
                .lines()
                .filter_map(|line| line.split_once('\t'));
            found.extend(pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned())));
        }
        Ok(found)
    }

    /// Everything in a table, if it is of a kind that tells.
    pub(super) async fn dump(&self, table: &str) -> Option<Vec<(String, String)>> {
        let answer = self
            .asked("postmap", &["-s", table], Vec::new())
            .await
            .ok()?;
        let pairs = answer
            .output
            .lines()
            .filter_map(|line| line.split_once('\t'));
        let pairs = pairs.map(|(key, value)| (key.to_owned(), value.trim().to_owned()));
        answer.success.then(|| pairs.collect())
    }

    /// Which of these domains Postfix receives no mail for, as long as mydestination is as it is set now.
    pub(super) async fn without_a_home(&self, domains: &[String]) -> Vec<String> {
        let mut homeless = domains.to_vec();
        for parameter in [
            "mydestination",
            "virtual_mailbox_domains",
            "virtual_alias_domains",
        ] {
            let inside = lists::members(self, self.main(parameter), &homeless, false).await;
            homeless.retain(|name| !inside.inside.contains(name));
        }
        homeless
    }

    async fn asked(
        &self,
        program: &str,
        arguments: &[&str],
        input: Vec<u8>,
    ) -> Result<Answer, QueueError> {
        let environment = self.config.iter().map(|path| ("MAIL_CONFIG", path.into()));
        let answer = machine::ask(
            &self.commands.join(program),
            arguments.iter().map(OsString::from).collect(),
            environment.collect(),
            input,
            "read the Postfix configuration",
        )
        .await?;
        if program == "postconf" && !answer.success {
            return Err(QueueError::Failed {
                what: "read the Postfix configuration",
                program: self.commands.join(program),
                status: "an error".to_owned(),
                said: answer.said,
            });
        }
        Ok(answer)
    }
}

/// `name = value`.
fn setting(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once('=')?;
    Some((name.trim().to_owned(), value.trim().to_owned()))
}

/// `odmr pass - - n - - smtpd -o ...`
fn service(line: &str) -> Option<Service> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let column = |index: usize| columns.get(index).map(|&text| text.to_owned());
    Some(Service {
        name: column(0)?,
        kind: column(1)?,
        private: column(2)?,
        command: column(7)?,
    })
}

/// The user that the provider's Postfix runs as.
pub(super) async fn owner(serve: &Serve) -> Option<String> {
    let keys = &serve.postfix;
    let program = keys.command_directory.join("postconf");
    let environment = keys.config_directory.iter();
    let environment = environment.map(|path| ("MAIL_CONFIG", path.into()));
    let answer = machine::ask(
        &program,
        vec!["-h".into(), "mail_owner".into()],
        environment.collect(),
        Vec::new(),
        "ask Postfix for its user",
    )
    .await
    .ok()?;
    let owner = answer.output.trim();
    (!owner.is_empty()).then(|| owner.to_owned())
}
