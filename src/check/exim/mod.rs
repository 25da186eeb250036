//! Exim, asked by itself: its options (`-bP`), its routing (`-bt`), its retry rules (`-brt`), and a whole session that
//! is not for real (`-bh`).

pub(super) mod customer;
pub(super) mod provider;
mod retries;
mod routes;

use std::collections::HashMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use super::finding::Findings;
use super::machine;
use crate::config::Serve;
use crate::queue::{Answer, QueueError};

/// An address of a stranger: it is nobody's (RFC 5737).
pub(super) const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// A domain that nobody has (RFC 2606).
const FOREIGN: &str = "postmaster@turnabout-check.invalid";

/// How many addresses one question has.
const AT_ONCE: usize = 50;

/// One Exim.
#[derive(Debug)]
pub(super) struct Exim {
    command: PathBuf,
    /// The arguments that choose its configuration.
    chosen: Vec<OsString>,
}

/// Where Exim sends an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Way {
    /// What it says of an address that it cannot deliver.
    pub(super) trouble: Option<String>,
    pub(super) router: String,
    pub(super) transport: String,
    /// The addresses of the hosts.
    pub(super) hosts: Vec<IpAddr>,
}

/// Replies of a session that was not for real.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// The lines of the reply to EHLO.
    pub(super) offer: Vec<String>,
    /// The replies to the recipients, in their order, the last one's to a foreign domain.
    pub(super) recipients: Vec<String>,
    pub(super) foreign: Option<String>,
    /// The greeting, if it is a refusal.
    pub(super) refused: Option<String>,
}

impl Replies {
    /// Is this what a foreign domain is told as well, so that it is the domain that is not welcome? Otherwise it may be
    /// the recipient that was tried.
    pub(super) fn is_as_foreign(&self, reply: &str) -> bool {
        self.foreign.as_deref() == Some(reply)
    }
}

impl Exim {
    pub(super) fn new(command: &Path, chosen: Vec<OsString>) -> Self {
        Self {
            command: command.to_owned(),
            chosen,
        }
    }

    /// Options of the main section by these names, or of one driver: `["transport", "odmr"]`. Switches are `true` and
    /// `false`.
    pub(super) async fn options(
        &self,
        names: &[&str],
    ) -> Result<HashMap<String, String>, QueueError> {
        let arguments: Vec<&str> = std::iter::once("-bP")
            .chain(names.iter().copied())
            .collect();
        let answer = self.asked(&arguments, String::new()).await?;
        Ok(answer.output.lines().filter_map(option).collect())
    }

    /// The names of all routers, in their order.
    pub(super) async fn routers(&self) -> Result<Vec<String>, QueueError> {
        let answer = self.asked(&["-bP", "router_list"], String::new()).await?;
        Ok(answer
            .output
            .lines()
            .map(|line| line.trim().to_owned())
            .collect())
    }

    /// Where mail for `postmaster` at each of these domains goes.
    pub(super) async fn ways(
        &self,
        domains: &[String],
    ) -> Result<HashMap<String, Way>, QueueError> {
        let mut ways = HashMap::new();
        for some in domains.chunks(AT_ONCE) {
            let addresses: Vec<String> = some
                .iter()
                .map(|domain| format!("postmaster@{domain}"))
                .collect();
            let arguments: Vec<&str> = std::iter::once("-bt")
                .chain(addresses.iter().map(String::as_str))
                .collect();
            let answer = self.asked(&arguments, String::new()).await?;
            ways.extend(read_ways(&answer.output));
        }
        Ok(ways)
    }

    /// The retry rule for mail to a domain; empty if there is none.
    pub(super) async fn retry_rule(&self, domain: &str) -> Result<String, QueueError> {
        let address = format!("postmaster@{domain}");
        let answer = self.asked(&["-brt", &address], String::new()).await?;
        let rule = answer
            .output
            .lines()
            .find_map(|line| line.strip_prefix("Retry rule: "));
        Ok(rule.unwrap_or_default().trim().to_owned())
    }

