//! Postfix as the customer: the service of type `pass`, what it would relay, and whether the mail is welcome.

use std::path::{Path, PathBuf};

use super::lists::{joined, members, words};
use super::provider::knock;
use super::relay_control::{Guard, guard};
use super::{Postfix, Service};
use crate::check::finding::Findings;
use crate::check::machine::Machine;
use crate::check::{files, fragments};
use crate::config::{Provider, ProviderTls, Serve};

/// Where Postfix's programs are, unless `[serve.postfix]` says otherwise.
const COMMANDS: &str = "/usr/sbin";

/// Looks at the Postfix that `socket` belongs to.
pub(in crate::check) async fn check(
    provider: &Provider,
    socket: &Path,
    serve: Option<&Serve>,
    machine: &Machine,
    findings: &mut Findings,
) {
    listening(socket, findings);
    let Some(postfix) = instance(socket, serve, machine, findings).await else {
        return;
    };
    let name = socket.file_name().unwrap_or_default().to_string_lossy();
    service(&postfix, provider, &name, machine, findings);
    domains(&postfix, provider, findings).await;
}

/// Is somebody there at this moment?
fn listening(socket: &Path, findings: &mut Findings) {
    match knock(socket) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            files::unseen(socket, &error, findings);
        }
        Err(_) => findings
            .warning(
                socket.display().to_string(),
                "nobody answers there at this moment, and no mail is fetched until somebody does: is Postfix running, and was it reloaded after master.cf was changed?",
            )
            .fix("postfix reload"),
    }
}

/// The instance whose queue directory the socket lies in.
async fn instance(
    socket: &Path,
    serve: Option<&Serve>,
    machine: &Machine,
    findings: &mut Findings,
) -> Option<Postfix> {
    let commands = serve.map_or(PathBuf::from(COMMANDS), |serve| {
        serve.postfix.command_directory.clone()
    });
    if !commands.join("postconf").exists() {
        findings.note(
            socket.display().to_string(),
            format!(
                "there is no postconf in {}, so what this Postfix is set up for could not be looked at",
                commands.display()
            ),
        ).end();
        return None;
    }
    let first = match Postfix::look(&commands, machine.config_directory.as_deref()).await {
        Ok(postfix) => postfix,
        Err(error) => {
            findings.error("Postfix", error.to_string()).end();
            return None;
        }
    };
    let queue = socket.parent().and_then(Path::parent);
    let belongs = |postfix: &Postfix| queue == Some(Path::new(postfix.main("queue_directory")));
    if belongs(&first) || machine.config_directory.is_some() {
        if !belongs(&first) {
            outside(socket, &first, findings);
        }
        return Some(first);
    }
    for directory in words(first.main("multi_instance_directories")) {
        match Postfix::look(&commands, Some(Path::new(&directory))).await {
            Ok(other) if belongs(&other) => return Some(other),
            _ => {}
        }
    }
    outside(socket, &first, findings);
    None
}

fn outside(socket: &Path, postfix: &Postfix, findings: &mut Findings) {
    let name = socket.file_name().unwrap_or_default().to_string_lossy();
    let queue = postfix.main("queue_directory");
    findings
        .warning(
            socket.display().to_string(),
            format!("this socket is not in {queue}/private, where the Postfix of {} has its own, so that Postfix was not compared with it (name another one with --config-directory)", postfix.main("config_directory")),
        )
        .fix(format!("socket = \"{queue}/private/{name}\""));
}

