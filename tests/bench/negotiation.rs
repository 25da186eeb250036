//! What a session costs that brings no mail, and what a waiting connection costs: turnabout
//! beside nginx's mail proxy.
//!
//! The session is the same for both: connect, EHLO, AUTH, ATRN, 453, QUIT, end. So is the load
//! generator. What each has to do for it is not the same, and cannot be:
//!
//! * nginx asks an HTTP server whether the login is right, dials the mail server behind it, and
//!   copies ATRN and 453 between the two. Both helpers are here as small as they can be
//!   (`helper.rs`); a real operator's are bigger.
//! * turnabout judges the login itself and asks the queue of a real Postfix before it says 453.
//!
//! Each carries the whole of its own way to the answer, on the same processors, which it shares
//! with its helpers and with the load generator. Besides, one line shows turnabout alone: the
//! customer asks for a domain that is not its own and is refused without the queue being asked.
//!
//! With TLS the session has STARTTLS, a whole handshake (TLS 1.3, X25519, the same certificate of
//! ECDSA on P-256 at both servers, nothing resumed) and EHLO once more behind its first EHLO. The
//! customers' own part of the handshake, with the check of the certificate, runs on the same
//! processors and is the same for both.

use crate::certificate::Certificate;
use crate::figures::{Table, median, ratio_with_spread};
use crate::hosts::{Host, Running};
use crate::load::{self, Idle, Outcome, Plan};
use crate::nginx::Nginx;
use crate::provider::Serve;
use crate::session::Login;
use crate::way::Carriage;
use crate::{Size, accounts, process, start};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

/// Idle connections: of strangers, and of customers that have logged in (behind nginx each of these is two).
const GREETED: usize = 10_000;
const LOGGED_IN: usize = 5000;
const CUSTOMERS: usize = 64;

/// Runs this program again inside a provider's host: `inside PART DIRECTORY [--quick]`.
pub fn measure(part: &str, size: Size, table: &mut Table) {
    let directory = tempfile::tempdir().unwrap();
    let host = Host::start("postfix-provider", &directory.path().join("host"), 1, None);
    let program = std::env::current_exe().unwrap();
    let mut command = host.command(program.to_str().unwrap());
    command.args(["inside", part]).arg(directory.path());
    if size == Size::Quick {
        command.arg("--quick");
    }
    let output = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "the part '{part}' failed");
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let [what, ours, other, ratio] = line.split('\t').collect::<Vec<_>>().as_slice() {
            table.add(what, ours, other, ratio);
        }
    }
}

/// Inside the host; each line of the table goes to standard output.
pub fn inside(words: &[&str]) {
    let [part, directory, rest @ ..] = words else {
        panic!("usage: inside PART DIRECTORY")
    };
    let descriptors = process::raise_descriptor_limit();
    assert!(
        descriptors > 12_000,
        "only {descriptors} open files allowed, too few for {GREETED} connections"
    );
    let (directory, quick) = (PathBuf::from(directory), rest.contains(&"--quick"));
    match *part {
        "sessions" => sessions(&directory, None, quick),
        "sessions-tls" => sessions(&directory, Some(&Certificate::make(&directory)), quick),
        "idle" => idle(&directory, quick),
        "start" => start::inside(&directory, quick),
        unknown => panic!("no part '{unknown}'"),
    }
}

/// One of the two, running.
struct Server {
    name: &'static str,
    address: SocketAddr,
    process: Running,
    /// nginx's helpers; Postfix's master, whose service tells turnabout of the queue.
    helper: u32,
    _helper: Option<Running>,
}

impl Server {
    fn turnabout(directory: &Path, tls: Option<&Certificate>) -> Self {
        let address: SocketAddr = "127.0.0.1:366".parse().unwrap();
        let log = directory.join("turnabout.log");
        let serve = Serve {
            listen: &address.to_string(),
            accounts: &accounts::file(),
            limits: "login_time = \"10m\"\nunauthenticated_percent = 100\n",
            // Nothing is carried here: there is no mail.
            tls: tls.map(|certificate| (certificate, Carriage::Relay)),
        };
        let mut command = serve.command(&directory.join("serve"));
        let process = Running::start(
            "turnabout serve",
            command
                .stdin(Stdio::null())
                .stderr(File::create(&log).unwrap()),
        );
        process.answers(address, Some(&log));
        Self {
            name: "turnabout",
            address,
            process,
            helper: postfix_master(),
            _helper: None,
        }
    }

