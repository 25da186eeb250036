//! What `turnabout check` says of mail servers that are started on the connection and are neither Postfix nor Exim. The
//! files of their machines lie in a directory of the test.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use turnabout::check::{Finding, Machine, Severity, look};

struct Site(tempfile::TempDir);

impl Site {
    /// A customer whose mail goes to a program of this name.
    fn new(program: &str, provider: &str, more: &str) -> Self {
        let site = Self(tempfile::tempdir().unwrap());
        site.write("password", "wonderland\n", 0o600);
        site.write(program, "#!/bin/sh\n", 0o755);
        let path = |name: &str| site.0.path().join(name).display().to_string();
        let text = format!(
            "[providers.isp]\nhost = \"{provider}\"\ntls = \"none\"\nuser = \"alice\"\npassword_file = \"{}\"\n\
             handoff = \"exec\"\ncommand = [\"{}\", \"-bs\"]\n{more}",
            path("password"),
            path(program)
        );
        site.write("turnabout.toml", &text, 0o600);
        site.write("proc/sys/kernel/hostname", "mail.host.test\n", 0o644);
        site
    }

    fn write(&self, name: &str, text: &str, mode: u32) {
        let path = self.0.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    fn check(&self) -> Vec<Finding> {
        let machine = Machine {
            root: self.0.path().to_owned(),
            config_directory: None,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let file = self.0.path().join("turnabout.toml");
        runtime.block_on(look(&file, &machine)).findings
    }

    fn has(&self, severity: Severity, sentence: &str, fix: &str) {
        let found = self.check();
        let there = found.iter().any(|finding| {
            finding.severity == severity
                && finding.sentence == sentence
                && finding.fix.as_deref() == Some(fix)
        });
        assert!(there, "{sentence}\n{found:#?}");
    }

    fn has_nothing_but_notes(&self) {
        let mut found = self.check();
        found.retain(|finding| {
            finding.severity != Severity::Note && !finding.sentence.starts_with("there is no TLS")
        });
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[test]
fn a_sendmail_on_a_machine_with_a_whole_name_is_right() {
    let site = Site::new("sendmail", "odmr.isp.test", "");
    site.has_nothing_but_notes();
    site.write("proc/sys/kernel/hostname", "mail\n", 0o644);
    site.write("etc/hosts", "127.0.1.1 mail.host.test mail\n", 0o644);
    site.has_nothing_but_notes();
}

#[test]
fn a_sendmail_on_a_machine_without_a_domain_sleeps_before_it_greets() {
    let site = Site::new("sendmail", "odmr.isp.test", "");
    site.write("proc/sys/kernel/hostname", "mail\n", 0o644);
    site.write("etc/hosts", "127.0.0.1 localhost mail\n", 0o644);
    site.has(
        Severity::Warning,
        "this machine's name has no domain, and Sendmail sleeps a minute over that before it greets the provider",
        "127.0.1.1 NAME.example.org NAME",
    );
}

#[test]
fn a_sendmail_that_is_not_root_cannot_deliver() {
    let site = Site::new("sendmail", "odmr.isp.test", "command_user = \"nobody\"\n");
    site.has(
        Severity::Error,
        "sendmail -bs that is not root cannot deliver what it has received",
        "command_user = \"root\"",
    );
}

/// Rules: C9
#[test]
fn a_provider_at_the_end_of_a_tunnel_is_found_by_its_address_and_by_its_name() {
    for (host, hosts) in [
        ("localhost", ""),
        ("127.9.9.9", ""),
        ("::1", ""),
        (
            "odmr.isp.test",
            "127.0.0.1 tunnel odmr.isp.test # stunnel\n",
        ),
    ] {
        let site = Site::new("sendmail", host, "");
        site.write("etc/hosts", hosts, 0o644);
        site.has(
            Severity::Error,
            &format!(
                "cannot hand over to {}: the provider has the address 127.0.0.1, and a mail server trusts its own machine (reach \
                 the provider by its own address; or, if it is the end of a tunnel and the mail server relays for nobody there, \
                 say i_know = true)",
                site.0.path().join("sendmail").display()
            ),
            "i_know = true",
        );
    }
    let site = Site::new("sendmail", "odmr.isp.test", "i_know = true\n");
    site.write("etc/hosts", "127.0.0.1 odmr.isp.test\n", 0o644);
    site.has_nothing_but_notes();
}

/// Rules: C9
#[test]
fn a_sendmail_that_trusts_loopback_relays_for_a_provider_behind_a_tunnel() {
    let access = "# trusted\nConnect:127\tRELAY\n";
    let site = Site::new("sendmail", "127.0.0.1", "");
    site.write("etc/mail/access", access, 0o644);
    site.has(
        Severity::Error,
        "Connect:127 RELAY lets the provider relay through this machine, since 127.0.0.1 is this machine itself to Sendmail",
        "#Connect:127 RELAY",
    );
    let site = Site::new("sendmail", "odmr.isp.test", "");
    site.write("etc/mail/access", access, 0o644);
    site.has_nothing_but_notes();
}

/// A Courier whose authdaemond runs, until the listener is dropped.
fn courier(program: &str, more: &str) -> (Site, UnixListener) {
    let site = Site::new(program, "odmr.isp.test", more);
    site.write("etc/courier/esmtpd", "BOFHCHECKDNS=0\nTARPIT=1\n", 0o644);
    let socket = site.0.path().join("run/courier/authdaemon/socket");
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    (site, UnixListener::bind(socket).unwrap())
}

#[test]
fn a_courier_that_is_started_as_its_own_user_is_right() {
    let (site, _authdaemond) = courier("courieresmtpd", "command_user = \"nobody\"\n");
    site.has_nothing_but_notes();
    // It is taken out before Courier sees it.
    site.write("etc/courier/esmtpd", "RELAYCLIENT=\n", 0o644);
    site.has_nothing_but_notes();
    let all = format!("{:?}", site.check());
    assert!(!all.contains("not a mail server that is known"), "{all}");
}

#[test]
fn a_courier_is_told_what_makes_it_refuse_or_run_as_root() {
    let (site, _authdaemond) = courier("courieresmtpd", "command_user = \"root\"\n");
    site.has(
        Severity::Warning,
        "courieresmtpd talks to the provider as root, where Courier itself has it run as its own user",
        "command_user = \"courier\"",
    );
    site.write("etc/courier/esmtpd", "BOFHCHECKDNS=1\nTARPIT=1\n", 0o644);
    site.has(
        Severity::Warning,
        "BOFHCHECKDNS=1 refuses mail whose sender's domain does not exist for the name server, and the provider returns it; a name server that is slow keeps the provider waiting for minutes",
        "BOFHCHECKDNS=0",
    );
    site.has(
        Severity::Note,
        "TARPIT=1 keeps the provider waiting for 8 s and more behind each recipient that is refused; all its mail comes in one session",
        "TARPIT=0",
    );
    fs::remove_file(site.0.path().join("etc/courier/esmtpd")).unwrap();
    let all = format!("{:?}", site.check());
    assert!(all.contains("courieresmtpd is started with none"), "{all}");
}

/// Rules: C9
#[test]
fn a_script_around_courier_that_leaves_relayclient_in_relays_for_the_provider() {
    let (site, _authdaemond) = courier("turned", "command_user = \"nobody\"\n");
    let script =
        "#!/bin/sh\n# RELAYCLIENT is not here\nset -a\n. /etc/courier/esmtpd\nexec courieresmtpd\n";
    site.write("turned", script, 0o755);
    site.has_nothing_but_notes();
    site.write("etc/courier/esmtpd", "export RELAYCLIENT=\n", 0o644);
    let relays =
        "it sets RELAYCLIENT, which, even empty, lets the provider relay through this machine";
    site.has(Severity::Error, relays, "#RELAYCLIENT");
    site.write(
        "turned",
        &script.replace("exec", "unset RELAYCLIENT; exec"),
        0o755,
    );
    site.has_nothing_but_notes();
    site.write(
        "turned",
        &script.replace("exec", "export RELAYCLIENT=; exec"),
        0o755,
    );
    site.has(
        Severity::Error,
        "RELAYCLIENT in the environment, even empty, lets the provider relay through this machine",
        "no RELAYCLIENT in command",
    );
}

#[test]
fn a_courier_without_its_authdaemon_puts_every_recipient_off() {
    let (site, authdaemond) = courier("courieresmtpd", "command_user = \"nobody\"\n");
    // The socket stays, and nobody answers there.
    drop(authdaemond);
    site.has(
        Severity::Warning,
        "authdaemond does not run, and without it every recipient is put off with 450",
        "systemctl start courier-authdaemon",
    );
}

#[test]
fn a_program_that_nobody_knows_is_said_to_be_unseen() {
    let site = Site::new("my-server", "odmr.isp.test", "");
    site.has_nothing_but_notes();
    let all = format!("{:?}", site.check());
    assert!(
        all.contains("is not a mail server that is known here"),
        "{all}"
    );
}

#[test]
fn a_program_that_everybody_can_replace_is_an_error() {
    let site = Site::new("my-server", "odmr.isp.test", "");
    site.write("my-server", "#!/bin/sh\n", 0o777);
    let found = site.check();
    let there = found.iter().any(|finding| {
        finding.severity == Severity::Error
            && finding
                .sentence
                .starts_with("any user of this machine can change ")
    });
    assert!(there, "{found:#?}");
}

#[test]
fn a_password_that_the_unit_cannot_read_is_a_warning() {
    let site = Site::new("my-server", "odmr.isp.test", "");
    let unit = "[Service]\nExecStart=/usr/sbin/turnabout fetch --daemon\nUser=nobody\n";
    site.write(
        "usr/lib/systemd/system/turnabout-fetch.service",
        unit,
        0o644,
    );
    let found = site.check();
    let there = found.iter().any(|finding| {
        finding.severity == Severity::Warning
            && finding.sentence.contains(
                "turnabout-fetch.service fetches as user nobody, who cannot read this because of ",
            )
    });
    assert!(there, "{found:#?}");
    // What is dropped in has the last word.
    let dropped = "etc/systemd/system/turnabout-fetch.service.d/own.conf";
    site.write(dropped, "[Service]\nUser=root\n", 0o644);
    site.has_nothing_but_notes();
}

/// A customer with this hook, which is a script of this mode.
fn hooked(key: &str, mode: u32) -> (Site, String) {
    let site = Site::new("my-server", "odmr.isp.test", "");
    let hook = site.0.path().join("hooks/dial").display().to_string();
    let file = site.0.path().join("turnabout.toml");
    let text = fs::read_to_string(&file).unwrap();
    site.write(
        "turnabout.toml",
        &format!("{text}{key} = [{hook:?}, \"up\"]\n"),
        0o600,
    );
    site.write("hooks/dial", "#!/bin/sh\n", mode);
    (site, hook)
}

fn unit(site: &Site, user: &str) -> String {
    let name = "usr/lib/systemd/system/turnabout-fetch.service";
    let text = format!("[Service]\nExecStart=/usr/bin/turnabout fetch --daemon\nUser={user}\n");
    site.write(name, &text, 0o644);
    let wanted = "etc/systemd/system/multi-user.target.wants/turnabout-fetch.service";
    site.write(wanted, &text, 0o644);
    site.0.path().join(name).display().to_string()
}

#[test]
fn hooks_that_only_root_and_the_user_can_change_are_right() {
    let (site, _) = hooked("hook_before", 0o755);
    site.has_nothing_but_notes();
    let (site, _) = hooked("hook_after", 0o700);
    site.has_nothing_but_notes();
}

#[test]
fn a_hook_that_cannot_run_is_an_error_before_a_fetch_and_a_warning_after() {
    for (key, severity, so) in [
        ("hook_before", Severity::Error, "nobody is dialled"),
        (
            "hook_after",
            Severity::Warning,
            "nothing is done after a fetch",
        ),
    ] {
        let (site, hook) = hooked(key, 0o644);
        site.has(
            severity,
            &format!("{hook} may not be executed by anybody, so {so}"),
            &format!("chmod a+x {hook}"),
        );
        fs::remove_file(&hook).unwrap();
        site.has(
            severity,
            &format!("{hook} cannot be run: No such file or directory, so {so}"),
            &format!("install -m 755 PROGRAM {hook}"),
        );
        fs::create_dir(&hook).unwrap();
        site.has(
            severity,
            &format!("{hook} is not a program, so {so}"),
            &format!("install -m 755 PROGRAM {hook}"),
        );
    }
}

#[test]
fn a_hook_that_the_user_of_the_unit_cannot_run_is_an_error() {
    // A script that may be executed and not be read cannot be run either.
    for mode in [0o700, 0o711] {
        let (site, hook) = hooked("hook_before", mode);
        // What is in the way first is the file, not the directory of the test.
        fs::set_permissions(site.0.path(), Permissions::from_mode(0o755)).unwrap();
        let unit = unit(&site, "nobody");
        site.has(
            Severity::Error,
            &format!("{unit} fetches as user nobody, who cannot run {hook} because of {hook}, so nobody is dialled"),
            &format!("chgrp nogroup {hook} && chmod g+rx {hook}"),
        );
        let wants = site.0.path().join("etc");
        fs::remove_dir_all(wants).unwrap();
        let found = site.check();
        let there = found.iter().any(|finding| {
            finding.severity == Severity::Warning && finding.sentence.contains("who cannot run")
        });
        assert!(there, "a unit that nobody starts is a warning: {found:#?}");
        fs::set_permissions(&hook, Permissions::from_mode(0o755)).unwrap();
        let all = format!("{:?}", site.check());
        assert!(!all.contains("who cannot run"), "{all}");
    }
}

#[test]
fn a_hook_that_any_user_can_change_is_an_error_wherever_the_hole_is() {
    let (site, hook) = hooked("hook_before", 0o757);
    let changes = |at: &str, program: &str| {
        format!("any user of this machine can change {at}, and turnabout runs {program}")
    };
    site.has(
        Severity::Error,
        &changes(&hook, &hook),
        &format!("chmod o-w {hook}"),
    );
    let (site, hook) = hooked("hook_after", 0o755);
    let above = site.0.path().join("hooks").display().to_string();
    fs::set_permissions(&above, Permissions::from_mode(0o777)).unwrap();
    site.has(
        Severity::Error,
        &changes(&above, &hook),
        &format!("chmod o-w {above}"),
    );
    // A link there is no better, wherever it leads.
    fs::remove_file(&hook).unwrap();
    std::os::unix::fs::symlink("/bin/true", &hook).unwrap();
    site.has(
        Severity::Error,
        &changes(&above, &hook),
        &format!("chmod o-w {above}"),
    );
}

#[test]
fn a_hook_that_belongs_to_somebody_else_or_to_a_group_is_told_of() {
    if !nix::unistd::geteuid().is_root() {
        // Only root can give files away.
        return;
    }
    let (site, hook) = hooked("hook_before", 0o755);
    std::os::unix::fs::chown(&hook, Some(2), None).unwrap();
    let bin = format!("user bin can change {hook}, and turnabout runs {hook}");
    let fix = format!("chown root {hook}");
    site.has(Severity::Warning, &bin, &fix);
    // The second one is root's.
    for user in ["nobody", ""] {
        unit(&site, user);
        site.has(Severity::Error, &bin, &fix);
    }
    unit(&site, "bin");
    let all = format!("{:?}", site.check());
    assert!(!all.contains("user bin can change"), "{all}");
    let (site, hook) = hooked("hook_before", 0o775);
    std::os::unix::fs::chown(&hook, None, Some(2)).unwrap();
    site.has(
        Severity::Warning,
        &format!("the group bin can change {hook}, and turnabout runs {hook}"),
        &format!("chmod g-w {hook}"),
    );
}

#[test]
fn a_mail_server_behind_a_port_that_any_user_can_take_is_a_warning() {
    let site = Site::new("sendmail", "odmr.isp.test", "");
    let file = site.0.path().join("turnabout.toml");
    let text = fs::read_to_string(&file).unwrap();
    let (provider, _) = text.split_once("handoff").unwrap();
    let port = "proc/sys/net/ipv4/ip_unprivileged_port_start";
    for (to, first, warns) in [
        ("127.0.0.1:2525", "1024", true),
        ("[::1]:2525", "1024", true),
        ("127.0.0.1:24", "1024", false),
        ("127.0.0.1:2525", "0", false),
        ("192.0.2.25:2525", "1024", false),
    ] {
        fs::write(
            &file,
            format!("{provider}handoff = \"relay\"\nrelay_to = {to:?}\n"),
        )
        .unwrap();
        site.write(port, &format!("{first}\n"), 0o644);
        let sentence = format!(
            "any user of this machine can listen on {to} while the mail server does not, and is given the mail then: let it be a port that only root can use"
        );
        let found = site.check();
        assert_eq!(
            found.iter().any(|one| one.sentence == sentence),
            warns,
            "{to} {first}: {found:#?}"
        );
    }
}
