//! Postfix as the provider: the instance itself, then the transport for the customers' mail and the way to it.

use std::path::Path;

use super::Postfix;
use super::lists::words;
use super::routes::{Route, domains, routing};
use super::transport::{queue, service};
use crate::accounts::Accounts;
use crate::check::files;
use crate::check::finding::Findings;
use crate::config::Serve;
use crate::handoff::postfix_cache::Form;

/// Looks at everything that stands in main.cf, master.cf and the tables.
pub(in crate::check) async fn check(
    serve: &Serve,
    accounts: Option<&Accounts>,
    findings: &mut Findings,
) {
    let keys = &serve.postfix;
    let postfix = Postfix::look(&keys.command_directory, keys.config_directory.as_deref());
    let postfix = match postfix.await {
        Ok(postfix) => postfix,
        Err(error) => {
            findings
                .error("Postfix", error.to_string())
                .fix("command_directory = \"/usr/sbin\"");
            return;
        }
    };
    if let Err(error) = Form::of(postfix.main("mail_version")) {
        findings.error("Postfix", error.to_string());
    }
    alternate(&postfix, keys.config_directory.as_deref(), findings).await;
    service(&postfix, serve, findings);
    queue(&postfix, &keys.service, findings);
    running(&postfix, findings);
    if let Some(accounts) = accounts {
        let routes: Vec<Route<'_>> = accounts
            .routes()
            .map(|(user, domain, next_hop)| Route {
                user,
                domain: domain.to_string(),
                next_hop,
            })
            .collect();
        domains(&postfix, &keys.service, &routes, findings).await;
        routing(&postfix, &keys.service, &routes, findings).await;
    }
}

/// Postfix's set-group-ID programs refuse a configuration directory that the default instance does not name.
async fn alternate(postfix: &Postfix, config: Option<&Path>, findings: &mut Findings) {
    let Some(config) = config else { return };
    let Ok(default) = Postfix::look(&postfix.commands, None).await else {
        return;
    };
    let known = [
        "config_directory",
        "alternate_config_directories",
        "multi_instance_directories",
    ];
    let listed = known.iter().flat_map(|name| words(default.main(name)));
    if listed.into_iter().any(|place| Path::new(&place) == config) {
        return;
    }
    findings
        .error(
            default.file("main.cf"),
            format!(
                "neither alternate_config_directories nor multi_instance_directories names {}, so postqueue refuses to work for the service's user",
                config.display()
            ),
        )
        .fix(format!("alternate_config_directories = {}", config.display()));
}

/// Is the cache there at this moment?
fn running(postfix: &Postfix, findings: &mut Findings) {
    let socket = Path::new(postfix.main("queue_directory"))
        .join("private")
        .join(postfix.main("connection_cache_service_name"));
    match knock(&socket) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            files::unseen(&socket, &error, findings);
        }
        Err(_) => findings
            .warning(
                socket.display().to_string(),
                "Postfix does not run at this moment: nobody answers on its connection cache",
            )
            .fix("postfix start"),
    }
}

/// Is somebody there? Asked with the wrong kind of socket, so that nobody is disturbed: where a stream socket is alive
/// the kernel says EPROTOTYPE.
pub(super) fn knock(socket: &Path) -> std::io::Result<()> {
    let knock = std::os::unix::net::UnixDatagram::unbound()?;
    match knock.connect(socket) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => Ok(()),
        other => other,
    }
}
