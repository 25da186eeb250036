//! Programs that start turnabout for a connection, or for a port, inside a host of the lab.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::lab::{Host, IMPLICIT_PORT, Running, turnabout};

/// The ports that are listened on: one in the clear, one for TLS from the first octet on.
pub const PORTS: [u16; 2] = [366, IMPLICIT_PORT];

/// Who starts it, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Starter {
    /// openbsd-inetd, a process for each connection.
    InetdNowait,
    /// openbsd-inetd, a process that gets the listening socket.
    InetdWait,
    Xinetd,
    /// ucspi-tcp.
    Tcpserver,
    /// systemd's `Accept=yes`.
    SystemdAccept,
    /// systemd's `Accept=yes` with `StandardInput=socket`.
    SystemdStdin,
    /// systemd's `Accept=no`, two sockets with names.
    SystemdListen,
}

impl Starter {
    /// Whether a process serves one connection and ends.
    pub fn is_for_one(self) -> bool {
        !matches!(self, Self::InetdWait | Self::SystemdListen)
    }

    /// Starts it, and waits until it listens.
    pub fn start(self, host: &Host) -> Vec<Running> {
        let running = self.spawn(host);
        for port in PORTS {
            host.wait_listening(port, Duration::from_secs(10));
        }
        running
    }

    fn spawn(self, host: &Host) -> Vec<Running> {
        let (inetd, xinetd) = (place("usr/sbin/inetd"), place("usr/sbin/xinetd"));
        match self {
            Self::InetdNowait | Self::InetdWait => {
                let wait = if self == Self::InetdWait {
                    "wait"
                } else {
                    "nowait"
                };
                let lines = PORTS.map(|port| {
                    let program = turnabout();
                    format!("0.0.0.0:{port} stream tcp {wait} root {program} turnabout serve\n")
                });
                fs::write(host.path("/etc/inetd-odmr.conf"), lines.concat()).unwrap();
                vec![host.spawn("starter", &inetd, &["-i", "/etc/inetd-odmr.conf"])]
            }
            Self::Xinetd => {
                let services = PORTS.map(|port| {
                    let program = turnabout();
                    format!(
                        "service odmr-{port}\n{{\n type = UNLISTED\n socket_type = stream\n protocol = tcp\n \
                         port = {port}\n wait = no\n user = root\n server = {program}\n server_args = serve\n}}\n"
                    )
                });
                fs::write(host.path("/etc/xinetd-odmr.conf"), services.concat()).unwrap();
                let arguments = ["-dontfork", "-f", "/etc/xinetd-odmr.conf"];
                vec![host.spawn("starter", &xinetd, &arguments)]
            }
            Self::Tcpserver => {
                let tcpserver = place("usr/bin/tcpserver");
                let start = |port: u16| {
                    let port = port.to_string();
                    let what = ["-v", "-R", "-H", "-l0", "0", &port, turnabout(), "serve"];
                    host.spawn("starter", &tcpserver, &what)
                };
                PORTS.map(start).into()
            }
            Self::SystemdAccept => vec![systemd(host, &["--accept"])],
            Self::SystemdStdin => vec![systemd(host, &["--accept", "--inetd"])],
            Self::SystemdListen => vec![systemd(host, &["--fdname=odmr:odmr-tls"])],
        }
    }
}

/// The program by which systemd lets its socket activation be tried.
fn systemd(host: &Host, options: &[&str]) -> Running {
    let [clear, tls] = PORTS.map(|port| format!("0.0.0.0:{port}"));
    let mut what = vec!["-l", &clear, "-l", &tls];
    what.extend(options);
    what.extend([turnabout(), "serve"]);
    host.spawn("starter", "systemd-socket-activate", &what)
}

/// Where a starter is unpacked; contrib/test has fetched it, otherwise it is fetched now.
pub fn place(program: &str) -> String {
    let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/lab");
    let output = Command::new(lab).arg("starters").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let cache = String::from_utf8(output.stdout).unwrap();
    let program = Path::new(cache.trim()).join(program);
    program.to_str().unwrap().to_owned()
}
