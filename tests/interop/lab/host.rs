//! One host of the lab: run programs in it, read its files, mailboxes and queue.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{Mta, patiently, turnabout, wait_for};

/// A running host; it ends with this value.
#[derive(Debug)]
pub struct Host {
    pub mta: Mta,
    /// The last number of its addresses `10.99.0.N` and `fd00:99::N`.
    pub number: u8,
    dir: PathBuf,
    /// The host's first process, as numbered out here.
    pid: u32,
    init: Child,
    alive: Option<ChildStdin>,
}

impl Host {
    pub fn start(mta: Mta, part: &str, dir: &Path, number: u8, switch: Option<&Path>) -> Self {
        let newer = (mta == Mta::NewerPostfix).then(newer_debian);
        let mta = if newer.is_some() { Mta::Postfix } else { mta };
        let kind = match mta {
            Mta::Postfix | Mta::NewerPostfix => format!("postfix-{part}"),
            Mta::Exim => format!("exim-{part}"),
            Mta::OpenSmtpd => format!("opensmtpd-{part}"),
            Mta::Sendmail => format!("sendmail-{part}"),
            Mta::Courier => format!("courier-{part}"),
            Mta::Nothing => "plain".to_owned(),
        };
        fs::create_dir_all(dir).unwrap();
        let complaints = File::create(dir.join("complaints")).unwrap();
        let mut command = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/lab"));
        command
            .arg("host")
            .arg(kind)
            .arg(dir)
            .arg(number.to_string())
            .args(switch);
        command.envs(newer.map(|place| ("LAB_NEWER", place)));
        // Should this process be killed, nobody else would remove the directory.
        command.env("LAB_REMOVE", "1");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints);
        let mut init = command.spawn().unwrap();
        let alive = init.stdin.take();
        let mut ready = String::new();
        BufReader::new(init.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        assert_eq!(
            ready,
            "ready\n",
            "{part} did not start: {}",
            fs::read_to_string(dir.join("complaints")).unwrap_or_default()
        );
        let pid = fs::read_to_string(dir.join("pid"))
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        Self {
            mta,
            number,
            dir: dir.to_owned(),
            pid,
            init,
            alive,
        }
    }