/// The service itself.
fn service(
    postfix: &Postfix,
    provider: &Provider,
    name: &str,
    machine: &Machine,
    findings: &mut Findings,
) {
    let host = (provider.host.as_str(), machine.is_here(&provider.host));
    let place = postfix.file("master.cf");
    let Some(service) = postfix
        .services(name)
        .find(|service| service.kind == "pass")
    else {
        let other = postfix.services(name).next();
        let what = other.map_or_else(
            || format!("there is no service {name}"),
            |other| format!("the service {name} is of type {} and not pass", other.kind),
        );
        findings
            .error(
                place,
                format!("{what}, so Postfix cannot be given a connection"),
            )
            .fix(fragments::customer_service(name));
        return;
    };
    if service.command != "smtpd" && !service.command.ends_with("/smtpd") {
        findings
            .error(
                place,
                format!(
                    "the service {name} runs {}, and only smtpd receives mail",
                    service.command
                ),
            )
            .fix(fragments::customer_service(name));
        return;
    }
    let place = format!("{place}, service {name}");
    if service.private == "n" {
        findings
            .error(
                &place,
                "it is not private, so its socket lies in public/, where any user could hand it a connection with any address",
            )
            .fix(fragments::customer_service(name));
    }
    relaying(postfix, service, host, &place, findings);
    let value = |parameter| postfix.effective(service, parameter);
    starttls(postfix, service, provider, &place, findings);
    if !value("smtpd_upstream_proxy_protocol").is_empty() {
        findings
            .error(
                &place,
                "smtpd_upstream_proxy_protocol is set, so smtpd waits for a header that turnabout does not send here",
            )
            .fix("  -o smtpd_upstream_proxy_protocol=");
    }
    if value("smtpd_sasl_auth_enable") == "yes" {
        findings
            .warning(
                &place,
                "it offers AUTH, which is nothing for a provider to use",
            )
            .fix("  -o smtpd_sasl_auth_enable=no");
    }
    for parameter in [
        "smtpd_client_restrictions",
        "smtpd_helo_restrictions",
        "smtpd_sender_restrictions",
    ] {
        if !value(parameter).is_empty() {
            findings
                .warning(
                    &place,
                    format!("{parameter} judges unknown clients, but the only one is your provider: what it refuses goes back to the sender"),
                )
                .fix(format!("  -o {parameter}="));
        }
    }
    for parameter in [
        "smtpd_client_message_rate_limit",
        "smtpd_client_recipient_rate_limit",
        "smtpd_client_connection_rate_limit",
    ] {
        if !matches!(value(parameter), "0" | "") {
            findings
                .warning(
                    &place,
                    format!(
                        "{parameter} is {}, and all your mail comes from one client",
                        value(parameter)
                    ),
                )
                .fix(format!("  -o {parameter}=0"));
        }
    }
}

/// The line that sets a parameter: in main.cf where smtpd is started by itself, otherwise of its service.
fn line(service: &Service, parameter: &str, value: &str) -> String {
    if service.kind.is_empty() {
        format!("{parameter} = {value}")
    } else {
        format!("  -o {parameter}={value}")
    }
}

/// STARTTLS must not be offered once more inside TLS (RFC 3207 section 4.2): the level, and the two settings before it.
fn starttls(
    postfix: &Postfix,
    service: &Service,
    provider: &Provider,
    place: &str,
    findings: &mut Findings,
) {
    let value = |parameter| postfix.effective(service, parameter);
    let level = value("smtpd_tls_security_level");
    let (used, enforced) = (value("smtpd_use_tls"), value("smtpd_enforce_tls"));
    let offered = match level {
        "none" => false,
        "" => used == "yes" || enforced == "yes",
        _ => true,
    };
    if !offered {
        return;
    }
    let fix = line(service, "smtpd_tls_security_level", "none");
    if provider.tls == ProviderTls::None {
        findings
            .warning(place, "smtpd_tls_security_level offers STARTTLS on the turned connection, where only turnabout speaks TLS")
            .fix(fix);
    } else {
        findings
            .error(place, "smtpd_tls_security_level offers STARTTLS on the turned connection, which has TLS already: a provider that takes it up cannot go on")
            .fix(fix);
    }
}

