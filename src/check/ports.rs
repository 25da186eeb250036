//! Who listens where: the service's own addresses must be free or ours, and on a next hop nobody may ever listen.

use std::collections::HashMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;

use super::finding::Findings;
use super::machine::{self, Machine};
use crate::accounts::Accounts;
use crate::config::Serve;

/// A listening socket, as the kernel lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Listener {
    at: SocketAddr,
    inode: u64,
}

/// The addresses of `listen` and `listen_tls`.
pub(super) fn listening(serve: &Serve, machine: &Machine, findings: &mut Findings) {
    let listeners = listeners(machine);
    for wanted in serve.listen.iter().chain(&serve.listen_tls) {
        let taken = listeners
            .iter()
            .find(|listener| meets(listener.at, *wanted));
        if let Some(listener) = taken {
            taken_by(*wanted, *listener, machine, findings);
        } else if !is_ours(wanted.ip()) {
            findings.warning(
                format!("serve.listen {wanted}"),
                format!(
                    "no interface of this machine has the address {} now",
                    wanted.ip()
                ),
            );
        }
    }
    if let Some(outside) = serve
        .listen
        .iter()
        .chain(&serve.listen_tls)
        .find(|at| !at.ip().is_loopback())
    {
        findings.note(
            format!("serve.listen {outside}"),
            format!(
                "whether a firewall lets port {} in was not looked at",
                outside.port()
            ),
        );
    }
}

fn taken_by(wanted: SocketAddr, listener: Listener, machine: &Machine, findings: &mut Findings) {
    let holders = holders(listener.inode, machine);
    let place = format!("serve.listen {wanted}");
    // One that hands sockets on is what may have it, besides this program itself.
    const STARTERS: [&str; 8] = [
        "turnabout",
        "systemd",
        "systemd-socket-",
        "inetd",
        "xinetd",
        "tcpserver",
        "tcpsvd",
        "s6-",
    ];
    let ours = |(_, name): &&(u32, String)| STARTERS.iter().any(|known| name.starts_with(known));
    if holders.iter().any(|holder| ours(&holder)) {
        return;
    }
    match holders.first() {
        Some((pid, name)) => {
            findings
                .error(
                    place,
                    format!(
                        "{name} (process {pid}) listens on {} already, so turnabout serve cannot",
                        listener.at
                    ),
                )
                .fix(format!("listen = [\"{}:PORT\"]", bracketed(wanted.ip())));
        }
        None if machine::is_root() => {
            findings.warning(
                place,
                format!(
                    "something listens on {} already: if that is not turnabout, the start fails",
                    listener.at
                ),
            );
        }
        None => {
            findings.note(
                place,
                format!(
                    "something listens on {} already; whether that is turnabout itself cannot be seen as user {}",
                    listener.at,
                    machine::who()
                ),
            );
        }
    }
}

