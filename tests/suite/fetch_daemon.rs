//! `turnabout fetch --daemon` and `--now`, the real program against a provider that is always there.

use crate::driver::{Peer, Running, opened, until};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What a provider answers to ATRN, and what happened there.
#[derive(Default)]
struct Facts {
    reply: Mutex<&'static str>,
    /// Sessions that have come, are open, and were open at the same time.
    begun: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
    /// Sessions wait in front of the answer.
    held: AtomicBool,
    over: AtomicBool,
}

/// Takes one customer after the other, or several at a time if they come.
struct Isp {
    address: SocketAddr,
    facts: Arc<Facts>,
    thread: Option<JoinHandle<()>>,
}

impl Isp {
    fn new(reply: &'static str) -> Isp {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let facts = Arc::new(Facts::default());
        *facts.reply.lock().unwrap() = reply;
        let shared = Arc::clone(&facts);
        let thread = std::thread::spawn(move || {
            let mut sessions = Vec::new();
            while !shared.over.load(Ordering::SeqCst) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(false).unwrap();
                        let facts = Arc::clone(&shared);
                        let open = facts.open.fetch_add(1, Ordering::SeqCst) + 1;
                        facts.most.fetch_max(open, Ordering::SeqCst);
                        sessions.push(std::thread::spawn(move || serve(stream, &facts)));
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        std::thread::sleep(Duration::from_millis(2));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            for session in sessions {
                session.join().unwrap();
            }
        });
        let thread = Some(thread);
        Isp {
            address,
            facts,
            thread,
        }
    }

    fn answers(&self, reply: &'static str) {
        *self.facts.reply.lock().unwrap() = reply;
    }

    fn holds(&self, held: bool) {
        self.facts.held.store(held, Ordering::SeqCst);
    }

    fn begun(&self) -> usize {
        self.facts.begun.load(Ordering::SeqCst)
    }

    /// Waits for this many sessions in all, and sees no more.
    fn sees(&self, count: usize) {
        until(&format!("session {count}"), || {
            (self.begun() >= count).then_some(())
        });
        assert_eq!(self.begun(), count);
    }
}

impl Drop for Isp {
    fn drop(&mut self) {
        self.holds(false);
        self.facts.over.store(true, Ordering::SeqCst);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking(), "{ended:?}");
    }
}

fn serve(stream: std::net::TcpStream, facts: &Facts) {
    let mut peer = Peer::new(stream);
    opened(&mut peer);
    let atrn = peer.line().unwrap();
    assert!(atrn.starts_with("ATRN"), "{atrn}");
    facts.begun.fetch_add(1, Ordering::SeqCst);
    while facts.held.load(Ordering::SeqCst) {
        std::thread::sleep(Duration::from_millis(2));
    }
    let reply = *facts.reply.lock().unwrap();
    // A customer that was stopped meanwhile has gone, and says nothing.
    peer.send(format!("{reply}\r\n"));
    if !reply.starts_with("250") && peer.line().is_some() {
        peer.send("221 bye\r\n");
    }
    peer.rest();
    facts.open.fetch_sub(1, Ordering::SeqCst);
}

/// A configuration, and the daemon that runs by it.
struct Site {
    directory: tempfile::TempDir,
    daemon: Option<Running>,
}

impl Site {
    fn new(providers: &[(&str, &Isp, &str)]) -> Site {
        let site = Site {
            directory: tempfile::tempdir().unwrap(),
            daemon: None,
        };
        site.configure(providers);
        site
    }

    fn start(providers: &[(&str, &Isp, &str)]) -> Site {
        let mut site = Site::new(providers);
        site.run(&[], &[]);
        site
    }

    fn run(&mut self, names: &[&str], environment: &[(&str, &str)]) {
        let config = self.path("turnabout.toml");
        let config = config.to_str().unwrap();
        let words = [&["--config", config, "fetch", "--daemon"], names].concat();
        let mut daemon = Running::start_in(&words, environment);
        daemon.logged(" ready ");
        self.daemon = Some(daemon);
    }

