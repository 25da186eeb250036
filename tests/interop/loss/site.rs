//! A provider and a customer, both with Postfix, and the proxy between them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustls::SupportedProtocolVersion;
use rustls::version::TLS13;

use crate::lab::{Authority, Host, Lab, Mode, Mta, Running, wait_for};

use super::middle::Middle;
use super::scissors::Scissors;

/// For everything that ends by itself, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// The places where Postfix keeps mail.
const SPOOL: [&str; 4] = ["maildrop", "incoming", "active", "deferred"];

/// What kind of connection there is between the two.
#[derive(Debug, Clone, Copy)]
pub enum Link {
    Plain,
    /// TLS of one version; turnabout is to carry the octets itself.
    Relayed(Mode, &'static SupportedProtocolVersion),
    /// TLS 1.3, and the mail servers have the connection: the kernel encrypts.
    InKernel(Mode),
}

impl Link {
    /// Tells both sides; gives the provider's address and what the proxy needs.
    fn set_up(self, provider: &Host, customer: &Host) -> (&'static str, Option<Middle>) {
        let (carrier, mode, version) = match self {
            Self::Plain => return ("10.99.0.1:366", None),
            Self::Relayed(mode, version) => ("\"relay\"", mode, version),
            Self::InKernel(mode) => ("\"kernel\"", mode, &TLS13),
        };
        let authority = Authority::new();
        provider.serve_with_tls(&authority);
        provider.set("serve", &[("handoff_tls", carrier)]);
        customer.fetch_with_tls(&authority, mode);
        // The proxy cannot take part in a login that is bound to the connection, as it should be.
        let settings = [
            ("port", "3660"),
            ("handoff_tls", carrier),
            ("mechanisms", "[\"PLAIN\"]"),
        ];
        customer.set("providers.isp", &settings);
        let middle = Middle::new(mode, version, &authority.issue(&["10.99.0.2"]));
        let provider_at = match mode {
            Mode::Starttls => "10.99.0.1:366",
            Mode::Implicit => "10.99.0.1:3661",
        };
        (provider_at, Some(middle))
    }
}

#[derive(Debug)]
pub struct Site {
    pub scissors: Scissors,
    pub serve: Running,
    pub customer: Host,
    pub provider: Host,
    /// Sessions of a `turnabout serve` that was killed.
    dead: BTreeSet<String>,
    /// Sessions of smtpd(8) that were killed.
    killed: usize,
    _lab: Lab,
}

impl Site {
    /// Everybody waits no longer than `patience` seconds for the other side. `settings`: more of them for the provider's
    /// Postfix.
    pub fn with(patience: u32, settings: &[&str]) -> Self {
        Self::over(Link::Plain, patience, settings)
    }

    /// The same with the kind of connection that there is between them.
    pub fn over(link: Link, patience: u32, settings: &[&str]) -> Self {
        let mut lab = Lab::new();
        let provider = lab.provider(Mta::Postfix);
        let customer = lab.customer(Mta::Postfix);
        let times: Vec<String> = "connect helo mail rcpt data_init data_xfer data_done rset quit"
            .split(' ')
            .map(|time| format!("smtp_{time}_timeout={patience}s"))
            .collect();
        provider.postconf(
            &[
                settings,
                &times.iter().map(String::as_str).collect::<Vec<_>>(),
            ]
            .concat(),
        );
        customer.postconf(&[&format!("smtpd_timeout={patience}s")]);
        append(
            &provider,
            &format!(
                "[serve.limits]\ncommand_time = \"{patience}s\"\nlogin_time = \"{patience}s\"\ngreeting_time = \"{patience}s\"\n"
            ),
        );
        customer.edit(
            "/etc/turnabout/turnabout.toml",
            "\"provider.test\"",
            "\"10.99.0.2\"\nport = 3660",
        );
        append(&customer, &format!("command_time = \"{patience}s\"\n"));
        let (provider_at, middle) = link.set_up(&provider, &customer);
        if middle.is_some() {
            let patience = format!("\"{patience}s\"");
            provider.set("serve.limits", &[("handshake_time", &patience)]);
        }
        let serve = provider.serve();
        let scissors = Scissors::new(&customer, "10.99.0.2:3660", provider_at, middle);
        Self {
            scissors,
            serve,
            customer,
            provider,
            dead: BTreeSet::new(),
            killed: 0,
            _lab: lab,
        }
    }