fn bracketed(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// Every next hop of the accounts: a name in the shape of an address, where nobody answers.
pub(super) fn next_hops(accounts: &Accounts, machine: &Machine, findings: &mut Findings) {
    let listeners = listeners(machine);
    let mut seen: Vec<SocketAddr> = Vec::new();
    for (user, _, next_hop) in accounts.routes() {
        let at = SocketAddr::new(next_hop.ip(), next_hop.port());
        if seen.contains(&at) {
            continue;
        }
        seen.push(at);
        let place = format!("next_hop {next_hop} of {user:?}");
        if !at.ip().is_loopback() {
            findings
                .warning(
                    &place,
                    format!("{} is not an address of this machine alone: should anybody answer there, the customer's mail goes to him", at.ip()),
                )
                .fix("next_hop = \"[127.77.0.1]:24\"");
        } else if machine.is_anybodys(at.port()) {
            findings
                .warning(
                    &place,
                    format!("any user of this machine can listen on {at}, and is given the customer's mail then: let it be a port that only root can use"),
                )
                .fix(format!("next_hop = \"[{}]:24\"", at.ip()));
        }
        if let Some(listener) = listeners.iter().find(|listener| meets(listener.at, at)) {
            let who = holders(listener.inode, machine);
            let who = who.first().map_or("somebody", |(_, name)| name.as_str());
            findings
                .error(
                    place,
                    format!("{who} listens on {}, so the mail goes there instead of waiting for the customer", listener.at),
                )
                .fix(format!("next_hop = \"[{}]:PORT\"", at.ip()));
        }
    }
}

/// Would a connection to, or a listener on, the one meet the other? The wildcard of IPv6 may or may not take IPv4: not.
fn meets(listening: SocketAddr, at: SocketAddr) -> bool {
    let (one, other) = (listening.ip(), at.ip());
    listening.port() == at.port()
        && one.is_ipv4() == other.is_ipv4()
        && (one == other || one.is_unspecified() || other.is_unspecified())
}

fn is_ours(ip: IpAddr) -> bool {
    if ip.is_unspecified() || ip.is_loopback() {
        return true;
    }
    let Ok(interfaces) = getifaddrs() else {
        return true;
    };
    interfaces
        .filter_map(|interface| interface.address)
        .any(|address| {
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
            v4.or(v6) == Some(ip)
        })
}

/// All listening TCP sockets of this network namespace.
fn listeners(machine: &Machine) -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|table| machine.read(table).ok())
        .flat_map(|table| table.lines().filter_map(listener).collect::<Vec<_>>())
        .collect()
}

/// `0: 0100007F:016E 00000000:0000 0A ... INODE ...`, where 0A is LISTEN.
fn listener(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (local, state, inode) = (fields.get(1)?, fields.get(3)?, fields.get(9)?);
    if *state != "0A" {
        return None;
    }
    let (ip, port) = local.split_once(':')?;
    let words: Vec<[u8; 4]> = (0..ip.len() / 8)
        .filter_map(|word| u32::from_str_radix(ip.get(word * 8..word * 8 + 8)?, 16).ok())
        .map(u32::to_ne_bytes)
        .collect();
    let ip = match words.as_slice() {
        [one] => IpAddr::V4(Ipv4Addr::from(*one)),
        [_, _, _, _] => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words.concat()).ok()?)),
        _ => return None,
    };
    Some(Listener {
        at: SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?),
        inode: inode.parse().ok()?,
    })
}

/// The processes that have this socket, by number and name; none that we may not look into.
fn holders(inode: u64, machine: &Machine) -> Vec<(u32, String)> {
    let wanted = format!("socket:[{inode}]");
    let mut found: HashMap<u32, String> = HashMap::new();
    for process in fs::read_dir(machine.path("/proc"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let Some(pid) = process
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let descriptors = fs::read_dir(process.path().join("fd"));
        let has = descriptors
            .into_iter()
            .flatten()
            .flatten()
            .any(|descriptor| {
                fs::read_link(descriptor.path()).is_ok_and(|to| to.as_os_str() == wanted.as_str())
            });
        if has {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            found.insert(pid, name.trim().to_owned());
        }
    }
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::{listener, meets};

    #[test]
    fn a_line_of_the_kernels_table_is_an_address_and_a_socket() {
        let line = "   0: 0100007F:016E 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0";
        let found = listener(line).map(|listener| (listener.at.to_string(), listener.inode));
        let expected = if cfg!(target_endian = "little") {
            "127.0.0.1:366"
        } else {
            "1.0.0.127:366"
        };
        assert_eq!(found, Some((expected.to_owned(), 4711)));
        assert_eq!(listener(&line.replace(" 0A ", " 01 ")), None);
    }

    #[test]
    fn a_wildcard_meets_every_address_of_its_family() -> Result<(), std::net::AddrParseError> {
        let (any, one, other) = (
            "0.0.0.0:25".parse()?,
            "127.0.0.1:25".parse()?,
            "[::]:25".parse()?,
        );
        assert!(meets(any, one) && meets(one, any) && !meets(other, one));
        assert!(!meets(any, "127.0.0.1:26".parse()?));
        Ok(())
    }
}
