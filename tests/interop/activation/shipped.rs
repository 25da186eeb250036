//! The files for xinetd and tcpserver as they are shipped: read by their programs, and mail arrives. (inetd's is in the
//! set-up of the README.)

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::starter::place;
use crate::lab::{Host, Lab, Mail, Mta, Running, body_of_lines, turnabout};

const SOON: Duration = Duration::from_secs(30);

/// A shipped file as it would be installed here.
fn shipped(host: &Host, name: &str, to: &str) {
    let file = format!("{}/contrib/inetd/{name}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(file).unwrap();
    assert!(text.contains("/usr/sbin/turnabout"));
    let text = text.replace("/usr/sbin/turnabout", turnabout());
    fs::write(host.path(to), text).unwrap();
}

fn mail_arrives(start: impl Fn(&Host) -> Running) {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Postfix);
    let sent = [Mail::new(
        &["alice@example.org"],
        "shipped",
        &body_of_lines(20),
    )];
    provider.submit(&sent);
    let _starter = start(&provider);
    provider.wait_listening(366, SOON);
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{log}\n{}", provider.read("starter.log"));
    Mail::assert_delivered(&sent, &customer.wait_inbox("alice", 1, SOON));
}

#[test]
fn with_the_shipped_file_for_xinetd_mail_arrives() {
    mail_arrives(|host| {
        shipped(host, "xinetd", "/etc/xinetd-odmr.conf");
        let arguments = ["-dontfork", "-f", "/etc/xinetd-odmr.conf"];
        host.spawn("starter", &place("usr/sbin/xinetd"), &arguments)
    });
}

#[test]
fn with_the_shipped_script_for_tcpserver_mail_arrives() {
    mail_arrives(|host| {
        shipped(host, "tcpserver", "/etc/run-odmr");
        let script = host.path("/etc/run-odmr");
        fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
        let tcpserver = place("usr/bin/tcpserver");
        let (programs, _) = tcpserver.rsplit_once('/').unwrap();
        let path = format!("PATH={programs}:/usr/sbin:/usr/bin:/sbin:/bin");
        host.spawn("starter", "env", &[&path, "/etc/run-odmr"])
    });
}