    /// One more fetch, in which nothing happens: the provider must have nothing left.
    pub fn fetch_all(&self) {
        let connection = self.scissors.next(None);
        let mut fetch = self.customer.start_fetch();
        fetch.wait(SOON);
        connection.over(SOON);
        self.settle();
        let left = waiting(&self.provider);
        assert!(left.is_empty(), "left behind: {left:?}\n{}", fetch.log());
    }

    /// SIGKILL for `turnabout serve`; its open sessions will never be closed in the log.
    pub fn kill_serve(&mut self) {
        self.serve.kill();
        self.dead.extend(self.sessions(" logged in "));
    }

    /// Starts `turnabout serve` again.
    pub fn serve_again(&mut self) {
        self.serve = self.provider.serve();
    }

    /// Stops the customer's Postfix, which kills its sessions without a word in its log.
    pub fn stop_customer(&mut self) {
        self.customer.run("postfix", &["stop"]);
        self.killed = self.connects() - self.smtpd_lines("]: disconnect from");
    }

    /// How many connections the customer's Postfix has had from its `pass` service.
    pub fn connects(&self) -> usize {
        self.smtpd_lines("]: connect from")
    }

    fn smtpd_lines(&self, words: &str) -> usize {
        let log = self.customer.mail_log();
        log.lines()
            .filter(|line| line.contains("postfix/odmr/smtpd") && line.contains(words))
            .count()
    }

    /// Waits until nobody is at work on any message: no session at either mail server, no session of turnabout's.
    pub fn settle(&self) {
        wait_for("end of all sessions", SOON, || {
            let open: BTreeSet<String> =
                &(&self.sessions(" logged in ") - &self.sessions(" end=")) - &self.dead;
            (open.is_empty()
                && self.connects() == self.smtpd_lines("]: disconnect from") + self.killed)
                .then_some(())
        });
        self.settle_queues();
    }

    /// The ids of the provider's sessions that have a line with these words.
    fn sessions(&self, words: &str) -> BTreeSet<String> {
        let log = self.serve.log();
        let lines = log.lines().filter(|line| line.contains(words));
        lines
            .filter_map(|line| {
                Some(
                    line.split(" session=")
                        .nth(1)?
                        .split(' ')
                        .next()?
                        .to_owned(),
                )
            })
            .collect()
    }

    /// Waits until Postfix has delivered on the customer's side and put off on the provider's.
    pub fn settle_queues(&self) {
        wait_for("customer's queue delivered", SOON, || {
            (spooled(&self.customer) == 0).then_some(())
        });
        // After a reload the queue manager leaves a message alone that its predecessor was at, until somebody asks for it.
        let (mut last, mut since) = (0, Instant::now());
        wait_for("provider's queue at rest", SOON, || {
            let [entering, active] =
                [&SPOOL[..2], &SPOOL[2..3]].map(|queues| in_queues(&self.provider, queues));
            if entering + active != last {
                (last, since) = (entering + active, Instant::now());
            }
            (entering + active == 0 || active == 0 && since.elapsed() > Duration::from_secs(2))
                .then_some(())
        });
    }
}

fn append(host: &Host, text: &str) {
    let file = "/etc/turnabout/turnabout.toml";
    fs::write(host.path(file), host.read(file) + text).unwrap();
}

/// The messages that a Postfix has still to deliver, by the name in their sender. A queue file of which every recipient
/// is done with may stay for a while, when the queue manager was restarted at the wrong moment.
pub fn waiting(host: &Host) -> BTreeSet<String> {
    let listing = host.run("postqueue", &["-j"]);
    let entries = listing
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    entries
        .filter(|entry| {
            entry["recipients"]
                .as_array()
                .is_some_and(|recipients| !recipients.is_empty())
        })
        .map(|entry| {
            entry["sender"]
                .as_str()
                .unwrap()
                .split('@')
                .next()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// How many messages a Postfix has in its queue.
pub fn spooled(host: &Host) -> usize {
    in_queues(host, &SPOOL)
}

fn in_queues(host: &Host, queues: &[&str]) -> usize {
    queues
        .iter()
        .map(|queue| files(&host.path(&format!("/var/spool/postfix/{queue}"))))
        .sum()
}

/// Complete queue files: those that are still being written are not executable.
fn files(directory: &Path) -> usize {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(about) if about.is_dir() => files(&entry.path()),
            Ok(about) => usize::from(about.permissions().mode() & 0o100 != 0),
            Err(_) => 0,
        })
        .sum()
}
