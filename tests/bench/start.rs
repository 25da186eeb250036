//! What a start costs: from connecting to the greeting, and to the reply to QUIT, of programs that inetd starts for
//! each connection.
//!
//! All stand in one inetd.conf: `turnabout serve` without TLS and with a certificate, `exim -bs`, Postfix's
//! `smtpd -S`, and a C program that does nothing but greet (`floor.c`), below which nobody gets. Pairs are measured
//! one after the other, each time the other way round.

use crate::accounts;
use crate::certificate::Certificate;
use crate::figures::{median, ratio_with_spread};
use crate::hosts::Running;
use crate::provider::{Serve, TURNABOUT};
use crate::way::Carriage;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Between two sessions, so that the one before has ended.
const PAUSE: Duration = Duration::from_millis(5);

const EXIM: &str = "primary_hostname = provider.test
spool_directory = SPOOL
log_file_path = SPOOL/log/%slog
tls_advertise_hosts =
rfc1413_query_timeout = 0s
keep_environment =
acl_smtp_rcpt = refused
begin acl
refused:
  deny
";

/// One program in inetd.conf.
struct Program {
    name: &'static str,
    port: u16,
    /// User, program and arguments, as inetd.conf has them.
    line: String,
}

impl Program {
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// One session: seconds to the greeting, and to the reply to QUIT.
    fn session(&self) -> [f64; 2] {
        let began = Instant::now();
        let mut stream = TcpStream::connect(self.address()).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut hear = |code: &str| {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            assert!(line.starts_with(code), "{} says {line:?}", self.name);
            began.elapsed().as_secs_f64()
        };
        let greeting = hear("220");
        stream.write_all(b"QUIT\r\n").unwrap();
        let end = hear("221");
        drop(stream);
        sleep(PAUSE);
        [greeting, end]
    }
}

/// Inside a provider's host; each line of the table goes to standard output.
pub fn inside(directory: &Path, quick: bool) {
    let certificate = Certificate::make(directory);
    let floor = compiled(directory);
    let (exim, inetd) = (
        unpacked("exim", "usr/sbin/exim4"),
        unpacked("starters", "usr/sbin/inetd"),
    );
    let line = |user: &str, program: &Path, arguments: &str| {
        let name = program.file_name().unwrap().to_str().unwrap();
        format!("{user} {} {name} {arguments}", program.display())
    };
    let turnabout = |name, port, tls| {
        // inetd.conf knows no quotes.
        let files = directory.join(str::replace(name, ' ', "-"));
        Serve {
            listen: "127.0.0.1:366",
            accounts: &accounts::file(),
            limits: "",
            tls,
        }
        .command(&files);
        let config = files.join("turnabout.toml");
        let text = fs::read_to_string(&config).unwrap();
        let user = "[serve]\nuser = \"postfix\"\n";
        fs::write(&config, text.replacen("[serve]\n", user, 1)).unwrap();
        let arguments = format!("--config {} serve", config.display());
        Program {
            name,
            port,
            line: line("root", Path::new(TURNABOUT), &arguments),
        }
    };
    let other = |name, port, line| Program { name, port, line };
    let ours = [
        turnabout("turnabout", 7001, None),
        turnabout(
            "turnabout with a certificate",
            7002,
            Some((&certificate, Carriage::Relay)),
        ),
    ];
    let smtpd = Path::new("/usr/lib/postfix/sbin/smtpd");
    let exim_arguments = format!("-C {} -bs", exim_files(directory));
    let others = [
        other("C program", 7003, line("root", &floor, "")),
        other("exim -bs", 7004, line("root", &exim, &exim_arguments)),
        other("smtpd -S", 7005, line("postfix", smtpd, "-S")),
    ];
    let all: Vec<&Program> = ours.iter().chain(&others).collect();
    let _inetd = start_inetd(&inetd, directory, &all);
    for program in &all {
        // The first start reads from the disk.
        for _ in 0..3 {
            program.session();
        }
    }
    let rounds = if quick { 20 } else { 200 };
    for our in &ours {
        for other in &others {
            compare(our, other, rounds);
        }
    }
}

/// Measures a pair, and prints its lines of the table.
fn compare(our: &Program, other: &Program, rounds: usize) {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            ours.push(our.session());
            theirs.push(other.session());
        } else {
            theirs.push(other.session());
            ours.push(our.session());
        }
    }
    for (at, what) in ["to the greeting", "to the reply to QUIT"]
        .iter()
        .enumerate()
    {
        let of = |all: &[[f64; 2]]| -> Vec<f64> { all.iter().map(|one| one[at]).collect() };
        let (ours, theirs) = (of(&ours), of(&theirs));
        let shown = |values: &[f64]| format!("{:.2} ms", 1000.0 * median(values));
        println!(
            "start under inetd {what}: {} beside {}\t{}\t{} {}\t{}",
            our.name,
            other.name,
            shown(&ours),
            other.name,
            shown(&theirs),
            ratio_with_spread(&ours, &theirs)
        );
    }
}

fn start_inetd(inetd: &Path, directory: &Path, programs: &[&Program]) -> Running {
    let lines = programs.iter().map(|program| {
        // inetd gives up a service that is started often, unless it is told how often that may be.
        let port = program.port;
        format!(
            "127.0.0.1:{port} stream tcp nowait.1000000 {}\n",
            program.line
        )
    });
    let file = directory.join("inetd.conf");
    fs::write(&file, lines.collect::<String>()).unwrap();
    let mut command = Command::new(inetd);
    command.arg("-i").arg(&file).stdin(Stdio::null());
    let running = Running::start("inetd", &mut command);
    for program in programs {
        running.answers(program.address(), None);
    }
    running
}

fn compiled(directory: &Path) -> PathBuf {
    let program = directory.join("floor");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bench/floor.c");
    let status = Command::new("gcc")
        .args(["-O2", "-o"])
        .arg(&program)
        .arg(source)
        .status()
        .unwrap();
    assert!(status.success(), "gcc cannot compile {source}");
    program
}

/// A program that contrib/lab has unpacked; `run` has seen to that, since in here no package is known.
fn unpacked(what: &str, program: &str) -> PathBuf {
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/target/lab");
    let cache = std::env::var("TURNABOUT_LAB_CACHE").unwrap_or_else(|_| ours.to_owned());
    let program = Path::new(&cache).join(what).join(program);
    assert!(
        program.exists(),
        "there is no {} (run: contrib/lab {what})",
        program.display()
    );
    program
}

/// A configuration as small as it can be.
fn exim_files(directory: &Path) -> String {
    let (file, spool) = (directory.join("exim.conf"), "/var/spool/exim-bench");
    let made = Command::new("install")
        .args([
            "-d",
            "-o",
            "Debian-exim",
            "-g",
            "Debian-exim",
            spool,
            &format!("{spool}/log"),
        ])
        .status()
        .unwrap();
    assert!(made.success(), "cannot make {spool}");
    fs::write(&file, EXIM.replace("SPOOL", spool)).unwrap();
    file.display().to_string()
}