    fn nginx(directory: &Path, tls: Option<&Certificate>) -> Self {
        let nginx = Nginx::start(directory, tls);
        Self {
            name: "nginx",
            address: nginx.address,
            process: nginx.proxy,
            helper: nginx.helper.pid(),
            _helper: Some(nginx.helper),
        }
    }

    /// Its processes, without the helpers and without what it runs for a moment.
    fn processes(&self) -> Vec<u32> {
        process::tree(self.process.pid())
    }

    fn cpu(&self) -> Spent {
        let all: Vec<process::Cpu> = self.processes().into_iter().map(process::cpu).collect();
        Spent {
            own: all.iter().map(|cpu| cpu.own).sum(),
            children: all.iter().map(|cpu| cpu.children).sum(),
            helper: process::tree(self.helper)
                .into_iter()
                .map(|pid| process::cpu(pid).all())
                .sum(),
        }
    }
}

/// The number of the host's Postfix, as it is inside.
fn postfix_master() -> u32 {
    let file = fs::read_to_string("/var/spool/postfix/pid/master.pid").unwrap();
    file.trim().parse().unwrap()
}

/// Processor time of a server: itself, the commands it ran, the helpers it needs.
#[derive(Debug, Clone, Copy, Default)]
struct Spent {
    own: Duration,
    children: Duration,
    helper: Duration,
}

/// One measurement: how fast, and microseconds of processor time a session.
#[derive(Debug, Clone, Default)]
struct Measured {
    outcome: Outcome,
    own: f64,
    children: f64,
    helper: f64,
}

fn loaded(server: &Server, plan: &Plan) -> Measured {
    let before = server.cpu();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let outcome = runtime.block_on(load::run(plan.clone()));
    let after = server.cpu();
    let sessions = outcome.sessions_a_second * 0.0
        + f64::from(u32::try_from(outcome.sessions).unwrap_or(u32::MAX));
    let each = |after: Duration, before: Duration| {
        after.saturating_sub(before).as_secs_f64() * 1e6 / sessions
    };
    let measured = Measured {
        own: each(after.own, before.own),
        children: each(after.children, before.children),
        helper: each(after.helper, before.helper),
        outcome,
    };
    eprintln!(
        "{} {} {}: {:.0} sessions/s, {} failed, {:.1} ms (slowest 1 %: {:.1} ms); us of processor time a session: {:.0} own, {:.0} commands, {:.0} helpers",
        server.name,
        plan.login.name(),
        if plan.own_domain { "453" } else { "450" },
        measured.outcome.sessions_a_second,
        measured.outcome.failures,
        measured.outcome.median_ms,
        measured.outcome.slowest_ms,
        measured.own,
        measured.children,
        measured.helper,
    );
    assert_eq!(
        measured.outcome.failures, 0,
        "a figure with failures in it is none"
    );
    measured
}

fn sessions(directory: &Path, tls: Option<&Certificate>, quick: bool) {
    let (turnabout, nginx) = (
        Server::turnabout(directory, tls),
        Server::nginx(directory, tls),
    );
    let client = tls.map(Certificate::client);
    let with = if tls.is_some() { ", TLS" } else { "" };
    // Inside TLS the password needs no other protection.
    let logins: &[Login] = match tls {
        Some(_) => &[Login::Plain],
        None => &[Login::Plain, Login::CramMd5],
    };
    let time = Duration::from_secs(if quick { 1 } else { 4 });
    let pairs = if quick { 2 } else { 7 };
    for login in logins.iter().copied() {
        let plan = |server: &Server, own_domain| Plan {
            server: server.address,
            login,
            tls: client.clone(),
            customers: CUSTOMERS,
            time,
            own_domain,
        };
        let (mut ours, mut theirs, mut alone) = (Vec::new(), Vec::new(), Vec::new());
        for pair in 0..=pairs {
            let ask = || loaded(&turnabout, &plan(&turnabout, true));
            let other = || loaded(&nginx, &plan(&nginx, true));
            let (our, their) = if pair % 2 == 0 {
                let our = ask();
                (our, other())
            } else {
                let their = other();
                (ask(), their)
            };
            let front = loaded(&turnabout, &plan(&turnabout, false));
            // The first pair warms up.
            if pair > 0 {
                ours.push(our);
                theirs.push(their);
                alone.push(front);
            }
        }
        let login = login.name();
        report(
            &format!("sessions a second, {login}{with}, answered 453"),
            &ours,
            &theirs,
        );
        report(
            &format!("the same, {login}{with}, turnabout without its question to the queue (450)"),
            &alone,
            &theirs,
        );
    }
}

