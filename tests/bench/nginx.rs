//! nginx's mail proxy, set up as its manual says, and its two helpers.

use crate::certificate::Certificate;
use crate::hosts::Running;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

/// The module that Debian keeps apart.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

/// A proxy that listens, with its helpers.
#[derive(Debug)]
pub struct Nginx {
    pub proxy: Running,
    pub helper: Running,
    pub address: SocketAddr,
}

/// As many workers as processors, no log beside errors, with TLS neither cache nor tickets that
/// nobody would use: its best case.
fn configuration(
    directory: &Path,
    address: SocketAddr,
    auth: SocketAddr,
    tls: Option<&Certificate>,
) -> String {
    let directory = directory.display();
    let tls = tls.map_or_else(String::new, |files| {
        format!(
            "starttls on;
        ssl_certificate {};
        ssl_certificate_key {};
        ssl_protocols TLSv1.3;
        ssl_session_cache off;
        ssl_session_tickets off;
        ssl_conf_command NumTickets 0;",
            files.certificate.display(),
            files.key.display()
        )
    });
    format!(
        "load_module {MODULE};
daemon off;
user nobody nogroup;
worker_processes auto;
pid {directory}/nginx.pid;
error_log {directory}/nginx.log error;
events {{ worker_connections 16384; }}
mail {{
    server_name provider.test;
    auth_http {auth}/auth;
    xclient off;
    timeout 10m;
    server {{
        listen {address} backlog=4096;
        protocol smtp;
        smtp_auth plain cram-md5;
        smtp_capabilities ATRN ENHANCEDSTATUSCODES;
        {tls}
    }}
}}
"
    )
}

impl Nginx {
    pub fn start(directory: &Path, tls: Option<&Certificate>) -> Self {
        let address: SocketAddr = "127.0.0.1:9025".parse().unwrap();
        let auth: SocketAddr = "127.0.0.1:9080".parse().unwrap();
        let sink = "127.0.0.1:9026";
        let helper = Running::start(
            "the helper",
            Command::new(std::env::current_exe().unwrap()).args([
                "helper",
                &auth.to_string(),
                sink,
            ]),
        );
        helper.answers(auth, None);
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration(directory, address, auth, tls)).unwrap();
        let proxy = Running::start(
            "nginx",
            Command::new("nginx")
                .arg("-c")
                .arg(&file)
                .arg("-p")
                .arg(directory)
                .args(["-e", "stderr"])
                .stdin(Stdio::null()),
        );
        proxy.answers(address, None);
        Self {
            proxy,
            helper,
            address,
        }
    }
}
