//! A provider and a customer, each a real Postfix on a host of its own, and mail that goes from
//! one to the other in three ways.

use crate::hosts::{Host, Running, wait_until};
use crate::{process, provider};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// No transfer of ours takes longer than this, or something is broken.
const LIMIT: Duration = Duration::from_secs(300);

/// How the mail travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Postfix dials Postfix and keeps the connection: what turnabout is measured by.
    Direct,
    /// `turnabout fetch` dials `turnabout serve`; Postfix to Postfix on that connection.
    Turnabout,
    /// fetchmail dials `turnabout serve` and carries each message to the customer's port 25.
    Fetchmail,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Turnabout => "turnabout",
            Self::Fetchmail => "fetchmail",
        }
    }

    fn recipient(self) -> &'static str {
        match self {
            Self::Direct => "alice@example.com",
            Self::Turnabout | Self::Fetchmail => "alice@example.org",
        }
    }
}

/// What is in the queue at the start.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    pub messages: usize,
    /// Octets each.
    pub size: usize,
}

/// What one transfer cost.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// From the order to fetch (or to deliver) until the provider's queue is empty.
    pub seconds: f64,
    /// Processor seconds of everything on both hosts until the session's end.
    pub cpu: f64,
    /// Those of `turnabout serve` itself, and of the Postfix commands that it ran.
    pub serve: f64,
    pub commands: f64,
    /// Those of `turnabout fetch`.
    pub fetch: f64,
    /// The most memory each ever had, in KiB.
    pub serve_peak: u64,
    pub fetch_peak: u64,
}

/// Both hosts, and turnabout's provider running.
#[derive(Debug)]
pub struct Rig {
    // Dropped before the hosts.
    _serve: Running,
    serve_pid: u32,
    provider: Host,
    customer: Host,
    directory: PathBuf,
}

/// Beside the transport that operators are told to add, one that differs from it in its name
/// only. The next hop of the first is an address where nobody listens, of the second the customer's.
const PROVIDER: &str = "
cat >/etc/postfix/turnabout <<MAP
example.org odmr:[127.77.0.1]:2525
example.com direct:[10.99.0.2]:25
MAP
sed -n '/^odmr /,$ p' /etc/postfix/master.cf | sed 's/odmr/direct/' >>/etc/postfix/master.cf
postconf -e defer_transports=odmr,direct direct_destination_concurrency_limit=1
postfix reload
";

