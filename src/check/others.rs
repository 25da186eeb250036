//! The customer's mail server as a program that is started: which one is it, and what are its traps?

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::Path;

use super::finding::Findings;
use super::machine::Machine;
use super::postfix;
use super::{access, courier, exim};
use crate::config::{CustomerHandoff, MailServer, Provider, ProviderTls, from_hosts};
use crate::handoff::customer;
use crate::handoff::exec::is_exim;
use crate::tls::HandoffTls;

/// Looks at the command of `handoff = "exec"`.
pub(super) async fn exec(
    provider: &Provider,
    command: &[String],
    user: Option<&str>,
    machine: &Machine,
    findings: &mut Findings,
) {
    let Some(program) = command.first() else {
        return;
    };
    let place = format!("providers.{}.command", provider.name);
    ready(provider, &place, machine, findings).await;
    if let Some(open) = access::changeable_by_others(Path::new(program)) {
        findings
            .error(
                &place,
                format!(
                    "any user of this machine can change {}, and turnabout runs {program}",
                    open.display()
                ),
            )
            .fix(format!("chmod o-w {}", open.display()));
    }
    let real = fs::canonicalize(program).unwrap_or_else(|_| program.into());
    let name = real.file_name().unwrap_or_default().to_string_lossy();
    if is_exim(&real) {
        exim::customer::check(provider, command, machine, findings).await;
    } else if name == "smtpd" && real.with_file_name("cleanup").exists() {
        postfix::customer::by_itself(provider, command, user, machine, findings).await;
    } else if name.starts_with("sendmail") {
        sendmail(provider, user, &place, machine, findings);
    } else if let Some(by) = courier::starts(&real, command) {
        courier::check(&by, user, &place, machine, findings);
    } else {
        findings.note(
            place,
            format!("{program} is not a mail server that is known here: what it would relay for the provider was not looked at"),
        ).end();
    }
}

/// Whose connection a mail server behind a PROXY header is told that it is: addresses of documentation (RFC 5737),
/// which nobody trusts.
const NOBODY: (SocketAddr, SocketAddr) = (
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 366)),
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 2), 49152)),
);

/// The same of a provider at the end of a tunnel.
const TUNNEL: (SocketAddr, SocketAddr) = (
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 366)),
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 49152)),
);

/// What a fetch would find before it asks for the mail.
pub(super) async fn ready(
    provider: &Provider,
    place: &str,
    machine: &Machine,
    findings: &mut Findings,
) {
    let here = machine.is_here(&provider.host);
    let ends = if here { TUNNEL } else { NOBODY };
    let relay_possible =
        provider.tls != ProviderTls::None && provider.handoff_tls != HandoffTls::Kernel;
    if let Err(error) = customer::prepare(&provider.handoff, relay_possible, ends).await {
        let added = findings.error(place, error.to_string());
        match &provider.handoff {
            CustomerHandoff::Exec { tunnel: false, .. }
            | CustomerHandoff::Relay { tunnel: false, .. }
                if here =>
            {
                added.fix("i_know = true");
            }
            CustomerHandoff::Exec { user: Some(_), .. } => {
                added.fix("command_user = \"root\"");
            }
            _ => {}
        }
    }
}

/// Who listens at an address of this machine when the mail server does not?
pub(super) fn anybodys(to: &MailServer, place: &str, machine: &Machine, findings: &mut Findings) {
    let MailServer::Tcp { host, port } = to else {
        return;
    };
    if machine.is_here(host) && machine.is_anybodys(*port) {
        let at = MailServer::Tcp {
            host: host.clone(),
            port: 24,
        };
        findings
            .warning(
                place,
                format!("any user of this machine can listen on {to} while the mail server does not, and is given the mail then: let it be a port that only root can use"),
            )
            .fix(format!("relay_to = \"{at}\""));
    }
}

/// Sendmail's own sendmail.
fn sendmail(
    provider: &Provider,
    user: Option<&str>,
    place: &str,
    machine: &Machine,
    findings: &mut Findings,
) {
    if user.is_some_and(|user| user != "root" && user != "0") {
        findings
            .error(
                place,
                "sendmail -bs that is not root cannot deliver what it has received",
            )
            .fix("command_user = \"root\"");
    }
    if !qualified(machine) {
        findings
            .warning(
                "/etc/hosts",
                "this machine's name has no domain, and Sendmail sleeps a minute over that before it greets the provider",
            )
            .fix("127.0.1.1 NAME.example.org NAME");
    }
    let access = machine.read("/etc/mail/access").unwrap_or_default();
    let trusts = access.lines().any(|line| {
        let mut words = line.split_whitespace();
        words
            .next()
            .is_some_and(|key| key.eq_ignore_ascii_case("connect:127"))
            && words
                .next()
                .is_some_and(|value| value.eq_ignore_ascii_case("relay"))
    });
    if trusts && machine.is_here(&provider.host) {
        findings
            .error(
                "/etc/mail/access",
                format!("Connect:127 RELAY lets the provider relay through this machine, since {} is this machine itself to Sendmail", provider.host),
            )
            .fix("#Connect:127 RELAY");
    }
}

/// Does the machine's name have a domain, or does /etc/hosts give it one?
fn qualified(machine: &Machine) -> bool {
    let name = machine
        .read("/proc/sys/kernel/hostname")
        .unwrap_or_default();
    let name = name.trim();
    let hosts = machine.read("/etc/hosts").unwrap_or_default();
    name.contains('.') || from_hosts(name, &hosts).is_some()
}