fn report(what: &str, ours: &[Measured], theirs: &[Measured]) {
    let of =
        |all: &[Measured], get: fn(&Measured) -> f64| all.iter().map(get).collect::<Vec<f64>>();
    let rate = |one: &Measured| one.outcome.sessions_a_second;
    let show = |all: &[Measured]| {
        format!(
            "{:.0}/s; processor time a session {:.0} us own + {:.0} us commands and helpers",
            median(&of(all, rate)),
            median(&of(all, |one| one.own)),
            median(&of(all, |one| one.children + one.helper)),
        )
    };
    println!(
        "{what}\t{}\tnginx {}\t{}",
        show(ours),
        show(theirs),
        ratio_with_spread(&of(ours, rate), &of(theirs, rate))
    );
}

fn idle(directory: &Path, quick: bool) {
    let pairs = if quick { 1 } else { 3 };
    for (state, name, how_many) in [
        (Idle::Greeted, "greeted", GREETED),
        (Idle::LoggedIn(Login::Plain), "logged in", LOGGED_IN),
    ] {
        let how_many = if quick { how_many / 10 } else { how_many };
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for pair in 0..pairs {
            // Fresh ones each time, so that no memory of an earlier load is counted.
            let one = |server: Server| waiting(&server, how_many, state, name);
            if pair % 2 == 0 {
                ours.push(one(Server::turnabout(directory, None)));
                theirs.push(one(Server::nginx(directory, None)));
            } else {
                theirs.push(one(Server::nginx(directory, None)));
                ours.push(one(Server::turnabout(directory, None)));
            }
        }
        let of =
            |all: &[Waiting], get: fn(&Waiting) -> f64| all.iter().map(get).collect::<Vec<f64>>();
        let show = |all: &[Waiting]| {
            format!(
                "{:.1} MiB ({:.1} KiB each)",
                median(&of(all, |one| one.mib)),
                median(&of(all, |one| one.kib_each))
            )
        };
        println!(
            "memory with {how_many} idle connections, {name} (less is better)\t{}\tnginx {}\t{}",
            show(&ours),
            show(&theirs),
            ratio_with_spread(&of(&ours, |one| one.mib), &of(&theirs, |one| one.mib)),
        );
        let time = |all: &[Waiting]| format!("{:.1} ms", median(&of(all, |one| one.session_ms)));
        println!(
            "a customer's session (453) among {how_many} idle connections, {name} (less is better)\t{}\tnginx {}\t{}",
            time(&ours),
            time(&theirs),
            ratio_with_spread(
                &of(&ours, |one| one.session_ms),
                &of(&theirs, |one| one.session_ms)
            ),
        );
    }
}

/// A server with many connections open.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// In all.
    mib: f64,
    /// More for each connection than without.
    kib_each: f64,
    /// How long a customer takes from connecting to the end of its session.
    session_ms: f64,
}

fn waiting(server: &Server, how_many: usize, state: Idle, name: &str) -> Waiting {
    let count = f64::from(u32::try_from(how_many).unwrap_or(u32::MAX));
    let kib = |pids: &[u32]| f64::from(u32::try_from(process::memory(pids)).unwrap_or(u32::MAX));
    sleep(Duration::from_millis(500));
    let before = kib(&server.processes());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let measured = runtime.block_on(async {
        let opened = load::open(server.address, how_many, state).await;
        assert_eq!(
            opened.len(),
            how_many,
            "{} did not take them all",
            server.name
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
        let processes = server.processes();
        let with = kib(&processes);
        let threads: u64 = processes.iter().map(|pid| process::threads(*pid)).sum();
        // One customer at a time.
        let session = load::run(Plan {
            server: server.address,
            login: Login::Plain,
            tls: None,
            customers: 1,
            time: Duration::from_secs(2),
            own_domain: true,
        })
        .await;
        assert_eq!(session.failures, 0, "{} did not serve it", server.name);
        eprintln!(
            "{} {name}: {:.1} MiB before, {:.1} MiB with {how_many} connections, {threads} threads; a session {:.1} ms (slowest 1 %: {:.1} ms)",
            server.name,
            before / 1024.0,
            with / 1024.0,
            session.median_ms,
            session.slowest_ms,
        );
        Waiting {
            mib: with / 1024.0,
            kib_each: (with - before) / count,
            session_ms: session.median_ms,
        }
    });
    // The runtime has dropped the connections; the server sees their ends.
    sleep(Duration::from_millis(500));
    measured
}
