//! Where log lines go: syslog, the journal, standard error, and never a descriptor that may be the connection.
//!
//! The real program runs with a `/dev/log` and a `/run/systemd/journal/socket` of the test's own, in a mount namespace.

use crate::driver::{ALICE, Peer, Serve, Setup, until};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use nix::unistd::geteuid;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tracing::Level;
use turnabout::report::{LogFormat, Syslog, safe, to_syslog_at};

/// A daemon's end of a log socket.
struct Daemon(UnixDatagram);

impl Daemon {
    fn at(path: &std::path::Path) -> Daemon {
        let socket = UnixDatagram::bind(path).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Daemon(socket)
    }

    fn next(&self) -> Vec<u8> {
        let mut octets = vec![0; 100_000];
        let length = self.0.recv(&mut octets).unwrap();
        octets.truncate(length);
        octets
    }

    /// The next datagram that is a text with these words in it.
    fn line(&self, words: &str) -> String {
        loop {
            let line = String::from_utf8(self.next()).unwrap();
            if line.contains(words) {
                return line;
            }
        }
    }

    fn is_silent(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let heard = self.0.recv(&mut [0; 10]);
        self.0.set_nonblocking(false).unwrap();
        heard.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }
}

#[test]
fn a_line_for_syslog_is_one_datagram_with_facility_priority_and_process() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let daemon = Daemon::at(&path);
    let subscriber = to_syslog_at(LogFormat::Text, Level::INFO, &Syslog::at(&path));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!(user = "alice", "all well");
        tracing::warn!("less\nwell");
        tracing::error!("not well");
        tracing::debug!("not seen");
        tracing::info!(
            long = "ä".repeat(1900),
            also = "ö".repeat(1900),
            more = "ü".repeat(1900),
            "long"
        );
    });
    let head = format!("turnabout[{}]:", std::process::id());
    let lines = [(); 3].map(|()| String::from_utf8(daemon.next()).unwrap());
    assert_eq!(
        lines,
        [
            format!("<22>{head} INFO all well user=alice"),
            format!("<20>{head} WARN less\\nwell"),
            format!("<19>{head} ERROR not well"),
        ]
    );
    let long = String::from_utf8(daemon.next()).unwrap();
    assert!(long.len() > 8000 && long.len() <= 8192, "{}", long.len());
    assert!(daemon.is_silent());
}

#[test]
fn a_syslog_daemon_may_come_late_and_come_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let subscriber = to_syslog_at(LogFormat::Text, Level::INFO, &Syslog::at(&path));
    tracing::subscriber::with_default(subscriber, || {
        tracing::info!("heard by nobody");
        for words in ["the first hears", "the second hears"] {
            let daemon = Daemon::at(&path);
            tracing::info!("{words}");
            assert!(String::from_utf8(daemon.next()).unwrap().ends_with(words));
            drop(daemon);
            fs::remove_file(&path).unwrap();
            tracing::info!("heard by nobody");
        }
    });
}

/// A machine's places for log lines, as a process in it sees them.
struct Machine {
    directory: tempfile::TempDir,
    syslog: Daemon,
    journal: Daemon,
}

/// A process in it; ended with this value.
struct Inside(Child);

