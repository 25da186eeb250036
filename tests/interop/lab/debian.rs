//! A whole Debian with systemd, booted inside a host of the lab: what an operator installs our package on.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use super::{Host, Running, wait_for};

const ENVIRONMENT: &str =
    "export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root DEBIAN_FRONTEND=noninteractive";

const LAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/lab");

/// A booted Debian; it ends with this value.
#[derive(Debug)]
pub struct Debian {
    // In this order: the host last, which ends everything in it.
    _boot: Running,
    pid: String,
    pub host: Host,
}

impl Debian {
    /// Boots in a host without a mail server, and waits until all is up.
    pub fn boot(host: Host) -> Self {
        let cache = Command::new(LAB).arg("debian").output().unwrap();
        assert!(
            cache.status.success(),
            "{}",
            String::from_utf8_lossy(&cache.stderr)
        );
        let cache = String::from_utf8(cache.stdout).unwrap();
        // Both in the host's own directories.
        let (place, number) = ("/var/lib/debian", "/var/lib/debian.pid");
        let boot = host.spawn("boot", LAB, &["boot", cache.trim(), place, number]);
        let pid = wait_for("system that boots", Duration::from_secs(60), || {
            let pid = host.read("/var/lib/debian.pid").trim().to_owned();
            (!pid.is_empty()).then_some(pid)
        });
        let debian = Self {
            _boot: boot,
            pid,
            host,
        };
        wait_for("system that is up", Duration::from_secs(60), || {
            let state = debian.try_run("systemctl is-system-running");
            let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
            ["running", "degraded"]
                .contains(&state.as_str())
                .then_some(())
        });
        debian
    }

    /// Runs a shell script in there, whatever its end.
    pub fn try_run(&self, script: &str) -> Output {
        self.run_with(script, b"")
    }

    /// Runs a shell script in there that must succeed; gives what it wrote.
    pub fn run(&self, script: &str) -> String {
        self.must(script, &self.try_run(script))
    }

    /// The same with something to read on its standard input.
    pub fn run_with_input(&self, script: &str, input: &[u8]) -> String {
        self.must(script, &self.run_with(script, input))
    }

    /// Writes a file in there.
    pub fn write(&self, path: &str, mode: &str, content: &[u8]) {
        let script = format!("install -D -m {mode} /dev/stdin {path}");
        self.must(&script, &self.run_with(&script, content));
    }

    fn run_with(&self, script: &str, input: &[u8]) -> Output {
        let script = format!("{ENVIRONMENT}\n{script}");
        let inside = ["--mount", "--root", "--wd", "--pid", "--cgroup", "--ipc"];
        let arguments = [
            &["--target", &self.pid][..],
            &inside,
            &["--", "sh", "-ec", &script],
        ];
        let mut child = self
            .host
            .command("nsenter", &arguments.concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        // It need not read it.
        let _unread = pipe.write_all(input);
        drop(pipe);
        child.wait_with_output().unwrap()
    }

    fn must(&self, script: &str, output: &Output) -> String {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{script}\n{}\n{text}{}\n---- its journal\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            self.journal()
        );
        text
    }

    /// The last that its services have logged.
    pub fn journal(&self) -> String {
        let lines = self.try_run("journalctl --no-pager -q -n 80 -o short-monotonic");
        String::from_utf8_lossy(&lines.stdout).into_owned()
    }

    /// Waits for a number of messages in a mailbox below /home.
    pub fn wait_inbox(&self, user: &str, count: usize, limit: Duration) -> Vec<String> {
        let list = format!("ls /home/{user}/Maildir/new 2>/dev/null || true");
        wait_for(&format!("{count} messages for {user}"), limit, || {
            (self.run(&list).lines().count() == count).then_some(())
        });
        let files = self.run(&list);
        let read = |file| self.run(&format!("cat '/home/{user}/Maildir/new/{file}'"));
        files.lines().map(read).collect()
    }
}
