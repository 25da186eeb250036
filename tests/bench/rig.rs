//! A provider and a customer, each a real Postfix on a host of its own, and between them whatever
//! the ways need: turnabout's provider, stunnel, orders to fetchmail.

use crate::certificate::Certificate;
use crate::hosts::{Host, Running, wait_until};
use crate::provider::{Serve, TURNABOUT};
use crate::way::{Carriage, PROVIDER, TLS_CUSTOMER, TLS_PROVIDER, Way};
use crate::{kernel, process};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const ACCOUNT: &str = "[[account]]
user = \"alice\"
credential = \"{PLAIN}wonderland\"
domains = [\"example.org\"]
next_hop = \"[127.77.0.1]:24\"
";

/// Where stunnel listens inside the customer's host.
const STUNNEL: u16 = 3366;

/// Both hosts, and turnabout's provider running, once for each carriage.
#[derive(Debug)]
pub struct Rig {
    // Dropped before the hosts.
    serving: Vec<Serving>,
    stunnel: Option<Running>,
    pub provider: Host,
    pub customer: Host,
    certificate: Option<Certificate>,
    pub directory: PathBuf,
}

/// One `turnabout serve`.
#[derive(Debug)]
pub struct Serving {
    carriage: Carriage,
    _running: Running,
    /// The process itself, which the command line's `nsenter` has started.
    pub pid: u32,
    pub log: PathBuf,
}

impl Rig {
    /// Without TLS.
    pub fn plain(directory: &Path) -> Self {
        let mut rig = Self::hosts(directory);
        rig.serve(Carriage::Plain);
        rig.fetchmail("10.99.0.1", Carriage::Plain.port());
        rig
    }

    /// With TLS: in the relay, and in the kernel where the running one can.
    pub fn tls(directory: &Path) -> Self {
        let mut rig = Self::hosts(directory);
        let certificate = Certificate::make(directory);
        rig.provider.shell(TLS_PROVIDER);
        rig.customer.shell(
            &TLS_CUSTOMER
                .replace("KEY", certificate.key.to_str().unwrap())
                .replace("CERTIFICATE", certificate.certificate.to_str().unwrap()),
        );
        rig.certificate = Some(certificate);
        rig.serve(Carriage::Relay);
        if kernel::speaks_tls() {
            rig.serve(Carriage::Kernel);
        }
        rig.start_stunnel(Carriage::Relay.port());
        rig.fetchmail("127.0.0.1", STUNNEL);
        rig
    }

    fn hosts(directory: &Path) -> Self {
        // Made by root in a place that Postfix's user can reach.
        let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(directory, open).unwrap();
        let provider = Host::start("postfix-provider", &directory.join("provider"), 1, None);
        let customer = Host::start(
            "postfix-customer",
            &directory.join("customer"),
            2,
            Some(&provider),
        );
        provider.shell(PROVIDER);
        private(&directory.join("password"), "wonderland\n");
        Self {
            serving: Vec::new(),
            stunnel: None,
            provider,
            customer,
            certificate: None,
            directory: directory.to_owned(),
        }
    }

    fn serve(&mut self, carriage: Carriage) {
        let files = self.directory.join(format!("serve-{}", carriage.name()));
        let inside = Serve {
            listen: &format!("10.99.0.1:{}", carriage.port()),
            accounts: ACCOUNT,
            limits: "",
            tls: self
                .certificate
                .as_ref()
                .map(|certificate| (certificate, carriage)),
        }
        .command(&files);
        let log = files.join("log");
        let mut command = self.provider.command(TURNABOUT);
        command.args(inside.get_args()).stdin(Stdio::null());
        command.stderr(File::create(&log).unwrap());
        let mut running = Running::start("turnabout serve", &mut command);
        let inside = |pid: u32| {
            process::tree(pid).into_iter().find(|pid| {
                fs::read_to_string(format!("/proc/{pid}/comm"))
                    .is_ok_and(|name| name.trim() == "turnabout")
            })
        };
        let mut found = None;
        wait_until("turnabout serve listens", Duration::from_secs(60), || {
            running.must_run(&log);
            found = inside(running.pid());
            found.is_some() && self.connections(carriage, LISTEN) > 0
        });
        let pid = found.unwrap();
        self.serving.push(Serving {
            carriage,
            _running: running,
            pid,
            log,
        });
    }

    /// As an operator sets it up who has no TLS in the program that fetches.
    fn start_stunnel(&mut self, port: u16) {
        let authority = &self.certificate.as_ref().unwrap().authority;
        let file = self.directory.join("stunnel.conf");
        let text = format!(
            "foreground = yes
debug = err
[odmr]
client = yes
accept = 127.0.0.1:{STUNNEL}
connect = 10.99.0.1:{port}
protocol = smtp
verifyChain = yes
CAfile = {}
checkHost = provider.test
",
            authority.display()
        );
        fs::write(&file, text).unwrap();
        let mut command = self.customer.command("stunnel");
        command.arg(&file).stdin(Stdio::null());
        command.stderr(File::create(self.directory.join("stunnel.log")).unwrap());
        self.stunnel = Some(Running::start("stunnel", &mut command));
    }

    fn fetchmail(&self, host: &str, port: u16) {
        let text = format!(
            "poll {host} proto odmr port {port} timeout 300
  user \"alice\" password \"wonderland\"
  fetchdomains example.org
  smtphost \"127.0.0.1/25\"
"
        );
        private(&self.directory.join("fetchmailrc"), &text);
    }

    /// The carriages there are.
    pub fn carriages(&self) -> impl Iterator<Item = Carriage> {
        self.serving.iter().map(|serving| serving.carriage)
    }

    pub fn serving(&self, way: Way) -> Option<&Serving> {
        let wanted = way.carriage()?;
        self.serving
            .iter()
            .find(|serving| serving.carriage == wanted)
    }

    /// The command that sets it going. What fetches is timed by this program, inside the host.
    pub fn order(&self, way: Way, used: &Path) -> Command {
        let timed = || {
            let program = std::env::current_exe().unwrap();
            let mut command = self.customer.command(program.to_str().unwrap());
            command.arg("timed").arg(used);
            command
        };
        let mut command = match way {
            Way::Direct | Way::OwnTls | Way::OwnTlsKept => {
                let mut command = self.provider.command("postqueue");
                command.args(["-s", way.domain()]);
                command
            }
            Way::Turnabout(carriage) => {
                let mut command = timed();
                let port = carriage.port().to_string();
                command.args([TURNABOUT, "fetch", "--host", "10.99.0.1", "--port", &port]);
                command.args(["--user", "alice", "--password-file"]);
                command.arg(self.directory.join("password"));
                command.args(["--domains", "example.org", "--handoff", "postfix-pass"]);
                command.args(["--socket", "/var/spool/postfix/private/odmr"]);
                match &self.certificate {
                    None => command.args(["--tls", "none"]),
                    Some(files) => command
                        .args(["--handoff-tls", carriage.name(), "--ca-file"])
                        .arg(&files.authority),
                };
                command
            }
            Way::Fetchmail(_) => {
                let mut command = timed();
                command
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

    /// How many sockets of the carriage's port the provider has in this state.
    pub fn connections(&self, carriage: Carriage, state: u8) -> usize {
        let file = format!("/proc/{}/net/tcp", self.provider.first);
        let text = fs::read_to_string(file).unwrap_or_default();
        let state = format!("{state:02X}");
        let port = format!(":{:04X}", carriage.port());
        text.lines()
            .filter(|line| {
                let mut fields = line.split_whitespace().skip(1);
                fields.next().is_some_and(|local| local.ends_with(&port))
                    && fields.nth(1) == Some(state.as_str())
            })
            .count()
    }
}

/// States of a socket, as the kernel numbers them.
pub const ESTABLISHED: u8 = 0x01;
const LISTEN: u8 = 0x0A;

/// A file that only root reads.
fn private(file: &Path, text: &str) {
    fs::write(file, text).unwrap();
    fs::set_permissions(file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}