impl Drop for Inside {
    fn drop(&mut self) {
        // Ended already is as good as killed.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The devices a program needs, `/dev/log`, and the journal's socket.
const MACHINE: &str = r#"
set -e
mkdir -p "$1/dev"
for node in null zero full random urandom tty; do
    touch "$1/dev/$node"
    mount --bind "/dev/$node" "$1/dev/$node"
done
ln -sfn /proc/self/fd "$1/dev/fd"
ln -sfn "$1/syslog" "$1/dev/log"
mount --rbind "$1/dev" /dev
mount -t tmpfs none /run
mkdir -p /run/systemd/journal
ln -s "$1/journal" /run/systemd/journal/socket
shift
exec "$@"
"#;

impl Machine {
    /// None: only root makes mount namespaces.
    fn new() -> Option<Machine> {
        if !geteuid().is_root() {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
        let at = |name: &str| Daemon::at(&directory.path().join(name));
        let (syslog, journal) = (at("syslog"), at("journal"));
        Some(Machine {
            directory,
            syslog,
            journal,
        })
    }

    fn start(&self, arguments: &[&str], change: impl FnOnce(&mut Command)) -> Inside {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", MACHINE, "sh"])
            .arg(self.directory.path())
            .arg(env!("CARGO_BIN_EXE_turnabout"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        change(&mut command);
        Inside(command.spawn().unwrap())
    }
}

/// A connection on all three descriptors, as inetd gives it; its other end.
fn as_connection(command: &mut Command) -> UnixStream {
    let (ours, theirs) = UnixStream::pair().unwrap();
    for give in [Command::stdin, Command::stdout, Command::stderr] {
        let end: OwnedFd = theirs.try_clone().unwrap().into();
        give(command, Stdio::from(end));
    }
    ours
}

/// A fetch that fails at once, with two lines in the log.
const FETCH: [&str; 10] = [
    "fetch",
    "--host",
    "127.0.0.1",
    "--port",
    "1",
    "--user",
    "alice",
    "--password-file",
    "/dev/null",
    "--tls",
];

fn fetch<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let mut words: Vec<&str> = more.to_vec();
    words.extend(FETCH);
    words.push("none");
    words
}

/// Rules: C15
#[test]
fn a_connection_as_standard_error_never_gets_a_line_whatever_is_asked_for() {
    let Some(machine) = Machine::new() else {
        return;
    };
    for more in [&[][..], &["--log-to", "stderr"], &["--log-format", "json"]] {
        let mut connection = None;
        let mut process = machine.start(&fetch(more), |command| {
            connection = Some(as_connection(command));
        });
        let line = machine.syslog.line("fetch finished");
        assert!(line.starts_with("<20>turnabout["), "{line}");
        process.0.wait().unwrap();
        let mut said = String::new();
        connection.unwrap().read_to_string(&mut said).unwrap();
        // What fetch prints is its report on standard output; of the log nothing.
        assert!(
            !said.contains("fetch finished") && said.lines().count() == 1,
            "{said}"
        );
    }
    assert!(machine.journal.is_silent());
}

#[test]
fn a_service_without_standard_error_tells_syslog() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let mut process = machine.start(&fetch(&[]), |_| {});
    let line = machine.syslog.line("fetch finished");
    assert!(line.contains(" WARN fetch finished session="), "{line}");
    process.0.wait().unwrap();
}

#[test]
fn a_pipe_and_a_file_get_the_lines_themselves() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let mut process = machine.start(&fetch(&[]), |command| {
        command.stderr(Stdio::piped());
    });
    let mut said = String::new();
    let mut pipe = process.0.stderr.take().unwrap();
    pipe.read_to_string(&mut said).unwrap();
    assert!(said.contains(" WARN fetch finished session="), "{said}");
    assert!(machine.syslog.is_silent() && machine.journal.is_silent());
}

/// The fields of an entry by the journal's protocol.
fn fields(entry: &[u8]) -> BTreeMap<String, String> {
    let mut fields = BTreeMap::new();
    let mut rest = entry;
    while let Some(end) = rest.iter().position(|octet| *octet == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).unwrap();
        rest = &rest[end + 1..];
        let (name, value) = if let Some((name, value)) = line.split_once('=') {
            (name, value.to_owned())
        } else {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap());
            let end = 8 + usize::try_from(length).unwrap();
            let value = String::from_utf8(rest[8..end].to_vec()).unwrap();
            assert_eq!(rest[end], b'\n');
            rest = &rest[end + 1..];
            (line, value)
        };
        fields.insert(name.to_owned(), value);
    }
    assert!(rest.is_empty());
    fields
}

impl Daemon {
    /// The next entry whose message has these words in it.
    fn entry(&self, words: &str) -> BTreeMap<String, String> {
        loop {
            let entry = fields(&self.next());
            if entry
                .get("MESSAGE")
                .is_some_and(|text| text.contains(words))
            {
                return entry;
            }
        }
    }
}

/// No control character comes this far: SASLprep lets none into a name.
const EVIL: &str = "mallory\" MESSAGE=forged PRIORITY=0 peer=192.0.2.1:1";

