//! `turnabout fetch --daemon` and `--now`, the real program against a provider that is always there.

use crate::driver::{Daemon, Isp, until};
use nix::sys::signal::Signal;
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Output};

pub fn said(output: &Output) -> (i32, String, String) {
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
    let mut site = Daemon::start(&[("one", &one, ""), ("two", &two, "interval = \"2h\"")]);
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
    let mut site = Daemon::new(&[("one", &one, ""), ("two", &two, "")]);
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
    let mut site = Daemon::start(&[("one", &isp, "retry_longest = \"3m\"")]);
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
    let mut site = Daemon::start(&[("one", &isp, "")]);
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
    let mut site = Daemon::start(&[("one", &isp, "")]);
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
    assert_eq!(isp.most_at_a_time(), 1);
}

#[test]
fn a_reload_takes_providers_in_and_out_and_a_bad_file_changes_nothing() {
    let (one, two) = (Isp::new("453 none"), Isp::new("450 no"));
    let mut site = Daemon::start(&[("one", &one, "")]);
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
    let mut site = Daemon::start(&[("one", &isp, "")]);
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
    let mut site = Daemon::new(&[("one", &isp, "")]);
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
fn a_hook_of_a_daemon_runs_round_each_fetch_and_after_sigterm() {
    let isp = Isp::new("453 none");
    let mut site = Daemon::new(&[("one", &isp, "")]);
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
fn a_daemon_without_a_provider_or_with_a_wrong_time_does_not_start() {
    let isp = Isp::new("453 none");
    let site = Daemon::new(&[("one", &isp, "interval = \"10s\"")]);
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
    let mut site = Daemon::start(&[("one", &isp, "")]);
    isp.sees(1);
    let ask = || {
        let mut stream = std::os::unix::net::UnixStream::connect(site.path("control")).unwrap();
        stream
            .write_all(b"{\"request\":\"now\",\"provider\":\"one\"}\n")
            .unwrap();
        stream
    };
    let counted = |site: &Daemon, count| {
        until("all to be heard", || {
            let log = site.log();
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
