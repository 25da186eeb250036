//! What is seen of `turnabout fetch --daemon` from outside, and its quiet hours.

use crate::driver::{Daemon, Isp, until};
use crate::fetch_daemon::said;
use nix::sys::signal::Signal;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

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
    let mut site = Daemon::new(&[("one", &isp, &format!("quiet_hours = [{span:?}]"))]);
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
        let site = Daemon::new(&[("one", &isp, &format!("quiet_hours = [{hours}]"))]);
        let output = site.now(&["one"]);
        let (code, _, log) = said(&output);
        assert_eq!(code, 78, "{log}");
        assert!(log.contains(why) && log.contains("quiet_hours"), "{log}");
    }
}

#[test]
fn status_sees_a_daemon_and_so_does_a_service_manager() {
    let isp = Isp::new("453 none");
    let mut site = Daemon::new(&[("one", &isp, "")]);
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
    let mut site = Daemon::new(&[
        ("fine", &fine, ""),
        ("later", &later, "retry_first = \"5m\""),
        ("night", &fine, &quiet),
    ]);
    site.run(&[], &[("TZ", "UTC")]);
    site.has_ended(2);
    let status = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnabout"));
        command.arg("status").args(more).arg("--socket");
        command.arg(site.path("control"));
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
    site.signal(Signal::SIGUSR1);
    watched("running      1");
    let held = json();
    assert_eq!(held["next"][1]["reason"], "running", "{held}");
    assert!(held["next"][1]["at"].is_null(), "{held}");
    later.holds(false);
    watched("failure      2");
}
