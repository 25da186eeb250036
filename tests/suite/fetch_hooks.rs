//! Hooks round a fetch: what they are told, when they run, and what becomes of the fetch and of what they leave behind.

use crate::driver::{Peer, Running, opened, scripted, until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A provider that answers ATRN with this.
fn answers(reply: &'static str) -> (SocketAddr, JoinHandle<()>) {
    scripted(move |mut peer: Peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send(format!("{reply}\r\n"));
        if !reply.starts_with("250") {
            assert_eq!(peer.line().unwrap(), "QUIT");
            peer.send("221 bye\r\n");
        }
        peer.rest();
    })
}

/// A directory with hooks and a configuration.
struct Site(tempfile::TempDir);

impl Site {
    fn new() -> Site {
        Site(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A script of this name; `$D` is the directory. Gives its path.
    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        let directory = self.0.path().display();
        fs::write(&path, format!("#!/bin/sh\nD={directory}\n{text}\n")).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    fn start(&self, address: SocketAddr, more: &str) -> Running {
        let config = self.path("turnabout.toml");
        let text = format!(
            "[fetch]\nhostname = \"customer.example.org\"\n\
             [providers.isp]\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nuser = \"alice\"\n\
             password_command = [\"/bin/echo\", \"secret\"]\nhandoff = \"exec\"\ni_know = true\ncommand = [\"/bin/true\"]\n{more}\n",
            address.port()
        );
        // A later key of the same name stands in place of the first.
        let text = if more.contains("\ncommand = ") || more.starts_with("command = ") {
            text.replacen("command = [\"/bin/true\"]\n", "", 1)
        } else {
            text
        };
        fs::write(&config, text).unwrap();
        Running::start(&["--config", config.to_str().unwrap(), "fetch", "isp"])
    }

    /// Runs to the end: exit code and log.
    fn run(&self, address: SocketAddr, more: &str) -> (i32, String) {
        let (status, log) = self.start(address, more).ended();
        (status.code().unwrap(), log)
    }

    /// A script that notes its environment in a file, and then does this.
    fn notes(&self, name: &str, then: &str) -> String {
        self.script(name, &format!("env > $D/{name}.env\n{then}"))
    }

    fn environment(&self, name: &str) -> BTreeMap<String, String> {
        let text = self.file(&format!("{name}.env"));
        let pairs = text.lines().map(|line| line.split_once('=').unwrap());
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }
}

/// Nobody listens there, and who connects is noticed.
fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn is_gone(process: &str) -> bool {
    let process: i32 = process.trim().parse().unwrap();
    // A zombie that nobody waits for has ended as well.
    let state = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    kill(Pid::from_raw(process), None).is_err() || state.contains(") Z ")
}

#[test]
fn hooks_are_told_of_the_fetch_and_of_nothing_else() {
    let site = Site::new();
    let (before, after) = (site.notes("before", ""), site.notes("after", ""));
    let (address, provider) = answers("453 none");
    let more = format!(
        "domains = [\"example.org\", \"example.com\"]\nhook_before = [{before:?}]\nhook_after = [{after:?}]"
    );
    let (code, log) = site.run(address, &more);
    assert_eq!(code, 0, "{log}");
    provider.join().unwrap();
    let told = site.environment("before");
    let ours = |told: &BTreeMap<String, String>| -> Vec<String> {
        let names = told.keys().filter(|name| name.starts_with("TURNABOUT_"));
        names.cloned().collect()
    };
    assert_eq!(
        ours(&told),
        ["TURNABOUT_DOMAINS", "TURNABOUT_HOOK", "TURNABOUT_PROVIDER"]
    );
    assert_eq!(told["TURNABOUT_HOOK"], "before");
    let told = site.environment("after");
    assert_eq!(ours(&told).len(), 7, "{told:?}");
    assert_eq!(told["TURNABOUT_HOOK"], "after");
    assert_eq!(told["TURNABOUT_PROVIDER"], "isp");
    assert_eq!(told["TURNABOUT_DOMAINS"], "example.org example.com");
    assert_eq!(told["TURNABOUT_END"], "no-mail");
    assert_eq!(told["TURNABOUT_EXIT"], "0");
    assert_eq!(told["TURNABOUT_TEXT"], "no mail");
    assert!(told["TURNABOUT_SECONDS"].parse::<f64>().unwrap() < 60.0);
    // What this test was started with is not there.
    assert!(!told.contains_key("CARGO_MANIFEST_DIR"), "{told:?}");
}

#[test]
fn what_the_provider_says_comes_as_one_line_without_control_characters() {
    let site = Site::new();
    let after = site.notes("after", "");
    let (address, provider) = answers("450 4.7.0 \u{1b}[2Jno\tX=`id`\u{7f}");
    let (code, log) = site.run(address, &format!("hook_after = [{after:?}]"));
    assert_eq!(code, 75, "{log}");
    provider.join().unwrap();
    let told = site.environment("after");
    assert_eq!(told["TURNABOUT_END"], "try-later");
    assert_eq!(told["TURNABOUT_EXIT"], "75");
    let text = &told["TURNABOUT_TEXT"];
    assert!(text.contains("X=`id`"), "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

#[test]
fn a_hook_before_that_fails_dials_nobody_and_the_hook_after_runs() {
    let cases = [
        ("exit 3", "ended with exit status: 3"),
        ("kill -9 $$", "ended with signal: 9"),
        ("exec sleep 60", "took longer than 300ms and was ended"),
    ];
    for (then, why) in cases {
        let site = Site::new();
        let (before, after) = (site.script("before", then), site.notes("after", ""));
        let (listener, address) = silent();
        let time = if then.contains("sleep") {
            "300ms"
        } else {
            "60s"
        };
        let (code, log) = site.run(
            address,
            &format!("hook_before = [{before:?}]\nhook_after = [{after:?}]\nhook_time = {time:?}"),
        );
        assert_eq!(code, 75, "{log}");
        assert!(
            log.contains(why) && log.contains("nobody was dialled"),
            "{log}"
        );
        assert!(listener.accept().is_err(), "somebody came");
        let told = site.environment("after");
        assert_eq!(told["TURNABOUT_EXIT"], "75");
        assert!(told["TURNABOUT_TEXT"].contains(why), "{told:?}");
    }
    let site = Site::new();
    let after = site.notes("after", "");
    let (_listener, address) = silent();
    let (code, log) = site.run(
        address,
        &format!("hook_before = [\"/nonexistent/dial\"]\nhook_after = [{after:?}]"),
    );
    assert_eq!(code, 75, "{log}");
    assert!(
        log.contains("hook_before /nonexistent/dial could not be run: No such file or directory"),
        "{log}"
    );
    assert_eq!(site.environment("after")["TURNABOUT_EXIT"], "75");
}

#[test]
fn no_line_is_brought_up_for_files_of_our_own_that_are_no_good() {
    let site = Site::new();
    let (before, after) = (site.notes("before", ""), site.notes("after", ""));
    let (listener, address) = silent();
    let more =
        format!("ca_file = \"/nonexistent\"\nhook_before = [{before:?}]\nhook_after = [{after:?}]");
    let config = site.path("turnabout.toml");
    drop(site.start(address, &more));
    let text = site.file("turnabout.toml").replace("tls = \"none\"\n", "");
    fs::write(&config, text).unwrap();
    let mut fetch = Running::start(&["--config", config.to_str().unwrap(), "fetch", "isp"]);
    let (status, log) = fetch.ended();
    assert_eq!(status.code(), Some(78), "{log}");
    assert!(listener.accept().is_err());
    assert_eq!(site.file("before.env") + &site.file("after.env"), "");
}

#[test]
fn a_hook_after_that_fails_is_a_warning_and_the_result_stays() {
    let site = Site::new();
    let after = site.script("after", "exit 4");
    let (address, provider) = answers("453 none");
    let (code, log) = site.run(address, &format!("hook_after = [{after:?}]"));
    provider.join().unwrap();
    assert_eq!(code, 0, "{log}");
    let warning = log
        .lines()
        .find(|line| line.contains("hook_after"))
        .unwrap();
    assert!(warning.contains("WARN"), "{warning}");
    assert!(warning.contains("ended with exit status: 4"), "{warning}");
}

#[test]
fn the_order_is_before_dial_mail_server_after() {
    let site = Site::new();
    let order = |word: &str| format!("sleep 0.1; echo {word} >> $D/order; sleep 0.1");
    let before = site.script("before", &order("before"));
    let server = site.script("server", &order("server"));
    let after = site.script("after", &order("after"));
    let (address, provider) = answers("250 ok");
    let (code, log) = site.run(
        address,
        &format!("command = [{server:?}]\nhook_before = [{before:?}]\nhook_after = [{after:?}]"),
    );
    provider.join().unwrap();
    assert_eq!(code, 0, "{log}");
    assert_eq!(site.file("order"), "before\nserver\nafter\n");
}

#[test]
fn a_hook_has_no_socket_and_nothing_to_read() {
    let site = Site::new();
    let look = "ls -l /proc/self/fd > $D/fds.$TURNABOUT_HOOK; cat > $D/read.$TURNABOUT_HOOK";
    let hook = site.script("hook", look);
    let (address, provider) = answers("453 none");
    let (code, log) = site.run(
        address,
        &format!("hook_before = [{hook:?}]\nhook_after = [{hook:?}]"),
    );
    provider.join().unwrap();
    assert_eq!(code, 0, "{log}");
    for which in ["before", "after"] {
        let open = site.file(&format!("fds.{which}"));
        assert!(open.contains("0 -> /dev/null"), "{open}");
        assert!(open.contains("2 -> pipe:"), "{open}");
        assert!(!open.contains("socket:"), "{open}");
        assert_eq!(site.file(&format!("read.{which}")), "");
    }
}

#[test]
fn what_a_hook_prints_is_in_the_log_line_by_line() {
    let site = Site::new();
    let after = site.script(
        "after",
        "echo line is down; printf 'and\\033[2J this\\nno end' >&2",
    );
    let (address, provider) = answers("453 none");
    let (_, log) = site.run(address, &format!("hook_after = [{after:?}]"));
    provider.join().unwrap();
    let said: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("hook says"))
        .collect();
    assert_eq!(said.len(), 3, "{log}");
    assert!(
        said.iter().any(|line| line.contains("line is down")),
        "{log}"
    );
    assert!(said.iter().any(|line| line.contains("no end")), "{log}");
    assert!(!log.contains('\u{1b}'), "{log:?}");
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_its_children() {
    let site = Site::new();
    // Neither it nor its child listens to SIGTERM.
    let after = site.script(
        "after",
        "trap '' TERM\nexport D\nsh -c 'echo $$ > $D/child; sleep 60' &\necho $$ > $D/self\nwait",
    );
    let (address, provider) = answers("453 none");
    let started = Instant::now();
    let (code, log) = site.run(
        address,
        &format!("hook_after = [{after:?}]\nhook_time = \"500ms\""),
    );
    provider.join().unwrap();
    assert_eq!(code, 0, "{log}");
    assert!(
        log.contains("took longer than 500ms and was ended"),
        "{log}"
    );
    assert!(started.elapsed() < Duration::from_secs(30));
    for name in ["self", "child"] {
        assert!(is_gone(&site.file(name)), "{name}");
    }
}

#[test]
fn a_program_that_a_hook_leaves_behind_is_not_waited_for() {
    let site = Site::new();
    let before = site.script("before", "sleep 60 & echo $! > $D/left");
    let (address, provider) = answers("453 none");
    let started = Instant::now();
    let (code, log) = site.run(address, &format!("hook_before = [{before:?}]"));
    provider.join().unwrap();
    assert_eq!(code, 0, "{log}");
    assert!(started.elapsed() < Duration::from_secs(30));
    let left = site.file("left");
    // A line that is up has to stay up.
    assert!(!is_gone(&left));
    kill(Pid::from_raw(left.trim().parse().unwrap()), Signal::SIGKILL).unwrap();
}

#[test]
fn sigterm_during_the_hook_before_ends_it_and_the_hook_after_runs() {
    let site = Site::new();
    let before = site.script("before", "echo $$ > $D/self; exec sleep 60");
    let after = site.notes("after", "sleep 0.3; echo down > $D/down");
    let (listener, address) = silent();
    let mut fetch = site.start(
        address,
        &format!("hook_before = [{before:?}]\nhook_after = [{after:?}]"),
    );
    until("the hook", || {
        site.file("self").ends_with('\n').then_some(())
    });
    fetch.signal(Signal::SIGTERM);
    let (status, log) = fetch.ended();
    assert_eq!(status.code(), Some(75), "{log}");
    assert!(listener.accept().is_err());
    assert!(is_gone(&site.file("self")));
    assert_eq!(site.file("down"), "down\n");
    assert_eq!(
        site.environment("after")["TURNABOUT_TEXT"],
        "stopped before the turn"
    );
}

#[test]
fn sigterm_leaves_the_hook_after_its_time_and_a_second_one_a_little() {
    let site = Site::new();
    let after = site.script("after", "echo $$ > $D/self; sleep 60 & wait");
    let (address, provider) = answers("453 none");
    let mut fetch = site.start(address, &format!("hook_after = [{after:?}]"));
    until("the hook", || {
        site.file("self").ends_with('\n').then_some(())
    });
    provider.join().unwrap();
    fetch.signal(Signal::SIGTERM);
    fetch.logged("stopping");
    std::thread::sleep(Duration::from_millis(300));
    assert!(!is_gone(&site.file("self")), "{}", fetch.log());
    let second = Instant::now();
    fetch.signal(Signal::SIGTERM);
    let (status, log) = fetch.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(second.elapsed() > Duration::from_secs(4));
    assert!(
        log.contains("was ended, since turnabout had to stop"),
        "{log}"
    );
    assert!(is_gone(&site.file("self")));
}

#[test]
fn the_words_for_ends_are_those_of_the_json_report() {
    use turnabout::fetch::End;
    let all = [
        (End::Fetched, "fetched"),
        (End::NoMail, "no-mail"),
        (End::Unreachable, "unreachable"),
        (End::TryLater, "try-later"),
        (End::Protocol, "protocol"),
        (End::Refused, "refused"),
        (End::Configuration, "configuration"),
    ];
    for (end, word) in all {
        assert_eq!(serde_json::to_value(end).unwrap(), word);
    }
}

#[test]
fn what_a_hook_has_started_has_its_time_to_end_when_the_hook_itself_is_gone() {
    let site = Site::new();
    let after = site.script(
        "after",
        "(trap 'sleep 0.5; echo done > $D/tidied; exit' TERM; while :; do sleep 0.1; done) & wait",
    );
    let (address, provider) = answers("453 none");
    let (code, log) = site.run(
        address,
        &format!("hook_after = [{after:?}]\nhook_time = \"500ms\""),
    );
    provider.join().unwrap();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("was ended"), "{log}");
    assert_eq!(site.file("tidied"), "done\n");
}