    /// Where a file of the host lies out here. Only what the host has of its own: /etc/..., /var/{spool,lib,log,mail}.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.dir.join(inside.trim_start_matches('/'))
    }

    /// The text of a file; nothing if it is not there.
    pub fn read(&self, inside: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(inside)).unwrap_or_default()).into_owned()
    }

    /// Replaces `from`, which must be there, in one of the host's files.
    pub fn edit(&self, inside: &str, from: &str, to: &str) {
        let text = self.read(inside);
        assert!(text.contains(from), "{inside} has no {from:?}:\n{text}");
        fs::write(self.path(inside), text.replacen(from, to, 1)).unwrap();
    }

    /// A command that will run inside.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command
            .args([
                "--target",
                &self.pid.to_string(),
                "--root",
                "--wd",
                "--mount",
                "--pid",
                "--net",
                "--uts",
                "--ipc",
                "--",
            ])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Runs a program to its end, whatever the end.
    pub fn try_run(&self, program: &str, arguments: &[&str]) -> Output {
        self.command(program, arguments).output().unwrap()
    }

    /// Runs a program that must succeed; gives what it wrote.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = self.try_run(program, arguments);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        text
    }

    /// Starts a program; what it writes goes to the file NAME.log of the host's directory.
    pub fn spawn(&self, name: &str, program: &str, arguments: &[&str]) -> Running {
        let log = self.dir.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let child = self
            .command(program, arguments)
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Running {
            child,
            log,
            ended: None,
        }
    }

    /// Starts `turnabout serve` and waits until it listens.
    pub fn serve(&self) -> Running {
        let before = self.read("serve.log").matches(" ready ").count();
        let mut serve = self.spawn("serve", turnabout(), &["serve"]);
        wait_for("line that says ready", Duration::from_secs(20), || {
            assert_eq!(
                serve.ended(),
                None,
                "turnabout serve ended:\n{}",
                serve.log()
            );
            (serve.log().matches(" ready ").count() > before).then_some(())
        });
        serve
    }

    /// Runs `turnabout fetch isp` to its end; gives exit code and log.
    pub fn fetch(&self) -> (i32, String) {
        let mut fetch = self.start_fetch();
        let status = fetch.wait(Duration::from_secs(120));
        (status.code().unwrap_or(-1), fetch.log())
    }

    /// Starts `turnabout fetch isp`.
    pub fn start_fetch(&self) -> Running {
        self.spawn("fetch", turnabout(), &["fetch", "isp"])
    }

    /// What the mail server has logged.
    pub fn mail_log(&self) -> String {
        match self.mta {
            Mta::Postfix | Mta::NewerPostfix | Mta::OpenSmtpd => self.read("/var/log/mail.log"),
            Mta::Exim => self.read("/var/log/exim4/mainlog"),
            Mta::Sendmail | Mta::Courier | Mta::Nothing => String::new(),
        }
    }

    /// The messages in a user's mailbox, in no order.
    pub fn inbox(&self, user: &str) -> Vec<Vec<u8>> {
        let new = self.path(&format!("/var/mail/{user}/Maildir/new"));
        let Ok(entries) = fs::read_dir(new) else {
            return Vec::new();
        };
        entries
            .filter_map(|entry| fs::read(entry.ok()?.path()).ok())
            .collect()
    }

    /// How many messages are in a user's mailbox.
    pub fn inbox_count(&self, user: &str) -> usize {
        fs::read_dir(self.path(&format!("/var/mail/{user}/Maildir/new"))).map_or(0, Iterator::count)
    }

    /// Waits for a number of messages in a mailbox; more than that is a failure, too.
    pub fn wait_inbox(&self, user: &str, count: usize, limit: Duration) -> Vec<Vec<u8>> {
        wait_for(&format!("{count} messages for {user}"), limit, || {
            (self.inbox_count(user) >= count).then_some(())
        });
        let inbox = self.inbox(user);
        assert_eq!(inbox.len(), count, "messages for {user}");
        inbox
    }

    /// The queue: each message's id and the recipients it still has.
    pub fn queue(&self) -> BTreeMap<String, Vec<String>> {
        match self.mta {
            Mta::Postfix | Mta::NewerPostfix => self
                .run("postqueue", &["-j"])
                .lines()
                .map(postfix_entry)
                .collect(),
            Mta::Exim => exim_entries(&self.run("exim4", &["-bpr"])),
            Mta::OpenSmtpd | Mta::Sendmail | Mta::Courier | Mta::Nothing => BTreeMap::new(),
        }
    }

    /// Waits until something listens on a TCP port.
    pub fn wait_listening(&self, port: u16, limit: Duration) {
        let local = format!(":{port:04X} ");
        wait_for(&format!("listener on port {port}"), limit, || {
            let tables = self.run("cat", &["/proc/net/tcp", "/proc/net/tcp6"]);
            tables
                .lines()
                .any(|line| line.contains(&local) && line.contains(" 0A "))
                .then_some(())
        });
    }

    /// Waits until the queue is empty.
    pub fn wait_empty_queue(&self, limit: Duration) {
        wait_for("empty queue", limit, || {
            self.queue().is_empty().then_some(())
        });
    }

    /// Changes settings of Postfix's main.cf.
    pub fn postconf(&self, settings: &[&str]) {
        self.run("postconf", &[&["-e"], settings].concat());
        // Postfix waits for files that have only just changed.
        self.run(
            "touch",
            &[
                "-d",
                "1 minute ago",
                "/etc/postfix/main.cf",
                "/etc/postfix/master.cf",
            ],
        );
        self.run("postfix", &["reload"]);
    }

    /// Does something in the host's network: a socket made there stays there.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let network = File::open(format!("/proc/{}/ns/net", self.pid)).unwrap();
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    setns(&network, CloneFlags::CLONE_NEWNET).unwrap();
                    work()
                })
                .join()
                .unwrap()
        })
    }

    /// Connects from this host.
    pub fn connect(&self, to: &str) -> TcpStream {
        self.inside(|| {
            let to: SocketAddr = to.parse().unwrap();
            let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10)).unwrap();
            stream
                .set_read_timeout(Some(patiently(Duration::from_secs(60))))
                .unwrap();
            stream
        })
    }

    /// Listens in this host.
    pub fn listen(&self, at: &str) -> TcpListener {
        self.inside(|| TcpListener::bind(at).unwrap())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for file in [
                "boot.log",
                "serve.log",
                "fetch.log",
                "var/log/mail.log",
                "var/log/exim4/mainlog",
                "var/log/exim4/paniclog",
            ] {
                let text = self.read(file);
                if !text.is_empty() {
                    let lines: Vec<&str> = text.lines().collect();
                    let last = &lines[lines.len().saturating_sub(120)..];
                    eprintln!("---- host {} {file}\n{}", self.number, last.join("\n"));
                }
            }
        }
        // The host's first process reads until here.
        drop(self.alive.take());
        let _status = self.init.wait();
    }
}

