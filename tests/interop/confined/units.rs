//! What the units of systemd take from the service, given to it here without systemd: capabilities, set-user-ID bits, and
//! system calls. Mail is delivered all the same.

use super::{SOON, note};
use crate::lab::{
    Authority, Host, Lab, Mail, Mode, Mta, Running, body_of_lines, turnabout, wait_for,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const UNIT: &str = "turnabout-serve.service";
const WITH_EXIM: &str = "turnabout-serve.service.d/exim.conf";

/// The values of a setting in the units, in their order; an empty one forgets those before.
fn settings(units: &[&str], name: &str) -> Vec<String> {
    let mut values = Vec::new();
    for unit in units {
        let path =
            PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/systemd")).join(unit);
        for line in fs::read_to_string(path).unwrap().lines() {
            match line.split_once('=') {
                Some((key, "")) if key == name => values.clear(),
                Some((key, value)) if key == name => values.push(value.to_owned()),
                _ => {}
            }
        }
    }
    assert!(!values.is_empty(), "{units:?} do not set {name}");
    values
}

/// ProtectSystem=strict as far as a host of the lab has directories of its own.
const READ_ONLY: &str = r#"
for directory in /etc /var/spool /var/lib /var/log /var/mail; do
    mount --bind "$directory" "$directory"
    mount -o remount,bind,ro "$directory"
done
exec "$@"
"#;

/// A command before ours that takes what the units take; capabilities are added up, of the rest the last counts.
fn taken_by(units: &[&str]) -> Vec<String> {
    let mut command: Vec<String> = match settings(units, "ProtectSystem").last().unwrap().as_str() {
        "strict" => ["unshare", "--mount", "sh", "-ec", READ_ONLY, "sh"]
            .map(str::to_owned)
            .into(),
        // What Exim writes is not below /usr or /etc.
        word => {
            assert_eq!(word, "full");
            Vec::new()
        }
    };
    let mut bounds = "-all".to_owned();
    for name in settings(units, "CapabilityBoundingSet")
        .join(" ")
        .split(' ')
    {
        bounds.push_str(",+");
        bounds.push_str(&name.trim_start_matches("CAP_").to_lowercase());
    }
    command.extend(["setpriv".to_owned(), format!("--bounding-set={bounds}")]);
    match settings(units, "NoNewPrivileges").last().unwrap().as_str() {
        "yes" => command.push("--no-new-privs".to_owned()),
        word => assert_eq!(word, "no"),
    }
    command
}

/// Starts `turnabout serve` behind another command, and waits until it listens.
pub fn serve_behind(provider: &Host, command: &[String]) -> Running {
    // As the unit has it, for its user.
    let user = match provider.mta {
        Mta::Exim => "Debian-exim",
        _ => "postfix",
    };
    let directory = ["-d", "-m", "2750", "-o", user, "/run/turnabout/serve"];
    provider.run("install", &directory);
    let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
    words.extend([turnabout(), "serve"]);
    let mut serve = provider.spawn("serve", words[0], &words[1..]);
    wait_for("line that says ready", SOON, || {
        assert_eq!(serve.ended(), None, "{}", serve.log());
        serve.log().contains(" ready ").then_some(())
    });
    serve
}

/// The program that strace has started.
fn child_of(strace: Pid) -> Pid {
    let children = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap();
    let first = children.split_whitespace().next().unwrap();
    Pid::from_raw(first.parse().unwrap())
}

/// Postfix needs none of it: postqueue works without its set-group-ID bit, for Postfix's own user.
#[test]
fn with_postfix_the_unit_leaves_enough_to_bind_to_read_roots_keys_and_to_deliver() {
    let mut lab = Lab::new();
    let (provider, customer) = (lab.provider(Mta::Postfix), lab.customer(Mta::Postfix));
    let authority = Authority::new();
    provider.serve_with_tls(&authority);
    customer.fetch_with_tls(&authority, Mode::Starttls);
    provider.submit(&[note("one")]);
    let serve = serve_behind(&provider, &taken_by(&[UNIT]));
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}{}", serve.log());
    customer.wait_inbox("alice", 1, SOON);
    provider.wait_empty_queue(SOON);
    assert!(!serve.log().contains("WARN"), "{}", serve.log());
}