    /// What a list of domains, as an option has it, says of each of these.
    pub(super) async fn has(
        &self,
        list: &str,
        domains: &[String],
    ) -> Result<Vec<bool>, QueueError> {
        let mut all = Vec::new();
        for some in domains.chunks(AT_ONCE) {
            let questions: Vec<String> = some
                .iter()
                .map(|domain| format!("${{if match_domain{{{domain}}}{{{list}}}{{yes}}{{no}}}}"))
                .collect();
            let arguments: Vec<&str> = std::iter::once("-be")
                .chain(questions.iter().map(String::as_str))
                .collect();
            let answer = self.asked(&arguments, String::new()).await?;
            all.extend(answer.output.lines().map(|line| line == "yes"));
        }
        Ok(all)
    }

    /// Such a session, or a finding of why it says nothing about `what`.
    pub(super) async fn seen(
        &self,
        (peer, domains): (IpAddr, &[String]),
        (place, what): (&str, &str),
        findings: &mut Findings,
    ) -> Option<Replies> {
        let replies = match self.session(peer, domains).await {
            Ok(replies) => replies,
            Err(error) => {
                findings.note(place, error.to_string()).end();
                return None;
            }
        };
        let Some(refused) = &replies.refused else {
            return Some(replies);
        };
        findings
            .warning(
                place,
                format!("{what} could not be seen: it says \"{refused}\" to {peer}"),
            )
            .end();
        None
    }

    /// A session as if from `peer`, on a port of ours as a turned connection has it: mail to these domains, and to one
    /// that is nobody's. Exim delivers nothing and logs nothing.
    async fn session(&self, peer: IpAddr, domains: &[String]) -> Result<Replies, QueueError> {
        let mut all = Replies::default();
        for some in domains.chunks(AT_ONCE) {
            let mut said = String::from("EHLO turnabout-check.invalid\r\nMAIL FROM:<>\r\n");
            for domain in some {
                said.push_str(&format!("RCPT TO:<postmaster@{domain}>\r\n"));
            }
            said.push_str(&format!("RCPT TO:<{FOREIGN}>\r\nQUIT\r\n"));
            let peer = format!("{peer}.366");
            let answer = self
                .asked(&["-bh", &peer, "-oMi", "192.0.2.2.40000"], said)
                .await?;
            read_replies(&answer.output, some.len(), &mut all);
        }
        Ok(all)
    }

    async fn asked(&self, arguments: &[&str], input: String) -> Result<Answer, QueueError> {
        let chosen = self.chosen.iter().cloned();
        let answer = machine::ask(
            &self.command,
            chosen.chain(arguments.iter().map(OsString::from)).collect(),
            Vec::new(),
            input.into_bytes(),
            "ask Exim for its settings",
        )
        .await?;
        // -bt and -brt end with 1 or 2 where an address cannot be delivered; a configuration that is broken says so.
        if !answer.success && answer.output.trim().is_empty() {
            return Err(QueueError::Failed {
                what: "ask Exim for its settings",
                program: self.command.clone(),
                status: "an error".to_owned(),
                said: answer.said,
            });
        }
        Ok(answer)
    }
}

/// `name = value`, `name`, `no_name`.
fn option(line: &str) -> Option<(String, String)> {
    if let Some((name, value)) = line.split_once('=') {
        return Some((name.trim().to_owned(), value.trim().to_owned()));
    }
    let name = line.trim();
    if name.is_empty() || name.contains(' ') {
        return None;
    }
    Some(match name.strip_prefix("no_") {
        Some(name) => (name.to_owned(), "false".to_owned()),
        None => (name.to_owned(), "true".to_owned()),
    })
}

/// What `-bt` prints, by the domain that was asked for.
fn read_ways(output: &str) -> HashMap<String, Way> {
    let mut ways: HashMap<String, Way> = HashMap::new();
    let (mut domain, mut way) = (String::new(), Way::default());
    for line in output.lines() {
        let text = line.trim();
        if !line.starts_with(' ') {
            let (address, trouble) = match text.split_once(' ') {
                Some((address, trouble)) => (address, Some(trouble.to_owned())),
                None => (text, None),
            };
            domain = domain_of(address);
            way = Way {
                trouble,
                ..Way::default()
            };
        } else if let Some(original) = text.strip_prefix("<-- ") {
            domain = domain_of(original);
        } else if let Some(rest) = text.strip_prefix("router = ") {
            let (router, transport) = rest.split_once(", transport = ").unwrap_or((rest, ""));
            way.router = router.to_owned();
            way.transport = transport.to_owned();
        } else if text.starts_with("host ") {
            let inside = text
                .split_once('[')
                .and_then(|(_, rest)| rest.split_once(']'));
            way.hosts
                .extend(inside.and_then(|(ip, _)| ip.parse::<IpAddr>().ok()));
        }
        ways.insert(domain.clone(), way.clone());
    }
    ways
}

