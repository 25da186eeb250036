//! Started by others: inetd, xinetd, tcpserver and systemd, each with real mail from a real mail server.

mod shipped;
mod starter;

use std::time::Duration;

use starter::Starter;

use crate::lab::{
    Authority, CERTIFICATE, Host, IMPLICIT_PORT, KEY, Lab, Mail, Mode, Mta, body_of_lines, wait_for,
};

const SOON: Duration = Duration::from_secs(30);

/// Three messages a session: without TLS, with STARTTLS, with TLS from the first octet on.
fn mail_arrives(starter: Starter, mta: Mta) {
    let mut lab = Lab::new();
    let authority = Authority::new();
    let provider = lab.provider(mta);
    let customer = lab.customer(Mta::Postfix);
    provider.install(&authority.issue(&["provider.test", "10.99.0.1"]));
    provider.set(
        "serve",
        &[
            ("tls", "\"offered\""),
            ("certificate", &format!("[\"{CERTIFICATE}\"]")),
            ("key", &format!("[\"{KEY}\"]")),
            ("listen_tls", &format!("[\"0.0.0.0:{IMPLICIT_PORT}\"]")),
            ("handoff_tls", "\"relay\""),
        ],
    );
    provider.set("serve.limits", &[("lent_time", "\"3s\"")]);
    customer.set("providers.isp", &[("host", "\"10.99.0.1\"")]);
    let _starter = starter.start(&provider);

    let mut all = Vec::new();
    fetch_three("plain", &provider, &customer, &mut all);
    for mode in [Mode::Starttls, Mode::Implicit] {
        customer.fetch_with_tls(&authority, mode);
        fetch_three(mode.name(), &provider, &customer, &mut all);
    }
    if starter.is_for_one() {
        assert_all_have_ended(&provider);
    }
    if starter == Starter::InetdWait {
        // Nobody comes for a while; then somebody does.
        assert_all_have_ended(&provider);
        fetch_three("again", &provider, &customer, &mut all);
    }
}

/// Puts three messages into the provider's queue and fetches them.
fn fetch_three(name: &str, provider: &Host, customer: &Host, all: &mut Vec<Mail>) {
    let sent: Vec<Mail> = [20, 2000, 0]
        .iter()
        .enumerate()
        .map(|(number, lines)| {
            let name = format!("{name}-{number}");
            Mail::new(&["alice@example.org"], &name, &body_of_lines(*lines))
        })
        .collect();
    provider.submit(&sent);
    all.extend(sent);
    let (code, log) = customer.fetch();
    assert_eq!(code, 0, "{name}: {log}\n{}", provider.read("starter.log"));
    let inbox = customer.wait_inbox("alice", all.len(), SOON);
    Mail::assert_delivered(all, &inbox);
    provider.wait_empty_queue(SOON);
}

/// No process of turnabout is left in the host.
fn assert_all_have_ended(host: &Host) {
    let script = "cat /proc/[0-9]*/comm 2>/dev/null | grep -cx turnabout || true";
    wait_for("end of the processes", SOON, || {
        let left = host.run("/bin/sh", &["-c", script]);
        (left.trim() == "0").then_some(())
    });
}

macro_rules! tests {
    ($($starter:ident: $postfix:ident $exim:ident)*) => {
        $(
            #[test]
            fn $postfix() {
                mail_arrives(Starter::$starter, Mta::Postfix);
            }

            #[test]
            fn $exim() {
                mail_arrives(Starter::$starter, Mta::Exim);
            }
        )*
    };
}

tests! {
    InetdNowait: under_inetd_each_connection_has_a_process_and_postfix_delivers under_inetd_each_connection_has_a_process_and_exim_delivers
    InetdWait: inetd_lends_its_socket_and_postfix_delivers inetd_lends_its_socket_and_exim_delivers
    Xinetd: under_xinetd_postfix_delivers under_xinetd_exim_delivers
    Tcpserver: under_tcpserver_postfix_delivers under_tcpserver_exim_delivers
    SystemdAccept: on_a_connection_from_systemd_postfix_delivers on_a_connection_from_systemd_exim_delivers
    SystemdStdin: on_a_connection_that_systemd_makes_standard_input_postfix_delivers on_a_connection_that_systemd_makes_standard_input_exim_delivers
    SystemdListen: on_named_sockets_of_systemd_postfix_delivers on_named_sockets_of_systemd_exim_delivers
}