/// Rules: C15
#[test]
fn the_journal_gets_every_field_by_itself_and_the_whole_line_as_message() {
    let Some(machine) = Machine::new() else {
        return;
    };
    let serve = Serve::start(Setup {
        keys: "control = \"none\"\nplaintext_without_tls = true\nmechanisms = [\"CRAM-MD5\", \"PLAIN\"]".to_owned(),
        ..Setup::default()
    });
    let config = serve.path("turnabout.toml");
    let arguments = ["--config", config.to_str().unwrap(), "serve"];
    let (_reader, stream) = UnixStream::pair().unwrap();
    let facts = fs::metadata(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap();
    let _process = machine.start(&arguments, |command| {
        command.env(
            "JOURNAL_STREAM",
            format!("{}:{}", facts.st_dev(), facts.st_ino()),
        );
        command.stderr(Stdio::from(OwnedFd::from(stream)));
    });
    let ready = machine.journal.entry("ready");
    let address: SocketAddr = ready["TURNABOUT_LISTEN"].parse().unwrap();
    assert_eq!(ready["PRIORITY"], "6");
    assert_eq!(ready["SYSLOG_IDENTIFIER"], "turnabout");
    assert_eq!(ready["SYSLOG_FACILITY"], "2");

    let mut peer = Peer::greeted(address);
    let own = peer.stream.local_addr().unwrap().to_string();
    let login = STANDARD.encode(format!("\0{EVIL}\0x"));
    assert_eq!(peer.code(&format!("AUTH PLAIN {login}")), 535);
    let refused = machine.journal.entry("login refused");
    assert_eq!(refused["PRIORITY"], "4");
    assert_eq!(refused["TURNABOUT_PEER"], own);
    assert_eq!(refused["TURNABOUT_USER"], safe(EVIL).to_string());
    let message = &refused["MESSAGE"];
    assert!(message.starts_with("WARN login refused: "), "{message}");
    assert!(message.contains(&format!(" peer={own} user=")), "{message}");
    for value in refused.values() {
        assert!(!value.contains(char::is_control), "{value:?}");
    }
    assert_eq!(peer.code("QUIT"), 221);
    let closed = machine.journal.entry("session closed");
    assert_eq!(closed["TURNABOUT_SESSION"], refused["TURNABOUT_SESSION"]);
    assert!(closed["TURNABOUT_SECONDS"].parse::<f64>().is_ok());
    assert!(machine.syslog.is_silent());
}

/// A real daemon understands the lines: busybox's.
#[test]
fn a_syslog_daemon_writes_the_lines_of_a_service_into_its_file() {
    if !geteuid().is_root() {
        return;
    }
    let serve = Serve::start(Setup {
        keys: "control = \"none\"".to_owned(),
        ..Setup::default()
    });
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).unwrap();
    let log = directory.path().join("mail.log");
    // It makes /dev/log itself, in a /dev that is the namespace's own.
    let script = r#"
set -e
mkdir "$1/dev"
for node in null urandom random; do touch "$1/dev/$node"; mount --bind "/dev/$node" "$1/dev/$node"; done
mount --rbind "$1/dev" /dev
busybox syslogd -n -O "$1/mail.log" &
daemon=$!
trap 'kill $daemon' EXIT
while ! [ -S /dev/log ]; do sleep 0.05; done
shift
"$@" &
service=$!
trap 'kill $service $daemon' EXIT
read -r end || true
"#;
    let mut shell = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(directory.path())
        .arg(env!("CARGO_BIN_EXE_turnabout"))
        .args(["--log-to", "syslog", "serve", "--config"])
        .arg(serve.path("turnabout.toml"))
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let logged = |words: &str| {
        until(words, || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let found = text
                .split_inclusive('\n')
                .find(|line| line.contains(words) && line.ends_with('\n'));
            found.map(str::to_owned)
        })
    };
    let ready = logged("ready listen=");
    assert!(ready.contains(" mail.info turnabout["), "{ready}");
    let (_, address) = ready.split_once("listen=").unwrap();
    let address = address.split(' ').next().unwrap().parse().unwrap();
    let mut peer = Peer::logged_in(address, ALICE);
    assert_eq!(peer.code("QUIT"), 221);
    let closed = logged("session closed");
    assert!(
        closed.contains("]: INFO session closed session="),
        "{closed}"
    );
    assert!(closed.contains(" user=alice "), "{closed}");
    drop(shell.stdin.take());
    shell.wait().unwrap();
}