/// Would it relay for the provider?
fn relaying(
    postfix: &Postfix,
    service: &Service,
    (host, is_here): (&str, bool),
    place: &str,
    findings: &mut Findings,
) {
    let value = |parameter| postfix.effective(service, parameter);
    let refuse = "reject_unauth_destination";
    let fix = line(service, "smtpd_relay_restrictions", refuse);
    let guard = guard(
        value("smtpd_relay_restrictions"),
        value("smtpd_recipient_restrictions"),
    );
    match guard {
        Guard::Sure => {}
        Guard::None => findings
            .error(place, "nothing in smtpd_relay_restrictions and smtpd_recipient_restrictions refuses foreign domains, so the provider could relay through this machine")
            .fix(fix),
        Guard::Unknown(what) => findings
            .warning(place, format!("{what} stands before reject_unauth_destination, and could let the provider relay through this machine"))
            .fix(fix),
        Guard::NetworksFirst => {
            let networks = words(value("mynetworks"));
            let everybody = ["0.0.0.0/0", "[::]/0", "::/0", "static:all"];
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            let its_own = |one: &String| {
                let one = one.replace(['[', ']'], "");
                one == bare || one.strip_suffix("/32") == Some(bare) || one.strip_suffix("/128") == Some(bare)
            };
            if networks.iter().any(|one| everybody.contains(&one.as_str()) || its_own(one)) || is_here {
                findings
                    .error(place, format!("permit_mynetworks comes first and mynetworks has {host}, so the provider can relay through this machine"))
                    .fix(line(service, "mynetworks", ""));
            } else if !networks.is_empty() {
                findings
                    .warning(place, format!("permit_mynetworks comes first, so the provider can relay through this machine if its address is ever in mynetworks ({})", networks.join(", ")))
                    .fix(line(service, "mynetworks", ""));
            }
        }
    }
}

/// Does Postfix receive mail for the domains that are fetched?
async fn domains(postfix: &Postfix, provider: &Provider, findings: &mut Findings) {
    let Some(domains) = &provider.domains else {
        findings.note(
            format!("providers.{}.domains", provider.name),
            "none are listed, so the provider alone knows which domains come: whether Postfix receives mail for them was not looked at",
        ).end();
        return;
    };
    let names: Vec<String> = domains.iter().map(ToString::to_string).collect();
    let mut homeless = names.clone();
    let mut unknown = Vec::new();
    for parameter in [
        "mydestination",
        "virtual_mailbox_domains",
        "virtual_alias_domains",
        "relay_domains",
    ] {
        let parents = parameter == "relay_domains";
        let inside = members(postfix, postfix.main(parameter), &homeless, parents).await;
        homeless.retain(|name| !inside.inside.contains(name));
        unknown.extend(inside.unknown);
    }
    let place = postfix.file("main.cf");
    if homeless.is_empty() {
        return;
    }
    if !unknown.is_empty() {
        findings
            .warning(
                place,
                format!(
                    "whether Postfix receives mail for {} could not be seen: {}",
                    homeless.join(", "),
                    unknown.join("; ")
                ),
            )
            .end();
        return;
    }
    let written = postfix
        .as_written("mydestination")
        .await
        .unwrap_or_default();
    let more = homeless.iter().fold(written, |all, one| joined(&all, one));
    findings
        .error(
            place,
            format!("Postfix does not receive mail for {}: it would refuse it, and the provider would return it to the senders", homeless.join(", ")),
        )
        .fix(format!("mydestination = {more}"));
}

/// Postfix's `smtpd -S`, started on the connection: it has main.cf alone.
pub(in crate::check) async fn by_itself(
    provider: &Provider,
    command: &[String],
    user: Option<&str>,
    machine: &Machine,
    findings: &mut Findings,
) {
    let place = format!("providers.{}.command", provider.name);
    if !command.iter().any(|word| word == "-S") {
        findings
            .error(
                &place,
                "smtpd without -S waits for Postfix's master and never answers",
            )
            .fix(format!(
                "command = [{:?}, \"-S\"]",
                command.first().map_or("", String::as_str)
            ));
    }
    let config = machine.config_directory.as_deref();
    let postfix = match Postfix::look(Path::new(COMMANDS), config).await {
        Ok(postfix) => postfix,
        Err(error) => {
            findings.error("Postfix", error.to_string()).end();
            return;
        }
    };
    let owner = postfix.main("mail_owner");
    if user != Some(owner) {
        findings
            .error(
                &place,
                format!("smtpd -S must run as {owner}, Postfix's own user"),
            )
            .fix(format!("command_user = {owner:?}"));
    }
    let itself = Service {
        name: "smtpd -S".to_owned(),
        kind: String::new(),
        private: String::new(),
        command: "smtpd".to_owned(),
    };
    let main = postfix.file("main.cf");
    let host = (provider.host.as_str(), machine.is_here(&provider.host));
    relaying(&postfix, &itself, host, &main, findings);
    starttls(&postfix, &itself, provider, &main, findings);
    domains(&postfix, provider, findings).await;
}
