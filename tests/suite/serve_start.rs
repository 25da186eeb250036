//! Starting the provider: where it listens, who it becomes, and when it refuses to start.

use crate::driver::{Peer, Serve, Setup, service_user};
use nix::unistd::{User, geteuid};

/// The sentence and the exit code of a start that is refused.
fn refusal(setup: Setup) -> (String, Option<i32>) {
    let mut serve = Serve::spawn(setup);
    let (status, log) = serve.process.ended();
    assert_eq!(log.lines().count(), 1, "{log}");
    (log, status.code())
}

#[test]
fn ipv4_and_ipv6_are_served_side_by_side() {
    let serve = Serve::start(Setup {
        listen: "\"127.0.0.1:0\", \"[::1]:0\", \"127.0.0.2:0\"",
        ..Setup::default()
    });
    assert_eq!(serve.listening.len(), 3);
    assert!(serve.listening.iter().any(std::net::SocketAddr::is_ipv6));
    for address in &serve.listening {
        Peer::greeted(*address);
    }
}

#[test]
fn an_ipv6_listener_does_not_take_ipv4() {
    let serve = Serve::start(Setup {
        listen: "\"[::]:0\"",
        ..Setup::default()
    });
    let port = serve.address().port();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
    Peer::greeted(format!("[::1]:{port}").parse().unwrap());
}

#[test]
fn root_is_given_up_with_all_its_groups() {
    let serve = Serve::start(Setup::default());
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.process.id())).unwrap();
    let user = User::from_name(service_user()).unwrap().unwrap();
    let ids = |name: &str| -> Vec<u32> {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        let words = line.split_whitespace().skip(1);
        words.map(|word| word.parse().unwrap()).collect()
    };
    assert_eq!(ids("Uid:"), [user.uid.as_raw(); 4]);
    assert_eq!(ids("Gid:"), [user.gid.as_raw(); 4]);
    if geteuid().is_root() {
        // Exactly the groups of that user: none of root's, and none forgotten.
        let name = std::ffi::CString::new(service_user()).unwrap();
        let groups = nix::unistd::getgrouplist(&name, user.gid).unwrap();
        let mut groups: Vec<u32> = groups.into_iter().map(nix::unistd::Gid::as_raw).collect();
        groups.sort_unstable();
        assert_eq!(ids("Groups:"), groups);
    }
    let empty = "0000000000000000";
    let line = |name: &str| status.lines().find(|line| line.starts_with(name)).unwrap();
    assert!(line("CapEff:").ends_with(empty) && line("CapPrm:").ends_with(empty));
}

#[test]
fn a_user_that_does_not_exist_is_refused() {
    let (log, code) = refusal(Setup {
        user: "no-such-user-here",
        ..Setup::default()
    });
    assert!(
        log.contains("cannot become user no-such-user-here: no such user (set serve.user"),
        "{log}"
    );
    assert_eq!(code, Some(77));
}

#[test]
fn the_user_is_postfix_own_when_none_is_named() {
    let mut serve = Serve::spawn(Setup {
        user: "",
        ..Setup::default()
    });
    serve.wait_until_ready();
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.process.id())).unwrap();
    let user = User::from_name(service_user()).unwrap().unwrap();
    assert!(
        status.contains(&format!("Uid:\t{}\t", user.uid)),
        "{status}"
    );
}

#[test]
fn accounts_that_others_may_read_are_refused() {
    for mode in [0o644, 0o604, 0o660, 0o602] {
        let (log, code) = refusal(Setup {
            accounts_mode: mode,
            ..Setup::default()
        });
        assert_eq!(code, Some(78));
        assert!(
            log.contains("accounts.toml: ") && log.contains("chmod"),
            "{log}"
        );
    }
}

#[test]
fn accounts_that_the_service_may_not_read_are_refused() {
    let (log, code) = refusal(Setup {
        accounts_mode: 0o000,
        ..Setup::default()
    });
    assert_eq!(code, Some(78));
    assert!(
        log.contains("Permission denied") && log.contains("own it"),
        "{log}"
    );
}

#[test]
fn a_postfix_of_an_unknown_version_is_refused() {
    for version in ["3.3.22", "3.13.0", "4.0.1", "2.11.3", "snapshot"] {
        let (log, code) = refusal(Setup {
            version,
            ..Setup::default()
        });
        assert_eq!(code, Some(78));
        let said = format!(
            "cannot use Postfix {version}: this interface is known to work with Postfix 3.4 to 3.12 only"
        );
        assert!(log.contains(&said), "{log}");
    }
}

#[test]
fn an_address_that_is_taken_is_named() {
    let serve = Serve::start(Setup::default());
    let taken: &'static str = Box::leak(format!("\"{}\"", serve.address()).into_boxed_str());
    let (log, code) = refusal(Setup {
        listen: taken,
        ..Setup::default()
    });
    assert_eq!(code, Some(69));
    let said = format!("cannot listen on {}: ", serve.address());
    assert!(log.contains(&said) && log.contains("ss -ltnp"), "{log}");
}
