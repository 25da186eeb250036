//! The Debian package: clean for lintian, and on a booted Debian it installs, serves and fetches under its units,
//! upgrades and goes as operators expect.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::lab::{Debian, Lab, Mta, turnabout};

const SOON: Duration = Duration::from_secs(60);

/// Builds the package from the program under test.
pub fn build(directory: &Path, version: &str) -> PathBuf {
    let output = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/contrib/deb"))
        .args(["--binary", turnabout(), "--version", version, "--output"])
        .arg(directory)
        .env("DEBFULLNAME", "Test")
        .env("DEBEMAIL", "test@turnabout.org")
        // Quicker, and read the same.
        .env("DPKG_DEB_COMPRESSOR_TYPE", "gzip")
        .env("DPKG_DEB_COMPRESSOR_LEVEL", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// A Debian with a Postfix that works: nothing of ours yet. Without names to ask for, and mail in home directories.
pub fn with_postfix(lab: &mut Lab, number: u8) -> Debian {
    let debian = boot(lab, number);
    debian.run(
        "echo 'postfix postfix/main_mailer_type select Internet Site' | debconf-set-selections
        apt-get install -q postfix
        postconf -e 'home_mailbox = Maildir/' 'smtp_dns_support_level = disabled' 'maillog_file = /var/log/mail.log'
        useradd --create-home alice
        systemctl restart postfix",
    );
    debian
}

/// The same with Exim.
pub fn with_exim(lab: &mut Lab, number: u8) -> Debian {
    let debian = boot(lab, number);
    debian.run(
        "debconf-set-selections <<END
exim4-config exim4/dc_eximconfig_configtype select internet site; mail is sent and received directly using SMTP
exim4-config exim4/dc_localdelivery select Maildir format in home directory
exim4-config exim4/dc_local_interfaces string
END
        apt-get install -q exim4-daemon-light
        useradd --create-home alice",
    );
    debian
}

/// A Debian whose apt asks nothing and has the packages already.
fn boot(lab: &mut Lab, number: u8) -> Debian {
    let debian = Debian::boot(match number {
        1 => lab.provider(Mta::Nothing),
        _ => lab.customer(Mta::Nothing),
    });
    let settings = b"APT::Get::Assume-Yes \"true\";\nAPT::Install-Recommends \"false\";\n";
    debian.write("/etc/apt/apt.conf.d/90lab", "644", settings);
    debian
}

/// Installs a package as an operator does.
pub fn install(debian: &Debian, package: &Path) {
    debian.write("/var/tmp/turnabout.deb", "644", &fs::read(package).unwrap());
    debian.run("apt-get install -q /var/tmp/turnabout.deb");
}

/// Puts a message for alice at example.org into the queue.
pub fn queue_mail(provider: &Debian, subject: &str) {
    provider.run(&format!(
        "printf 'Subject: {subject}\\n\\nbody of {subject}\\n' | sendmail -f bob@example.edu alice@example.org"
    ));
}

#[test]
fn the_package_is_clean_for_lintian() {
    let directory = tempfile::tempdir().unwrap();
    let package = build(directory.path(), "0.1.0-1");
    let output = Command::new("lintian")
        .args(["--fail-on", "error,warning", "--allow-root", "--no-cfg"])
        .arg(&package)
        .stdin(Stdio::null())
        .output()
        .expect("lintian is needed for this test (contrib/test installs it)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

/// Every file of the system that is not in motion by itself.
fn files(debian: &Debian) -> BTreeSet<String> {
    debian
        .run(
            "find / -xdev \\( -path /proc -o -path /sys -o -path /dev -o -path /tmp -o -path '/run/systemd*' \
             -o -path '/run/user*' -o -path /var/cache -o -path /var/log -o -path /var/spool \
             -o -path '/var/lib/apt*' -o -path '/var/lib/systemd*' -o -path /var/tmp \\) -prune -o -print; find /run/turnabout /run/systemd/system* 2>/dev/null || true",
        )
        .lines()
        .map(str::to_owned)
        .collect()
}

fn unit_state(debian: &Debian, unit: &str) -> String {
    debian.run(&format!(
        "systemctl show -P ActiveState {unit}; systemctl is-enabled {unit} || true"
    ))
}

fn main_pid(debian: &Debian) -> String {
    debian.run("systemctl show -P MainPID turnabout-serve")
}

#[test]
fn the_package_serves_and_fetches_under_its_units_upgrades_and_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let first = build(directory.path(), "0.1.0-1");
    let second = build(directory.path(), "0.1.0+1-1");
    let mut lab = Lab::new();
    let provider = with_postfix(&mut lab, 1);
    let customer = with_postfix(&mut lab, 2);
    let before = files(&provider);
    install(&provider, &first);
    install(&customer, &first);
    installed_and_quiet(&provider);
    examples_are_there(&provider);

    let examples = "/usr/share/doc/turnabout/examples";
    provider.run(&format!(
        "cat {examples}/postfix/provider-main.cf >>/etc/postfix/main.cf
        cat {examples}/postfix/provider-master.cf >>/etc/postfix/master.cf
        echo 'example.org odmr:[127.77.0.1]:24' >>/etc/postfix/turnabout
        systemctl restart postfix
        printf '[serve]\\ntls = \"none\"\\n' >/etc/turnabout/turnabout.toml
        echo wonderland | turnabout passwd alice --domains example.org --next-hop '[127.77.0.1]:24'
        systemctl enable --now turnabout-serve"
    ));
    assert_eq!(
        unit_state(&provider, "turnabout-serve"),
        "active\nenabled\n"
    );
    customer.run(&format!(
        "postconf -e 'mydestination = $myhostname, localhost, example.org'
        cat {examples}/postfix/customer-master.cf >>/etc/postfix/master.cf
        systemctl restart postfix
        install -m 640 -g turnabout /dev/stdin /etc/turnabout/password <<'END'
wonderland
END
        cat >/etc/turnabout/turnabout.toml <<'END'
[providers.isp]
host = \"provider.test\"
tls = \"none\"
user = \"alice\"
password_file = \"/etc/turnabout/password\"
END"
    ));
    status_is_for_root_and_the_group(&provider, "serve", "drwxr-s---");
    customer.run("systemctl start turnabout-fetch");
    status_is_for_root_and_the_group(&customer, "fetch", "drwxr-x---");
    customer.run("systemctl stop turnabout-fetch");
    queue_mail(&provider, "first");
    customer.run("systemctl start turnabout-fetch@isp");
    let inbox = customer.wait_inbox("alice", 1, SOON);
    assert!(inbox[0].contains("body of first"), "{inbox:?}");

    upgrade(&provider, &second);
    queue_mail(&provider, "second");
    customer.run(
        "systemctl enable --now turnabout-fetch@isp.timer; systemctl start turnabout-fetch@isp",
    );
    customer.wait_inbox("alice", 2, SOON);

    removal(&provider, &before);
}

/// Installed, and nothing runs or listens before it is told to.
fn installed_and_quiet(debian: &Debian) {
    let version = debian.run("turnabout --version");
    assert_eq!(
        version,
        concat!("turnabout ", env!("CARGO_PKG_VERSION"), "\n")
    );
    for unit in [
        "turnabout-serve.service",
        "turnabout-serve.socket",
        "turnabout-serve-tls.socket",
        "turnabout.socket",
        "turnabout-fetch.service",
    ] {
        assert_eq!(unit_state(debian, unit), "inactive\ndisabled\n", "{unit}");
    }
    let pages = concat!(env!("CARGO_MANIFEST_DIR"), "/man");
    for page in fs::read_dir(pages).unwrap() {
        let name = page.unwrap().file_name().into_string().unwrap();
        let (name, section) = name.rsplit_once('.').unwrap();
        debian.run(&format!("man -w {section} {name}"));
    }
    let made = debian.run(
        "stat -c '%A %U %G' /etc/turnabout /run/turnabout /var/lib/turnabout; id -nG postfix; getent passwd turnabout | cut -d: -f7",
    );
    assert_eq!(
        made,
        "drwxr-x--- root turnabout\ndrwxr-sr-x root turnabout\ndrwxrwsr-x root turnabout\npostfix turnabout\n/usr/sbin/nologin\n"
    );
    let verified = debian.try_run(
        "cd /lib/systemd/system && systemd-analyze verify --recursive-errors=no turnabout-serve.service \
         turnabout-serve.socket turnabout-serve-tls.socket turnabout.socket turnabout@1.service \
         turnabout-fetch.service turnabout-fetch@isp.service turnabout-fetch@isp.timer",
    );
    let said = String::from_utf8_lossy(&verified.stderr).into_owned();
    assert!(verified.status.success() && said.is_empty(), "{said}");
}

/// Each service has a directory that is its user's alone. The group may ask what goes on, and take nothing away.
fn status_is_for_root_and_the_group(debian: &Debian, service: &str, mode: &str) {
    let directory = format!("/run/turnabout/{service}");
    let made = debian.run(&format!("stat -c '%A %U %G' {directory}"));
    assert_eq!(made, format!("{mode} postfix turnabout\n"));
    let as_member = "setpriv --reuid nobody --regid turnabout --clear-groups";
    for who in ["", as_member] {
        let said = debian.run(&format!(
            "timeout 10 sh -c 'until test -S {directory}/control.sock; do sleep 0.1; done'; {who} turnabout status"
        ));
        assert!(said.starts_with(&format!("turnabout {service} ")), "{said}");
    }
    let stranger = "setpriv --reuid nobody --regid nogroup --clear-groups turnabout status";
    assert_eq!(debian.try_run(stranger).status.code(), Some(69));
    for hostile in [
        "rm control.sock",
        "mv control.sock other",
        "touch file",
        "mv /run/turnabout/serve /run/turnabout/other",
    ] {
        let done = debian.try_run(&format!(
            "cd {directory} && {as_member} {hostile} </dev/null"
        ));
        assert!(!done.status.success(), "{hostile}");
    }
}

/// The service goes on with the configuration as it was changed, as another process.
fn upgrade(debian: &Debian, package: &Path) {
    let configuration = "sha256sum /etc/turnabout/* /etc/postfix/turnabout";
    let (before, process) = (debian.run(configuration), main_pid(debian));
    install(debian, package);
    assert_eq!(debian.run(configuration), before);
    assert_eq!(unit_state(debian, "turnabout-serve"), "active\nenabled\n");
    assert_ne!(main_pid(debian), process);
    let version = debian.run("dpkg-query -W -f '${Version}' turnabout");
    assert_eq!(version, "0.1.0+1-1");
}

/// What the pages call shipped.
fn examples_are_there(debian: &Debian) {
    debian.run(
        "cd /usr/share/doc/turnabout/examples
        test -e fail2ban/filter.d/turnabout.conf && ls grafana/*.json opensmtpd/customer.conf cron/* inetd/*",
    );
}

/// What is removed stops and keeps its configuration; what is purged was never there.
fn removal(debian: &Debian, before: &BTreeSet<String>) {
    debian.run("apt-get remove -q turnabout");
    let left = debian.try_run("pgrep -x turnabout; ss -Hltn 'sport = :366'");
    assert_eq!(String::from_utf8_lossy(&left.stdout), "");
    debian.run("test -s /etc/turnabout/turnabout.toml && test -s /etc/turnabout/accounts.toml");
    debian.run("apt-get purge -q turnabout");
    debian.run("rm /etc/postfix/turnabout");
    let after = files(debian);
    let left: Vec<&String> = after.difference(before).collect();
    assert!(left.is_empty(), "{left:?}");
}

/// Exim becomes root by its set-user-ID bit, in both roles, for all that the units leave it.
#[test]
fn exim_serves_and_is_fetched_for_under_the_units_with_their_drop_ins() {
    let directory = tempfile::tempdir().unwrap();
    let package = build(directory.path(), "0.1.0-1");
    let mut lab = Lab::new();
    let (provider, customer) = (with_exim(&mut lab, 1), with_exim(&mut lab, 2));
    install(&provider, &package);
    install(&customer, &package);
    let drop_in = |unit: &str| {
        format!(
            "cd /usr/share/doc/turnabout/examples
            install -D -m 644 -t /etc/systemd/system/{unit}.service.d turnabout-{}.service.d/exim.conf
            systemctl daemon-reload
            sed -i \"s/^dc_use_split_config=.*/dc_use_split_config='true'/\" /etc/exim4/update-exim4.conf.conf",
            if unit.contains("serve") { "serve" } else { "fetch" }
        )
    };
    provider.run(&format!(
        "{}
        cp -r exim/debian-provider/. /etc/exim4/conf.d
        echo 'example.org: 127.77.0.1' >>/etc/exim4/turnabout
        sed -i \"s/^dc_relay_domains=.*/dc_relay_domains='+odmr_domains'/\" /etc/exim4/update-exim4.conf.conf
        systemctl restart exim4
        printf '[serve]\\ntls = \"none\"\\nhandoff = \"exim-continue\"\\n' >/etc/turnabout/turnabout.toml
        echo wonderland | turnabout passwd alice --domains example.org --next-hop '[127.77.0.1]:24'
        systemctl start turnabout-serve",
        drop_in("turnabout-serve")
    ));
    let made = provider.run("stat -c '%A %U %G' /run/turnabout/serve; turnabout status");
    assert!(
        made.starts_with("drwxr-s--- Debian-exim turnabout\nturnabout serve "),
        "{made}"
    );
    customer.run(&format!(
        "{}
        cp -r exim/debian-customer/. /etc/exim4/conf.d
        sed -i \"s/^dc_other_hostnames='/&example.org;/\" /etc/exim4/update-exim4.conf.conf
        systemctl restart exim4
        install -m 640 -g turnabout /dev/stdin /etc/turnabout/password <<'END'
wonderland
END
        cat >/etc/turnabout/turnabout.toml <<'END'
[providers.isp]
host = \"provider.test\"
tls = \"none\"
user = \"alice\"
password_file = \"/etc/turnabout/password\"
handoff = \"exec\"
command = [\"/usr/sbin/exim4\", \"-bs\"]
END",
        drop_in("turnabout-fetch@")
    ));
    queue_mail(&provider, "first");
    customer.run("systemctl start turnabout-fetch@isp");
    let log = customer.run("journalctl -u 'turnabout-fetch*' -o cat; cat /var/log/exim4/mainlog");
    assert!(log.contains(" end=\"turned, handed over by exec"), "{log}");
    assert!(!log.contains("WARN"), "{log}");
    let inbox = customer.wait_inbox("alice", 1, SOON);
    assert!(inbox[0].contains("body of first"), "{inbox:?}");
    let log = provider.run("journalctl -u turnabout-serve -o cat");
    assert!(!log.contains("WARN") && !log.contains("cannot"), "{log}");
    what_forbids_set_user_id(&customer);
}

/// `turnabout check` knows each setting that forbids Exim its set-user-ID bit with this systemd.
fn what_forbids_set_user_id(customer: &Debian) {
    let unit = "turnabout-fetch@.service";
    let found = customer.run("turnabout check");
    assert!(!found.contains(unit), "{found}");
    for setting in [
        "SystemCallFilter=@system-service",
        "SystemCallArchitectures=native",
        "SystemCallLog=@clock",
        "RestrictAddressFamilies=AF_INET",
        "RestrictNamespaces=yes",
        "RestrictRealtime=yes",
        "RestrictSUIDSGID=yes",
        "LockPersonality=yes",
        "MemoryDenyWriteExecute=yes",
        "PrivateDevices=yes",
        "ProtectKernelTunables=yes",
        "ProtectKernelModules=yes",
        "ProtectKernelLogs=yes",
        "ProtectClock=yes",
        "ProtectHostname=yes",
    ] {
        let status = customer.run(&format!(
            "systemd-run -q --wait --pipe -p User=Debian-exim -p {setting} cat /proc/self/status"
        ));
        assert!(status.contains("NoNewPrivs:\t1\n"), "{setting}: {status}");
        let found = customer.run(&format!(
            "printf '[Service]\\n{setting}\\n' >/etc/systemd/system/{unit}.d/later.conf; turnabout check || true"
        ));
        let (name, _) = setting.split_once('=').unwrap();
        let sentence = format!("User= with {name}= implies NoNewPrivileges");
        assert!(found.contains(&sentence), "{setting}: {found}");
    }
    // What is left of the unit does not.
    let settings = customer.run(&format!("rm /etc/systemd/system/{unit}.d/later.conf; systemctl daemon-reload; systemctl cat turnabout-fetch@isp"));
    let kept = [
        "ReadOnlyPaths=/proc/sys /sys",
        "DevicePolicy=closed",
        "CapabilityBoundingSet=CAP_SETUID",
    ];
    for setting in kept {
        assert!(settings.contains(setting), "{setting}: {settings}");
    }
    let status = customer.run(
        "systemd-run -q --wait --pipe -p User=Debian-exim -p DevicePolicy=closed -p ProtectSystem=full -p PrivateMounts=yes \
         -p ProtectProc=invisible -p ProtectControlGroups=yes -p RemoveIPC=yes -p KeyringMode=private \
         -p 'ReadOnlyPaths=/proc/sys /sys' -p 'CapabilityBoundingSet=CAP_SETUID CAP_SETGID' cat /proc/self/status",
    );
    assert!(status.contains("NoNewPrivs:\t0\n"), "{status}");
}
