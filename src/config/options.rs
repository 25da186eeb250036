//! A provider from options of the command line, for a first try without a file.

use super::error::ConfigError;
use super::keys::{self, Key, Table};
use super::provider::{Common, Provider};
use super::section::Section;
use super::tree::{self, Entry, Node, Origin, Value};
use super::values;

/// Options for one fetch; what is not given has the default of its key in `[providers.NAME]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProviderOptions {
    /// Key `host`.
    pub host: Option<String>,
    /// Key `port`.
    pub port: Option<u16>,
    /// Key `tls`.
    pub tls: Option<String>,
    /// Key `ca_file`.
    pub ca_file: Option<String>,
    /// Key `fingerprint`.
    pub fingerprint: Vec<String>,
    /// Key `certificate`.
    pub certificate: Option<String>,
    /// Key `key`.
    pub key: Option<String>,
    /// Key `handoff_tls`.
    pub handoff_tls: Option<String>,
    /// Key `user`.
    pub user: Option<String>,
    /// Key `password_file`; `-` is standard input.
    pub password_file: Option<String>,
    /// Key `domains`.
    pub domains: Vec<String>,
    /// Key `mechanisms`.
    pub mechanisms: Vec<String>,
    /// Key `plaintext_without_tls`.
    pub plaintext_without_tls: bool,
    /// Key `handoff`.
    pub handoff: Option<String>,
    /// Key `socket`.
    pub socket: Option<String>,
    /// Key `receiver_uid`.
    pub receiver_uid: Option<u32>,
    /// Key `command`.
    pub command: Vec<String>,
    /// Key `command_user`.
    pub command_user: Option<String>,
    /// Key `command_peer`.
    pub command_peer: Option<String>,
    /// Key `relay_to`.
    pub relay_to: Option<String>,
    /// Key `proxy`.
    pub proxy: Option<String>,
    /// Key `i_know`.
    pub i_know: bool,
    /// Key `hostname` of `[fetch]`.
    pub hostname: Option<String>,
}

impl ProviderOptions {
    /// The provider these options describe, checked as a file would be.
    ///
    /// # Errors
    /// The first option that is missing or wrong.
    pub fn provider(self) -> Result<Provider, ConfigError> {
        let name = self.host.clone().unwrap_or_default();
        let hostname = match &self.hostname {
            Some(name) => Some(values::ehlo_name(name).map_err(|fault| {
                ConfigError::new("use", "--hostname", fault.cause, fault.advice)
            })?),
            None => super::hostname::qualified().ok(),
        };
        let nothing = tree::Table::default();
        let fetch = Section::open(&Origin::Options, Table::Fetch, "fetch", &nothing, 0)?;
        let common = Common {
            hostname,
            ..Common::read(&fetch)?
        };
        let table = self.table();
        let section = Section::open(&Origin::Options, Table::Provider, "options", &table, 0)?;
        Provider::read(&name, &section, common)
    }

    /// The same for who logs nobody in: no user, no password, no mechanism. Nothing secret can be sent by it.
    ///
    /// # Errors
    /// The first option that is missing or wrong.
    pub fn without_login(mut self) -> Result<Provider, ConfigError> {
        // The table has no provider without a login: these are taken away again.
        self.user = Some("nobody".to_owned());
        self.password_file = Some("-".to_owned());
        self.certificate = None;
        self.key = None;
        let mut provider = self.provider()?;
        provider.user = String::new();
        provider.secret = None;
        provider.mechanisms = Vec::new();
        Ok(provider)
    }

    fn table(self) -> tree::Table {
        let text = |text: Option<String>| text.map(Value::Text);
        let list = |items: Vec<String>| {
            let nodes = items.into_iter().map(|item| node(Value::Text(item)));
            let nodes: Vec<Node> = nodes.collect();
            (!nodes.is_empty()).then_some(Value::List(nodes))
        };
        let pairs: [(&Key, Option<Value>); 22] = [
            (&keys::HOST, text(self.host)),
            (
                &keys::PORT,
                self.port.map(|port| Value::Number(port.into())),
            ),
            (&keys::TLS, text(self.tls)),
            (&keys::CA_FILE, text(self.ca_file)),
            (&keys::FINGERPRINT, list(self.fingerprint)),
            (&keys::CERTIFICATE, text(self.certificate)),
            (&keys::KEY, text(self.key)),
            (&keys::HANDOFF_TLS, text(self.handoff_tls)),
            (&keys::USER, text(self.user)),
            (&keys::PASSWORD_FILE, text(self.password_file)),
            (&keys::DOMAINS, list(self.domains)),
            (&keys::MECHANISMS, list(self.mechanisms)),
            (
                &keys::PLAINTEXT,
                self.plaintext_without_tls.then_some(Value::Switch(true)),
            ),
            (&keys::HANDOFF, text(self.handoff)),
            (&keys::SOCKET, text(self.socket)),
            (
                &keys::RECEIVER_UID,
                self.receiver_uid.map(|uid| Value::Number(uid.into())),
            ),
            (&keys::COMMAND, list(self.command)),
            (&keys::COMMAND_USER, text(self.command_user)),
            (&keys::COMMAND_PEER, text(self.command_peer)),
            (&keys::RELAY_TO, text(self.relay_to)),
            (&keys::PROXY, text(self.proxy)),
            (&keys::I_KNOW, self.i_know.then_some(Value::Switch(true))),
        ];
        let entries = pairs
            .into_iter()
            .filter_map(|(key, value)| {
                Some(Entry {
                    at: 0,
                    name: key.name.to_owned(),
                    node: node(value?),
                })
            })
            .collect();
        tree::Table { entries }
    }
}

fn node(value: Value) -> Node {
    Node { at: 0, value }
}