const ACCOUNT: &str = "[[account]]
user = \"alice\"
credential = \"{PLAIN}wonderland\"
domains = [\"example.org\"]
next_hop = \"[127.77.0.1]:2525\"
";

const FETCHMAIL: &str = "poll 10.99.0.1 proto odmr port 366 timeout 300
  user \"alice\" password \"wonderland\"
  fetchdomains example.org
  smtphost \"127.0.0.1/25\"
";

impl Rig {
    pub fn new(directory: &Path) -> Self {
        let provider = Host::start("postfix-provider", &directory.join("provider"), 1, None);
        let customer = Host::start(
            "postfix-customer",
            &directory.join("customer"),
            2,
            Some(&provider),
        );
        provider.shell(PROVIDER);
        let serve = Self::serve(directory, &provider);
        let serve_pid = {
            let found = || {
                process::tree(serve.pid()).into_iter().find(|pid| {
                    fs::read_to_string(format!("/proc/{pid}/comm"))
                        .is_ok_and(|name| name.trim() == "turnabout")
                })
            };
            wait_until("turnabout serve listens", Duration::from_secs(20), || {
                found().is_some() && connections(provider.first, 0x0A) > 0
            });
            found().unwrap()
        };
        for (name, text) in [("password", "wonderland\n"), ("fetchmailrc", FETCHMAIL)] {
            let file = directory.join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))
                .unwrap();
        }
        Self {
            _serve: serve,
            serve_pid,
            provider,
            customer,
            directory: directory.to_owned(),
        }
    }

    fn serve(directory: &Path, host: &Host) -> Running {
        let files = directory.join("serve");
        // Made by root in a place that Postfix's user can reach.
        fs::set_permissions(
            directory,
            std::os::unix::fs::PermissionsExt::from_mode(0o755),
        )
        .unwrap();
        let inside = provider::command(&files, "10.99.0.1:366", ACCOUNT, "");
        let mut command = host.command(provider::TURNABOUT);
        command.args(inside.get_args()).stdin(Stdio::null());
        command.stderr(File::create(directory.join("serve.log")).unwrap());
        Running::start("turnabout serve", &mut command)
    }

    /// Queues the batch, sends it that way, waits until all is delivered and quiet.
    pub fn transfer(&self, way: Way, batch: Batch) -> Transfer {
        self.queue(way, batch);
        let connected = self.connections_logged();
        let (before, serve_before) = (self.cpu(), process::cpu(self.serve_pid));
        let used = self.directory.join("used");
        drop(fs::remove_file(&used));
        let begin = Instant::now();
        let mut order = self.order(way, &used);
        let mut child = order.spawn().unwrap();
        wait_until("the queue is empty", LIMIT, || {
            is_empty(&self.provider.var("spool/postfix"), &QUEUES)
        });
        let seconds = begin.elapsed().as_secs_f64();
        let status = child.wait().unwrap();
        assert!(
            status.success(),
            "{} ended with {status}, see {}",
            way.name(),
            self.directory.display()
        );
        wait_until("the session is over", LIMIT, || {
            connections(self.provider.first, 0x01) == 0
        });
        wait_until("the customer has delivered", LIMIT, || {
            is_empty(&self.customer.var("spool/postfix"), &QUEUES)
        });
        let serve = process::cpu(self.serve_pid).since(serve_before);
        let fetch = process::read_timed(&used);
        let cpu = (self.cpu() - before + fetch.cpu).as_secs_f64();
        self.delivered(batch);
        let connections = self.connections_logged() - connected;
        assert!(
            way == Way::Fetchmail || connections == 1,
            "{} took {connections} connections, not one",
            way.name()
        );
        Transfer {
            seconds,
            cpu,
            serve: serve.own.as_secs_f64(),
            commands: serve.children.as_secs_f64(),
            fetch: fetch.cpu.as_secs_f64(),
            serve_peak: process::peak(self.serve_pid),
            fetch_peak: fetch.peak,
        }
    }

    /// The command that sets it going. What fetches is timed by this program, inside the host.
    fn order(&self, way: Way, used: &Path) -> Command {
        let program = std::env::current_exe().unwrap();
        let mut command = match way {
            Way::Direct => {
                let mut command = self.provider.command("postqueue");
                command.args(["-s", "example.com"]);
                command
            }
            Way::Turnabout => {
                let mut command = self.customer.command(program.to_str().unwrap());
                command.arg("timed").arg(used).arg(provider::TURNABOUT);
                command.args([
                    "fetch",
                    "--host",
                    "10.99.0.1",
                    "--port",
                    "366",
                    "--user",
                    "alice",
                ]);
                command
                    .arg("--password-file")
                    .arg(self.directory.join("password"));
                command.args(["--tls", "none"]);
                command.args(["--domains", "example.org", "--handoff", "postfix-pass"]);
                command.args(["--socket", "/var/spool/postfix/private/odmr"]);
                command
            }
            Way::Fetchmail => {
                let mut command = self.customer.command(program.to_str().unwrap());
                command
                    .arg("timed")
                    .arg(used)
                    .args(["fetchmail", "-f"])
                    .arg(self.directory.join("fetchmailrc"));
                command.env("FETCHMAILHOME", &self.directory);
                command
            }
        };
        let log = || {
            File::options()
                .create(true)
                .append(true)
                .open(self.directory.join("order.log"))
                .unwrap()
        };
        command.stdin(Stdio::null()).stdout(log()).stderr(log());
        command
    }

    /// Fills the provider's queue by SMTP and waits until all of it is deferred.
    fn queue(&self, way: Way, batch: Batch) {
        let Batch { messages, size } = batch;
        let to = way.recipient();
        // Forgets connections that are still in the cache: each transfer begins without one.
        self.provider.shell("postfix reload");
        self.provider.shell(&format!(
            "smtp-source -s 2 -m {messages} -l {size} -f sender@provider.test -t {to} 127.0.0.1:25"
        ));
        let spool = self.provider.var("spool/postfix");
        wait_until("the batch is queued", LIMIT, || {
            sleep(Duration::from_millis(50));
            is_empty(&spool, &["maildrop", "incoming", "active"])
                && files(&spool.join("deferred")) == messages
        });
        // What was written is on the disk, and nothing runs on from the time before.
        nix::unistd::sync();
        sleep(Duration::from_millis(1500));
    }

    /// All of it is in alice's Maildir; which is emptied for the next transfer.
    fn delivered(&self, batch: Batch) {
        let new = self.customer.var("mail/alice/Maildir/new");
        let mut count = 0;
        for file in fs::read_dir(&new).into_iter().flatten().flatten() {
            let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
            // On disk a line ends with one octet, on the wire with two.
            assert!(
                length * 50 >= batch.size * 49,
                "{length} octets arrived, {} were sent",
                batch.size
            );
            fs::remove_file(file.path()).unwrap();
            count += 1;
        }
        assert_eq!(count, batch.messages, "messages delivered");
    }

    /// Sessions that the customer's Postfix has had with the provider.
    fn connections_logged(&self) -> usize {
        let log = fs::read(self.customer.var("log/mail.log")).unwrap_or_default();
        String::from_utf8_lossy(&log)
            .matches(": connect from provider")
            .count()
    }

    fn cpu(&self) -> Duration {
        process::cpu_of_namespace(self.provider.first)
            + process::cpu_of_namespace(self.customer.first)
    }
}

/// In the order in which a message goes through them: looked at in any other order, one that moves
/// meanwhile could be overlooked.
const QUEUES: [&str; 4] = ["deferred", "maildrop", "incoming", "active"];

/// Looks only as far as the first file: this is asked often.
fn is_empty(spool: &Path, queues: &[&str]) -> bool {
    !queues.iter().any(|queue| holds_a_file(&spool.join(queue)))
}

fn holds_a_file(directory: &Path) -> bool {
    entries(directory).any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => holds_a_file(&entry.path()),
        Ok(_) => true,
        Err(_) => false,
    })
}

fn files(directory: &Path) -> usize {
    entries(directory)
        .map(|entry| {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                files(&entry.path())
            } else {
                1
            }
        })
        .sum()
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

/// How many sockets of port 366 the host has in this state (1 is established, 10 listening).
fn connections(pid: u32, state: u8) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let state = format!("{state:02X}");
    let port = format!(":{:04X}", SocketAddr::from(([0, 0, 0, 0], 366)).port());
    text.lines()
        .filter(|line| {
            let mut fields = line.split_whitespace().skip(1);
            fields.next().is_some_and(|local| local.ends_with(&port))
                && fields.nth(1) == Some(state.as_str())
        })
        .count()
}