    fn configure(&self, providers: &[(&str, &Isp, &str)]) {
        let control = self.path("control");
        let mut text = format!(
            "[fetch]\nhostname = \"customer.example.org\"\ncontrol = {:?}\nstate_directory = {:?}\n",
            control,
            self.path("state")
        );
        for (name, isp, more) in providers {
            text += &format!(
                "[providers.{name}]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"alice\"\n\
                 password_command = [\"/bin/echo\", \"secret\"]\nhandoff = \"exec\"\n\
                 command = [\"/bin/true\"]\njitter = \"0s\"\n{more}\n",
                isp.address.port()
            );
        }
        fs::write(self.path("turnabout.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn daemon(&mut self) -> &mut Running {
        self.daemon.as_mut().unwrap()
    }

    fn now(&self, words: &[&str]) -> Output {
        self.now_command(words).output().unwrap()
    }

    fn now_command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnabout"));
        command
            .arg("--config")
            .arg(self.path("turnabout.toml"))
            .args(["fetch", "--now"])
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Waits until this many fetches have ended.
    fn has_ended(&mut self, count: usize) -> Vec<String> {
        let daemon = self.daemon();
        until(&format!("end {count}"), || {
            let log = daemon.log();
            let ends = log.lines().filter(|line| line.contains(" next fetch "));
            let ends: Vec<String> = ends.map(str::to_owned).collect();
            (ends.len() >= count).then_some(ends)
        })
    }
}

fn said(output: &Output) -> (i32, String, String) {
    let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
    (
        output.status.code().unwrap(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn a_daemon_fetches_from_all_at_the_start_and_again_on_sigusr1() {
    let (one, two) = (Isp::new("453 none"), Isp::new("250 ok"));
    let mut site = Site::start(&[("one", &one, ""), ("two", &two, "interval = \"2h\"")]);
    let ends = site.has_ended(2);
    let end = |name: &str| ends.iter().find(|line| line.contains(name)).unwrap();
    assert!(end("provider=one").contains("wait=15m"), "{ends:?}");
    assert!(end("provider=two").contains("wait=2h"), "{ends:?}");
    one.sees(1);
    two.sees(1);
    site.daemon().signal(Signal::SIGUSR1);
    site.has_ended(4);
    one.sees(2);
    two.sees(2);
    site.daemon().signal(Signal::SIGTERM);
    let (status, log) = site.daemon().ended();
    assert!(status.success(), "{log}");
    assert!(!site.path("control").exists(), "the socket goes with it");
}

#[test]
fn a_daemon_given_names_fetches_from_those_alone() {
    let (one, two) = (Isp::new("453 none"), Isp::new("453 none"));
    let mut site = Site::new(&[("one", &one, ""), ("two", &two, "")]);
    // Named twice it is still one provider.
    site.run(&["two", "two"], &[]);
    site.has_ended(1);
    site.daemon().signal(Signal::SIGUSR1);
    site.has_ended(2);
    two.sees(2);
    one.sees(0);
    let (code, _, log) = said(&site.now(&["one"]));
    assert_eq!(code, 78, "{log}");
    assert!(
        log.contains("none of the providers that the daemon fetches from"),
        "{log}"
    );
}

#[test]
fn failures_make_waits_longer_and_a_refusal_waits_the_longest_at_once() {
    let isp = Isp::new("450 4.7.0 not now");
    let mut site = Site::start(&[("one", &isp, "retry_longest = \"3m\"")]);
    for (count, wait) in [(1, "wait=1m "), (2, "wait=2m "), (3, "wait=3m ")] {
        let ends = site.has_ended(count);
        assert!(ends[count - 1].contains(wait), "{ends:?}");
        site.daemon().signal(Signal::SIGUSR1);
    }
    site.has_ended(4);
    isp.answers("453 none");
    assert_eq!(site.now(&["one"]).status.code(), Some(0));
    isp.answers("530 5.7.0 never");
    assert_eq!(site.now(&["one"]).status.code(), Some(77));
    let ends = site.has_ended(6);
    assert!(ends[4].contains("wait=15m "), "{ends:?}");
    // Not sooner than the usual either.
    assert!(ends[5].contains("wait=15m "), "{ends:?}");
}

#[test]
fn now_prints_the_report_and_ends_as_the_fetch_does() {
    let isp = Isp::new("453 none");
    let mut site = Site::start(&[("one", &isp, "")]);
    site.has_ended(1);
    let (code, out, log) = said(&site.now(&["one"]));
    assert_eq!(code, 0, "{log}");
    assert!(out.starts_with("one: all domains: no mail ("), "{out}");
    isp.answers("450 4.7.0 not now");
    let (code, out, _) = said(&site.now(&["one", "--json"]));
    assert_eq!(code, 75);
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["end"], "try-later", "{report}");
    assert_eq!(report["provider"], "one");
    isp.sees(3);
    // One that nobody has.
    let (code, out, log) = said(&site.now(&["ona"]));
    assert_eq!((code, out.as_str()), (78, ""));
    assert!(log.contains("did you mean \"one\"?"), "{log}");
    site.daemon().signal(Signal::SIGTERM);
    site.daemon().ended();
    let (code, _, log) = said(&site.now(&["one"]));
    assert_eq!(code, 69, "{log}");
    assert!(log.contains("is turnabout fetch --daemon running"), "{log}");
}

#[test]
fn two_fetches_from_one_provider_never_run_at_a_time() {
    let isp = Isp::new("453 none");
    isp.holds(true);
    let mut site = Site::start(&[("one", &isp, "")]);
    isp.sees(1);
    let waiting = site.now_command(&["one"]).spawn().unwrap();
    site.daemon().logged("a fetch was asked for");
    site.daemon().signal(Signal::SIGUSR1);
    site.daemon().logged("signal=SIGUSR1");
    site.daemon().signal(Signal::SIGHUP);
    site.daemon().logged("reloaded");
    isp.sees(1);
    isp.holds(false);
    // Who waited hears of the fetch that ran; the signal was for mail that may have come later.
    let (code, out, _) = said(&waiting.wait_with_output().unwrap());
    assert_eq!(code, 0, "{out}");
    site.has_ended(2);
    isp.sees(2);
    assert_eq!(isp.facts.most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_reload_takes_providers_in_and_out_and_a_bad_file_changes_nothing() {
    let (one, two) = (Isp::new("453 none"), Isp::new("450 no"));
    let mut site = Site::start(&[("one", &one, "")]);
    site.has_ended(1);
    let good = fs::read_to_string(site.path("turnabout.toml")).unwrap();
    fs::write(site.path("turnabout.toml"), good.replace("jitter", "jiter")).unwrap();
    site.daemon().signal(Signal::SIGHUP);
    let why = site.daemon().logged("cannot reload");
    assert!(
        why.contains("jitter") && why.contains("everything stays as it was"),
        "{why}"
    );
    site.daemon().signal(Signal::SIGUSR1);
    site.has_ended(2);
    one.sees(2);
    // The second comes in, and is fetched from at once.
    site.configure(&[("one", &one, ""), ("two", &two, "")]);
    site.daemon().signal(Signal::SIGHUP);
    site.daemon().logged("reloaded providers=2");
    site.has_ended(3);
    two.sees(1);
    // What failed is tried again by a reload, and the first goes.
    site.configure(&[("two", &two, "")]);
    site.daemon().signal(Signal::SIGHUP);
    site.daemon().logged("reloaded providers=1");
    site.has_ended(4);
    two.sees(2);
    one.sees(2);
    // The socket is made once.
    let moved = fs::read_to_string(site.path("turnabout.toml")).unwrap();
    let moved = moved.replace("/control\"", "/elsewhere\"");
    fs::write(site.path("turnabout.toml"), moved).unwrap();
    site.daemon().signal(Signal::SIGHUP);
    site.daemon().logged("restart to change it");
}

#[test]
fn sigterm_before_the_turn_ends_the_daemon_and_whoever_waits_is_told() {
    let isp = Isp::new("453 none");
    let mut site = Site::start(&[("one", &isp, "")]);
    site.has_ended(1);
    isp.holds(true);
    let waiting = site.now_command(&["one"]).spawn().unwrap();
    isp.sees(2);
    site.daemon().signal(Signal::SIGTERM);
    let (status, log) = site.daemon().ended();
    assert!(status.success(), "{log}");
    assert!(log.contains("stopped before the turn"), "{log}");
    let (code, out, _) = said(&waiting.wait_with_output().unwrap());
    assert_eq!(code, 75);
    assert!(out.contains("stopped before the turn"), "{out}");
}

#[test]
fn a_mail_server_that_has_the_connection_goes_on_after_sigterm() {
    let isp = Isp::new("250 ok");
    let mut site = Site::new(&[("one", &isp, "")]);
    let done = site.path("done");
    let go = site.path("go");
    let script = format!(
        "while [ ! -e {} ]; do sleep 0.02; done; : > {}",
        go.display(),
        done.display()
    );
    let file = site.path("turnabout.toml");
    let text = fs::read_to_string(&file).unwrap();
    let text = text.replace(
        "[\"/bin/true\"]",
        &format!("[\"/bin/sh\", \"-c\", {script:?}]"),
    );
    fs::write(&file, text).unwrap();
    site.run(&[], &[]);
    site.daemon().logged("handed over");
    site.daemon().signal(Signal::SIGTERM);
    site.daemon().logged("session still open");
    site.daemon().logged(" stopped");
    assert!(!done.exists());
    fs::write(go, "").unwrap();
    // The mail server has our standard error, whose end is waited for.
    let (status, log) = site.daemon().ended();
    assert!(status.success(), "{log}");
    assert!(done.exists());
}

#[test]
fn in_quiet_hours_only_who_asks_is_obeyed_and_status_says_when_they_end() {
    let isp = Isp::new("453 none");
    // An hour ago until two hours from now, in a zone that is nobody's.
    let minutes = |ago: i64| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let minutes = i64::try_from(now.unwrap().as_secs() / 60).unwrap();
        // Five hours east of Greenwich.
        (minutes + 300 - ago).rem_euclid(24 * 60)
    };
    let clock = |minute: i64| format!("{:02}:{:02}", minute / 60, minute % 60);
    let end = minutes(-120);
    let span = format!("{}-{}", clock(minutes(60)), clock(end));
    let mut site = Site::new(&[("one", &isp, &format!("quiet_hours = [{span:?}]"))]);
    let path = site.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let notify = path.to_str().unwrap().to_owned();
    site.run(&[], &[("TZ", "XYZ-5"), ("NOTIFY_SOCKET", &notify)]);
    let next = format!("T{}:00Z", clock((end - 300).rem_euclid(24 * 60)));
    until("the end of the quiet hours", || {
        let mut octets = [0; 2048];
        let count = manager.recv(&mut octets).unwrap_or(0);
        let heard = String::from_utf8_lossy(&octets[..count]).into_owned();
        // To the second it may be the one before.
        let before = format!("T{}:59Z", clock((end - 301).rem_euclid(24 * 60)));
        let said =
            heard.contains("next one at") && (heard.contains(&next) || heard.contains(&before));
        said.then_some(())
    });
    std::thread::sleep(Duration::from_millis(300));
    isp.sees(0);
    site.daemon().signal(Signal::SIGUSR1);
    let ends = site.has_ended(1);
    isp.sees(1);
    assert!(
        ends[0].contains("wait=\"1h ") || ends[0].contains("wait=2h"),
        "{ends:?}"
    );
    assert_eq!(site.now(&["one"]).status.code(), Some(0));
    isp.sees(2);
    // Not by a reload either.
    site.daemon().signal(Signal::SIGHUP);
    site.daemon().logged("reloaded");
    std::thread::sleep(Duration::from_millis(300));
    isp.sees(2);
}

#[test]
fn quiet_hours_that_nobody_can_read_or_that_never_end_are_refused() {
    let isp = Isp::new("453 none");
    for (hours, why) in [
        ("\"22-6\"", "is not a time of day"),
        ("\"22:00\"", "is not a span of the day"),
        ("\"00:00-12:00\", \"11:00-00:00\"", "they are the whole day"),
    ] {
        let site = Site::new(&[("one", &isp, &format!("quiet_hours = [{hours}]"))]);
        let output = site.now(&["one"]);
        let (code, _, log) = said(&output);
        assert_eq!(code, 78, "{log}");
        assert!(log.contains(why) && log.contains("quiet_hours"), "{log}");
    }
}

#[test]
fn a_hook_of_a_daemon_runs_round_each_fetch_and_after_sigterm() {
    let isp = Isp::new("453 none");
    let mut site = Site::new(&[("one", &isp, "")]);
    let trace = site.path("trace");
    let hook = format!("echo $TURNABOUT_HOOK $TURNABOUT_END >> {}", trace.display());
    let more = format!(
        "hook_before = [\"/bin/sh\", \"-c\", {hook:?}]\nhook_after = [\"/bin/sh\", \"-c\", {hook:?}]"
    );
    site.configure(&[("one", &isp, &more)]);
    site.run(&[], &[]);
    site.has_ended(1);
    isp.holds(true);
    site.daemon().signal(Signal::SIGUSR1);
    isp.sees(2);
    site.daemon().signal(Signal::SIGTERM);
    let (status, log) = site.daemon().ended();
    assert!(status.success(), "{log}");
    assert_eq!(
        fs::read_to_string(&trace).unwrap(),
        "before\nafter no-mail\nbefore\nafter try-later\n"
    );
}

#[test]
fn status_sees_a_daemon_and_so_does_a_service_manager() {
    let isp = Isp::new("453 none");
    let mut site = Site::new(&[("one", &isp, "")]);
    let path = site.path("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    let mut heard = String::new();
    let mut hears = |word: &str| {
        until(word, || {
            let mut octets = [0; 2048];
            if let Ok(count) = manager.recv(&mut octets) {
                heard += &String::from_utf8_lossy(&octets[..count]);
                heard.push('\n');
            }
            let end = heard.find(word)? + word.len();
            heard.drain(..end);
            Some(())
        });
    };
    site.run(
        &[],
        &[
            ("NOTIFY_SOCKET", path.to_str().unwrap()),
            ("WATCHDOG_USEC", "400000"),
        ],
    );
    hears("READY=1");
    hears("STATUS=fetching from one");
    hears("STATUS=next one at 20");
    hears("WATCHDOG=1");
    hears("WATCHDOG=1");
    let status = Command::new(env!("CARGO_BIN_EXE_turnabout"))
        .args(["status", "--json", "--socket"])
        .arg(site.path("control"))
        .output()
        .unwrap();
    let status: serde_json::Value = serde_json::from_slice(&status.stdout).unwrap();
    assert_eq!(status["role"], "fetch");
    assert_eq!(status["last"][0]["name"], "one", "{status}");
    site.daemon().signal(Signal::SIGHUP);
    hears("RELOADING=1");
    hears("READY=1");
    site.daemon().signal(Signal::SIGTERM);
    hears("STOPPING=1");
    assert!(site.daemon().ended().0.success());
}

/// Somebody who looks on until this value is dropped.
struct Onlooker(std::process::Child);

impl Drop for Onlooker {
    fn drop(&mut self) {
        // Ended already is as good as killed.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// A span around now, in UTC: since an hour, until two hours from now.
fn quiet_now() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let minute = now.unwrap().as_secs() / 60;
    let clock = |minute: u64| format!("{:02}:{:02}", minute / 60 % 24, minute % 60);
    format!("{}-{}", clock(minute - 60), clock(minute + 120))
}

#[test]
fn status_tells_when_each_provider_is_fetched_from_next_and_what_that_waits_for() {
    let (fine, later) = (Isp::new("453 none"), Isp::new("450 4.7.0 not now"));
    let quiet = format!("quiet_hours = [{:?}]", quiet_now());
    let mut site = Site::new(&[
        ("fine", &fine, ""),
        ("later", &later, "retry_first = \"5m\""),
        ("night", &fine, &quiet),
    ]);
    site.run(&[], &[("TZ", "UTC")]);
    site.has_ended(2);
    let status = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnabout"));
        command.arg("status").args(more).arg("--socket");
        command.arg(site.directory.path().join("control"));
        command
    };
    let json = || -> serde_json::Value {
        let output = status(&["--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let all = json();
    let next = all["next"].as_array().unwrap();
    let expected = [
        ("fine", "interval", 0, 840.0..=900.0),
        ("later", "failure", 1, 240.0..=300.0),
        ("night", "quiet-hours", 0, 7000.0..=7200.0),
    ];
    assert_eq!(next.len(), expected.len(), "{all}");
    for (one, (name, reason, failures, wait)) in next.iter().zip(expected) {
        assert_eq!(one["name"], name, "{all}");
        assert_eq!(one["reason"], reason, "{all}");
        assert_eq!(one["failures"], failures, "{all}");
        let seconds = one["wait"].as_f64().unwrap();
        assert!(wait.contains(&seconds), "{all}");
        // The moment is the one after the wait.
        let at: jiff::Timestamp = one["at"].as_str().unwrap().parse().unwrap();
        let apart = at.duration_since(jiff::Timestamp::now()).as_secs_f64() - seconds;
        assert!(apart.abs() < 20.0, "{all}");
    }

    let output = status(&[]).output().unwrap();
    let page = String::from_utf8(output.stdout).unwrap();
    let row = |name: &str| -> Vec<String> {
        let table = page.split("PROVIDER  NEXT").nth(1).unwrap();
        let line = table.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    for (name, unit, end) in [
        ("fine", "m", ["interval", "0"]),
        ("later", "m", ["failure", "1"]),
        ("night", "h", ["quiet-hours", "0"]),
    ] {
        let row = row(name);
        assert!(row[1] == "in" && row[2].ends_with(unit), "{page}");
        assert_eq!(row[row.len() - 2..], end, "{page}");
    }

    // Who looks on sees a fetch begin, and its end.
    let file = site.path("watched");
    let mut watch = status(&["--watch"]);
    let watch = watch.stdout(fs::File::create(&file).unwrap()).spawn();
    let _watch = Onlooker(watch.unwrap());
    let block = || {
        let text = fs::read_to_string(&file).unwrap();
        text.rsplit("turnabout fetch ").next().unwrap().to_owned()
    };
    let watched = |words: &str| {
        until(words, || block().contains(words).then_some(()));
    };
    watched("failure      1");
    later.holds(true);
    site.daemon.as_ref().unwrap().signal(Signal::SIGUSR1);
    watched("running      1");
    let held = json();
    assert_eq!(held["next"][1]["reason"], "running", "{held}");
    assert!(held["next"][1]["at"].is_null(), "{held}");
    later.holds(false);
    watched("failure      2");
}

#[test]
fn a_daemon_without_a_provider_or_with_a_wrong_time_does_not_start() {
    let isp = Isp::new("453 none");
    let site = Site::new(&[("one", &isp, "interval = \"10s\"")]);
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnabout"));
        command
            .arg("--config")
            .arg(site.path("turnabout.toml"))
            .args(["fetch", "--daemon"])
            .args(words);
        said(&command.output().unwrap())
    };
    let (code, _, log) = run(&[]);
    assert_eq!(code, 78, "{log}");
    assert!(log.contains("\"10s\" is less than 1m"), "{log}");
    site.configure(&[("one", &isp, "retry_first = \"5m\"\nretry_longest = \"4m\"")]);
    let (code, _, log) = run(&[]);
    assert!(code == 78 && log.contains("less than retry_first"), "{log}");
    site.configure(&[]);
    let (code, _, log) = run(&[]);
    assert!(code == 78 && log.contains("has none"), "{log}");
    assert_eq!(run(&["--json"]).0, 64);
}

#[test]
fn no_more_than_some_wait_for_one_fetch_and_who_has_gone_is_not_counted() {
    let isp = Isp::new("453 none");
    isp.holds(true);
    let mut site = Site::start(&[("one", &isp, "")]);
    isp.sees(1);
    let ask = || {
        let mut stream = std::os::unix::net::UnixStream::connect(site.path("control")).unwrap();
        stream
            .write_all(b"{\"request\":\"now\",\"provider\":\"one\"}\n")
            .unwrap();
        stream
    };
    let counted = |site: &Site, count| {
        until("all to be heard", || {
            let log = site.daemon.as_ref().unwrap().log();
            (log.matches("a fetch was asked for").count() == count).then_some(())
        });
    };
    let waiting: Vec<_> = (0..32).map(|_| ask()).collect();
    counted(&site, 32);
    let mut answer = String::new();
    ask().read_to_string(&mut answer).unwrap();
    assert!(answer.contains("32 others wait"), "{answer}");
    // Those who hang up make room.
    drop(waiting);
    let mut last = ask();
    counted(&site, 33);
    isp.holds(false);
    answer.clear();
    last.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("no mail"), "{answer}");
    site.has_ended(1);
}
