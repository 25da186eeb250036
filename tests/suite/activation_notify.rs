//! What a service manager hears of a standing server.

use crate::driver::{Inetd, Peer, Setup, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;
use std::time::Duration;

/// The manager's end, and what it has heard so far, a message a line list.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    fn new(inetd: &Inetd) -> (Manager, String) {
        let path = inetd.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        // systemd's is open to every user.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let path = path.to_str().unwrap().to_owned();
        let heard = Vec::new();
        (Manager { socket, heard }, path)
    }

    /// Waits for a message in which all of these are.
    fn hears(&mut self, words: &[&str]) -> String {
        until(&format!("{words:?}"), || {
            let mut octets = [0; 2048];
            if let Ok(count) = self.socket.recv(&mut octets) {
                let text = String::from_utf8(octets[..count].to_vec()).unwrap();
                self.heard.push(text);
            }
            let found = self.heard.iter().position(|text| {
                words
                    .iter()
                    .all(|word| text.lines().any(|line| line.starts_with(word)))
            })?;
            // What came before it is past.
            self.heard.drain(..found);
            Some(self.heard.remove(0))
        })
    }
}

#[test]
fn a_service_manager_hears_ready_status_watchdog_reloading_and_stopping() {
    let inetd = Inetd::new(&Setup::default());
    let (mut manager, path) = Manager::new(&inetd);
    let mut command = inetd.command();
    command
        .env("NOTIFY_SOCKET", path)
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let one = inetd.run(command);
    manager.hears(&["READY=1", "STATUS=0 connected"]);
    let log = one.log();
    let ready = log.lines().find(|line| line.contains(" ready ")).unwrap();
    let address = ready
        .split([' ', '='])
        .find_map(|word| word.parse().ok())
        .unwrap();
    manager.hears(&["WATCHDOG=1"]);
    manager.hears(&["WATCHDOG=1"]);
    let peer = Peer::greeted(address);
    manager.hears(&["STATUS=1 connected, 0 being served; 1 connections"]);
    drop(peer);
    manager.hears(&["STATUS=0 connected"]);
    let pid = Pid::from_raw(one.id().try_into().unwrap());
    // A reload that fails is over as well; what is in use goes on.
    for broken in [false, true] {
        if broken {
            std::fs::write(inetd.path("turnabout.toml"), "nonsense").unwrap();
        }
        let before = microseconds();
        kill(pid, Signal::SIGHUP).unwrap();
        let text = manager.hears(&["RELOADING=1", "MONOTONIC_USEC="]);
        let said = text
            .lines()
            .find_map(|line| line.strip_prefix("MONOTONIC_USEC="))
            .unwrap();
        let said: i64 = said.parse().unwrap();
        assert!((before..=microseconds()).contains(&said), "{said}");
        manager.hears(&["READY=1"]);
    }
    one.logged("cannot reload");
    kill(pid, Signal::SIGTERM).unwrap();
    manager.hears(&["STOPPING=1", "EXTEND_TIMEOUT_USEC=320000000"]);
    assert_eq!(one.ended().0.code(), Some(0));
}

fn microseconds() -> i64 {
    let now = sd_notify::NotifyState::monotonic_usec_now().unwrap();
    let now = now.to_string();
    now.rsplit('=').next().unwrap().parse().unwrap()
}

#[test]
fn a_watchdog_that_is_somebody_elses_is_not_fed() {
    let inetd = Inetd::new(&Setup::default());
    let (mut manager, path) = Manager::new(&inetd);
    let mut command = inetd.command();
    command
        .env("NOTIFY_SOCKET", path)
        .env("WATCHDOG_USEC", "200000")
        .env("WATCHDOG_PID", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let one = inetd.run(command);
    manager.hears(&["READY=1"]);
    std::thread::sleep(Duration::from_millis(500));
    kill(Pid::from_raw(one.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    // Beats come, but not in the pace of another process's watchdog.
    let stopping = manager.hears(&["STOPPING=1"]);
    assert!(!stopping.is_empty());
    assert!(
        !manager.heard.iter().any(|text| text.contains("WATCHDOG")),
        "{:?}",
        manager.heard
    );
}
