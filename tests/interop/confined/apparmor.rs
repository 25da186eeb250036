//! The profile for `AppArmor`, in force.

use super::units::serve_behind;
use super::{CONFIG, SOON, note, status};
use crate::lab::{Lab, Mta, turnabout, wait_for};
use nix::sys::signal::Signal;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What only a host of the lab needs: the machine's own files at their other place, and the log.
const OF_THE_LAB: &str = "/var/lib/machine/** mr,\n  /**/serve.log w,\n  /dev/null rw,\n";

/// Loads the profile as it is shipped, with the program where it is here.
fn load() {
    let security = Path::new("/sys/kernel/security");
    if !security.join("apparmor").exists() {
        let mount = ["-t", "securityfs", "securityfs"];
        let status = Command::new("mount").args(mount).arg(security).status();
        assert!(status.unwrap().success());
    }
    let profile = include_str!("../../../contrib/apparmor/turnabout-serve");
    let (program, local) = (
        "/usr/sbin/turnabout",
        "include if exists <local/turnabout-serve>",
    );
    assert!(profile.contains(program) && profile.contains(local));
    let profile = profile
        .replace(program, turnabout())
        .replace(local, OF_THE_LAB);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("profile");
    fs::write(&file, profile).unwrap();
    let output = Command::new("apparmor_parser")
        .args(["--replace", "--skip-cache"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Without Landlock, so that it is the profile that refuses.
pub fn confined_by_apparmor() {
    load();
    let mut lab = Lab::new();
    let (provider, customer) = (lab.provider(Mta::Postfix), lab.customer(Mta::Postfix));
    provider.edit(CONFIG, "[serve]\n", "[serve]\nlandlock = false\n");
    let elsewhere = "/var/lib/elsewhere/accounts.toml";
    provider.run("install", &["-d", "-o", "postfix", "/var/lib/elsewhere"]);
    let from = "/etc/turnabout/accounts.toml";
    let copy = ["-o", "postfix", "-m", "600", from, elsewhere];
    provider.run("install", &copy);
    provider.submit(&[note("one")]);
    let behind = [
        "setpriv",
        "--no-new-privs",
        "aa-exec",
        "-p",
        "turnabout-serve",
        "--",
    ];
    let mut serve = serve_behind(&provider, &behind.map(str::to_owned));
    assert_eq!(status(&serve, "NoNewPrivs:"), "1");
    let pid = serve.pid().unwrap();
    let label = fs::read_to_string(format!("/proc/{pid}/attr/current")).unwrap();
    assert_eq!(label.trim(), "turnabout-serve (enforce)");
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}{}", serve.log());
    customer.wait_inbox("alice", 1, SOON);
    provider.wait_empty_queue(SOON);
    let line = format!("accounts = \"{elsewhere}\"\n");
    provider.edit(CONFIG, "[serve]\n", &format!("[serve]\n{line}"));
    serve.signal(Signal::SIGHUP);
    let refused = wait_for("refusal", SOON, || {
        let log = serve.log();
        let found = log.lines().find(|line| line.contains("cannot reload"));
        found.map(str::to_owned)
    });
    assert!(refused.contains("Permission denied"), "{refused}");
}