/// A program running inside a host; it is killed when this value ends.
#[derive(Debug)]
pub struct Running {
    child: Child,
    log: PathBuf,
    ended: Option<ExitStatus>,
}

impl Running {
    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Waits for its end.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        wait_for("end of the program", limit, || self.ended())
    }

    /// The program itself, not the nsenter before it, as numbered out here.
    pub fn pid(&self) -> Option<Pid> {
        let parent = self.child.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        children
            .split_whitespace()
            .next()?
            .parse()
            .ok()
            .map(Pid::from_raw)
    }

    /// Sends a signal to the program.
    pub fn signal(&mut self, signal: Signal) {
        if self.ended().is_none() {
            let pid = wait_for("process behind nsenter", Duration::from_secs(5), || {
                self.pid()
            });
            kill(pid, signal).unwrap();
        }
    }

    /// SIGKILL, and the end waited for.
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        // If the program was stopped, nsenter has stopped itself and would not notice.
        if self.ended().is_none() {
            kill(
                Pid::from_raw(self.child.id().try_into().unwrap()),
                Signal::SIGCONT,
            )
            .unwrap();
        }
        self.wait(Duration::from_secs(10));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended().is_none() {
            if let Some(pid) = self.pid() {
                let _gone = kill(pid, Signal::SIGKILL);
            }
            let _gone = self.child.kill();
            let _status = self.child.wait();
        }
    }
}

/// Where the next Debian is unpacked; contrib/test has fetched it, otherwise it is fetched now.
fn newer_debian() -> String {
    let lab = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/lab");
    let output = Command::new(lab).arg("newer").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

fn postfix_entry(line: &str) -> (String, Vec<String>) {
    let entry: serde_json::Value = serde_json::from_str(line).unwrap();
    let recipients = entry["recipients"].as_array().unwrap();
    let recipients = recipients
        .iter()
        .map(|one| one["address"].as_str().unwrap().to_owned())
        .collect();
    (entry["queue_id"].as_str().unwrap().to_owned(), recipients)
}

/// A message is a line `AGE SIZE ID <SENDER>`, its recipients follow one a line; `D` marks those that are done.
fn exim_entries(listing: &str) -> BTreeMap<String, Vec<String>> {
    let mut queue = BTreeMap::new();
    let mut current: Option<(String, Vec<String>)> = None;
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [_, _, id, sender, ..] if sender.starts_with('<') => {
                queue.extend(current.replace(((*id).to_owned(), Vec::new())));
            }
            [recipient] => {
                if let Some((_, recipients)) = &mut current {
                    recipients.push((*recipient).to_owned());
                }
            }
            _ => {}
        }
    }
    queue.extend(current);
    queue
}
