//! The programs of other TLS libraries, as a test talks through them.

use std::fs;

use crate::lab::{CA, CERTIFICATE, Host, IMPLICIT_PORT, KEY, Mode, Program, Running, Script};

/// Where gnutls-cli says what is not part of the conversation.
const GNUTLS_LOG: &str = "/var/log/gnutls-cli";

/// Which program is the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    OpenSsl,
    GnuTls,
}

impl Client {
    /// Connects from `customer` to the provider and speaks up to the greeting; `more` are arguments of that program.
    /// The provider's certificate must be good.
    pub fn connect(self, customer: &Host, mode: Mode, more: &[&str]) -> Script {
        let port = mode.port().to_string();
        let program = match self {
            Self::OpenSsl => s_client(customer, mode, &port, more),
            Self::GnuTls => gnutls_cli(customer, mode, &port, more),
        };
        let mut script = Script::through(program);
        if mode == Mode::Implicit {
            script.reply("220");
        }
        script
    }

    /// Has the program send a `KeyUpdate`. Both take it for a command only if it stands alone in what they read at once.
    pub fn update_keys(self, script: &mut Script) {
        let command: &[u8] = match self {
            Self::OpenSsl => b"K\n",
            Self::GnuTls => b"^rekey^\n",
        };
        self.inline(script, command);
    }

    /// Has the program ask for a new handshake in the middle of the session, as TLS 1.2 knows it.
    pub fn renegotiate(self, script: &mut Script) {
        let command: &[u8] = match self {
            Self::OpenSsl => b"R\n",
            Self::GnuTls => b"^renegotiate^\n",
        };
        self.inline(script, command);
    }

    /// Ends the program; gives what it has said besides the conversation.
    pub fn end(self, script: &mut Script, customer: &Host) -> String {
        let program = script.program();
        program.close();
        let status = program.wait();
        let said = match self {
            Self::OpenSsl => program.complaints(),
            Self::GnuTls => customer.read(GNUTLS_LOG),
        };
        format!("{status}\n{said}")
    }

    /// What the program says when it has sent a `KeyUpdate`.
    pub fn has_updated(self) -> &'static str {
        match self {
            Self::OpenSsl => "KEYUPDATE\n",
            Self::GnuTls => "- Rekey was completed\n",
        }
    }

    /// What it says at an end without `close_notify`.
    pub fn misses_the_end(self) -> &'static str {
        match self {
            Self::OpenSsl => "unexpected eof",
            Self::GnuTls => "*** Fatal error",
        }
    }

    fn inline(self, script: &mut Script, command: &[u8]) {
        let pause = || std::thread::sleep(std::time::Duration::from_millis(100));
        pause();
        script.program().send(command);
        pause();
    }
}

/// Quiet, but with its one-letter commands, and gone at the end of its input.
fn s_client(customer: &Host, mode: Mode, port: &str, more: &[&str]) -> Program {
    let connect = format!("10.99.0.1:{port}");
    let mut arguments = vec!["s_client", "-quiet", "-no_ign_eof", "-connect", &connect];
    arguments.extend(["-CAfile", CA, "-verify_return_error"]);
    arguments.extend(["-verify_hostname", "provider.test"]);
    if mode == Mode::Starttls {
        arguments.extend(["-starttls", "smtp"]);
    }
    arguments.extend(more);
    customer.talk("s_client", "openssl", &arguments)
}

fn gnutls_cli(customer: &Host, mode: Mode, port: &str, more: &[&str]) -> Program {
    let file = format!("--x509cafile={CA}");
    let log = format!("--logfile={GNUTLS_LOG}");
    let mut arguments = vec!["--port", port, "--inline-commands", &file, &log];
    if mode == Mode::Starttls {
        arguments.push("--starttls-proto=smtp");
    }
    arguments.extend(more);
    arguments.push("provider.test");
    customer.talk("gnutls-cli", "gnutls-cli", &arguments)
}

/// `openssl s_server` as a provider with TLS from the first octet on. It is not quiet, because only then it knows the
/// command K for a `KeyUpdate`; so a line that begins with Q or R must not stand first in what is sent at once.
pub fn s_server(provider: &Host, more: &[&str]) -> Script {
    let accept = IMPLICIT_PORT.to_string();
    let mut arguments = vec!["s_server", "-accept", &accept, "-naccept", "1"];
    arguments.extend(["-cert", CERTIFICATE, "-key", KEY]);
    arguments.extend(more);
    let program = provider.talk("s_server", "openssl", &arguments);
    provider.wait_listening(IMPLICIT_PORT, std::time::Duration::from_secs(10));
    Script::through(program)
}

/// stunnel with one service; its log is stunnel.log of the host.
pub fn stunnel(host: &Host, port: u16, service: &str) -> Running {
    let file = "/etc/turnabout/stunnel.conf";
    let text = format!("foreground = yes\npid =\ndebug = info\n[smtp]\naccept = {port}\n{service}");
    fs::write(host.path(file), text).unwrap();
    let running = host.spawn("stunnel", "stunnel4", &[file]);
    host.wait_listening(port, std::time::Duration::from_secs(10));
    running
}