fn domain_of(address: &str) -> String {
    let domain = address.rsplit('@').next().unwrap_or(address);
    domain.trim_end_matches(':').to_ascii_lowercase()
}

/// What Exim answers to: the connection, EHLO, MAIL, so many recipients and a foreign one, QUIT.
fn read_replies(output: &str, recipients: usize, all: &mut Replies) {
    let mut lines = output
        .lines()
        .map(str::trim_end)
        .filter(|line| line.len() >= 3 && line.chars().take(3).all(|c| c.is_ascii_digit()));
    let mut reply = || {
        let mut whole = Vec::new();
        for line in lines.by_ref() {
            whole.push(line.to_owned());
            if line.chars().nth(3) != Some('-') {
                break;
            }
        }
        whole
    };
    let greeting = reply().pop().unwrap_or_default();
    if !greeting.starts_with('2') {
        all.refused = Some(greeting);
        return;
    }
    all.offer = reply();
    let mail = reply().pop().unwrap_or_default();
    if !mail.starts_with('2') {
        all.refused = Some(mail);
        return;
    }
    for _ in 0..recipients {
        all.recipients.push(reply().pop().unwrap_or_default());
    }
    all.foreign = reply().pop().or(all.foreign.take());
}

/// The user that the provider's Exim runs as.
pub(super) async fn owner(serve: &Serve) -> Option<String> {
    let exim = Exim::new(&serve.exim.command, Vec::new());
    exim.options(&["exim_user"]).await.ok()?.remove("exim_user")
}

#[cfg(test)]
mod tests {
    use super::{Replies, option, read_replies, read_ways};

    #[test]
    fn options_are_read_with_and_without_a_value() {
        let read = |line| option(line).map(|(name, value)| format!("{name}:{value}"));
        assert_eq!(read("port = 24").as_deref(), Some("port:24"));
        assert_eq!(
            read("hosts_try_fastopen = ").as_deref(),
            Some("hosts_try_fastopen:")
        );
        assert_eq!(read("no_more").as_deref(), Some("more:false"));
        assert_eq!(read("message_logs").as_deref(), Some("message_logs:true"));
        assert_eq!(read("transport none not found"), None);
    }

    #[test]
    fn ways_are_read_by_the_domain_that_was_asked_for() {
        let ways = read_ways(
            "postmaster@example.org\n  router = odmr, transport = odmr\n  host 127.77.0.1 [127.77.0.1]\n\
             alice@here.test\n    <-- postmaster@example.com\n  router = mailboxes, transport = maildir\n\
             postmaster@other.test is undeliverable: Unrouteable address\n",
        );
        let way = |domain| ways.get(domain).cloned().unwrap_or_default();
        let one = way("example.org");
        assert_eq!(
            (one.router.as_str(), one.transport.as_str()),
            ("odmr", "odmr")
        );
        assert_eq!(one.hosts, [std::net::IpAddr::from([127, 77, 0, 1])]);
        assert_eq!(way("example.com").transport, "maildir");
        let trouble = Some("is undeliverable: Unrouteable address");
        assert_eq!(way("other.test").trouble.as_deref(), trouble);
    }

    #[test]
    fn replies_are_read_in_their_order() {
        let mut replies = Replies::default();
        let output = "\n**** SMTP testing session as if from host 192.0.2.1\n\n220 h ESMTP\n250-h Hello\n250-SIZE\n\
                      250 HELP\n250 OK\n250 Accepted\n550 relay not permitted\n221 bye\n";
        read_replies(output, 1, &mut replies);
        assert_eq!(replies.offer.len(), 3);
        assert_eq!(replies.recipients, ["250 Accepted"]);
        assert_eq!(replies.foreign.as_deref(), Some("550 relay not permitted"));
    }
}