/// Exim needs its set-user-ID bit and some of root's rights, also for what comes back to a user of its own machine.
#[test]
fn with_exim_and_its_drop_in_mail_is_delivered_and_what_is_refused_comes_back_to_a_local_user() {
    let mut lab = Lab::new();
    let (provider, customer) = (lab.provider(Mta::Exim), lab.customer(Mta::Exim));
    let mut refused = Mail::new(&["nobody-there@example.org"], "refused", &body_of_lines(1));
    refused.from = "bob@provider.test".to_owned();
    provider.submit(&[note("one"), refused]);
    let serve = serve_behind(&provider, &taken_by(&[UNIT, WITH_EXIM]));
    // Exim ends the session after a message without any accepted recipient; the next one goes on behind it.
    for _session in 0..2 {
        let (code, log) = customer.fetch();
        assert_eq!(code, 0, "{log}{}", serve.log());
    }
    customer.wait_inbox("alice", 1, SOON);
    provider.wait_inbox("bob", 1, SOON);
    provider.wait_empty_queue(SOON);
}

/// That is why there is a drop-in.
#[test]
fn without_its_drop_in_exim_is_of_no_use_and_the_mail_stays_queued() {
    let mut lab = Lab::new();
    let (provider, customer) = (lab.provider(Mta::Exim), lab.customer(Mta::Exim));
    provider.submit(&[note("one")]);
    let command = taken_by(&[UNIT]);
    let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
    words.extend([turnabout(), "serve"]);
    let mut serve = provider.spawn("serve", words[0], &words[1..]);
    // It may see that at its start already.
    let listens = wait_for("start", SOON, || {
        let ready = serve.log().contains(" ready ");
        (ready || serve.ended().is_some()).then_some(ready)
    });
    if listens {
        let (code, log) = customer.fetch();
        assert_eq!(code, 75, "{log}{}", serve.log());
    }
    assert_eq!(provider.queue().len(), 1);
    assert_eq!(customer.inbox_count("alice"), 0);
}

/// A group of system calls, or one, as systemd writes them: all their names.
fn calls(name: &str) -> BTreeSet<String> {
    if !name.starts_with('@') {
        return BTreeSet::from([name.to_owned()]);
    }
    let output = Command::new("systemd-analyze")
        .args(["syscall-filter", "--no-pager", name])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| calls(line.trim()))
        .collect()
}

/// What the unit's filter lets through.
fn allowed() -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for line in settings(&[UNIT], "SystemCallFilter") {
        let (taken, names) = match line.strip_prefix('~') {
            Some(names) => (true, names),
            None => (false, line.as_str()),
        };
        for call in names.split(' ').flat_map(calls) {
            if taken {
                allowed.remove(&call);
            } else {
                allowed.insert(call);
            }
        }
    }
    allowed
}

#[test]
fn no_system_call_of_the_service_with_postfix_is_outside_the_units_filter() {
    let allowed = allowed();
    assert!(
        allowed.len() > 200 && !allowed.contains("mount"),
        "{allowed:?}"
    );
    let mut lab = Lab::new();
    let (provider, customer) = (lab.provider(Mta::Postfix), lab.customer(Mta::Postfix));
    let authority = Authority::new();
    provider.serve_with_tls(&authority);
    customer.fetch_with_tls(&authority, Mode::Starttls);
    provider.submit(&[note("one")]);
    let trace = "/var/log/calls";
    let strace = ["strace", "-f", "-qq", "-o", trace].map(str::to_owned);
    let serve = serve_behind(&provider, &strace);
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}{}", serve.log());
    customer.wait_inbox("alice", 1, SOON);
    kill(child_of(serve.pid().unwrap()), Signal::SIGHUP).unwrap();
    wait_for("reload", SOON, || {
        serve.log().contains("reloaded").then_some(())
    });
    let text = provider.read(trace);
    let made: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.split_once(' ')?.1.trim_start().split_once('('))
        .map(|(call, _)| call.to_owned())
        .filter(|call| {
            call.bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'_')
        })
        .collect();
    assert!(made.contains("accept4") && made.len() > 40, "{made:?}");
    let outside: Vec<&String> = made.difference(&allowed).collect();
    assert_eq!(outside, Vec::<&String>::new());
    // MemoryDenyWriteExecute=yes.
    let writable_code = |line: &&str| line.contains("PROT_WRITE|PROT_EXEC");
    assert_eq!(text.lines().find(writable_code), None);
}
