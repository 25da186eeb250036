//! Postfix is reloaded at the provider, in the middle of a transfer. Its connection cache ends then, with all that it
//! has, and its queue manager; what smtp(8) is at goes on.

use super::restarted::End::{Interrupted, Undisturbed};
use super::restarted::{LONG, PLACES, each_place};
use super::site::SOON;
use crate::lab::{Host, wait_for};

/// Rules: R29, B19
#[test]
fn postfix_reloaded_at_the_provider_in_the_transfer_does_not_end_the_session() {
    let end = each_place(&PLACES, LONG, |site, _| reload(&site.provider));
    assert_eq!(end, Undisturbed);
}

/// The one way in which a reload ends a session: the only copies of the connection are then ours and, for all that we
/// know, one of an smtp(8) that is about to speak. Nobody speaks any more, and the mail waits for the next ATRN.
#[test]
fn postfix_reloaded_while_the_cache_has_the_connection_ends_the_session_and_loses_no_mail() {
    let end = each_place(&["final 10"], LONG, |site, connection| {
        let provider = &site.provider;
        let manager = manager(provider);
        // Else it would have the connection taken for the next message.
        provider.run("sh", &["-c", &format!("kill -STOP {manager}")]);
        connection.go_on();
        wait_for("connection in the cache", SOON, || {
            let holders = provider.run("ss", &["-Htnp", "state", "established"]);
            (holders.contains("\"scache\"") && !holders.contains("\"smtp\"")).then_some(())
        });
        reload(provider);
        provider.run("sh", &["-c", &format!("kill -CONT {manager}")]);
    });
    assert_eq!(end, Interrupted);
}

/// Now and then, on a busy machine, a reloaded Postfix is without queue manager for five minutes: master calls for it
/// while the old one is still there, which takes the call and ends. That comes about where the old one learns of its
/// end too late; here because somebody holds open what it waits to see closed.
#[test]
fn a_reload_that_leaves_the_queue_without_a_manager_does_not_end_the_session() {
    let end = each_place(&["final 10"], LONG, |site, _| {
        let provider = &site.provider;
        let [master] = processes(provider, "master")[..] else {
            panic!("not one master");
        };
        let manager = manager(provider);
        let [of, to] = [master, manager].map(|process| process.to_string());
        let held = provider.spawn("held", "perl", &["-e", HOLD_THE_END, &of, &to]);
        wait_for("copy of the end", SOON, || {
            (held.log() == "held\n").then_some(())
        });
        reload(provider);
        assert_eq!(processes(provider, "qmgr"), [manager]);
        drop(held);
        wait_for("end of the queue manager", SOON, || {
            processes(provider, "qmgr").is_empty().then_some(())
        });
    });
    assert_eq!(end, Undisturbed);
}

/// A child of master has one end of a socket pair as its descriptor 5, and sees when master closes the other, which it
/// had made just before. This takes a copy of that one (`pidfd_open(2)`, `pidfd_getfd(2)`).
const HOLD_THE_END: &str = r#"
my ($master, $manager) = @ARGV;
my $end = readlink "/proc/$manager/fd/5";
my $process = syscall 434, 0 + $master, 0;
for (</proc/$master/fd/*>) {
    next unless readlink eq $end and m(/(\d+)$);
    syscall(438, $process, $1 - 1, 0) < 0 and die "pidfd_getfd: $!";
    $| = 1;
    print "held\n";
    sleep 600;
}
"#;

/// Returns when the cache has ended that was there before.
fn reload(provider: &Host) {
    let caches = processes(provider, "scache");
    assert_eq!(caches.len(), 1);
    provider.run("postfix", &["reload"]);
    wait_for("end of the cache", SOON, || {
        let now = processes(provider, "scache");
        (!now.contains(&caches[0])).then_some(())
    });
}

fn manager(host: &Host) -> u32 {
    let managers = processes(host, "qmgr");
    assert_eq!(managers.len(), 1);
    managers[0]
}

/// The processes of this name, by their number inside.
fn processes(host: &Host, name: &str) -> Vec<u32> {
    let each = "for name in /proc/[0-9]*/comm; do echo $name $(cat $name); done 2>/dev/null; :";
    let all = host.run("sh", &["-c", each]);
    all.lines()
        .filter_map(|line| line.strip_suffix(name)?.strip_suffix("/comm "))
        .filter_map(|line| line.strip_prefix("/proc/")?.parse().ok())
        .collect()
}
