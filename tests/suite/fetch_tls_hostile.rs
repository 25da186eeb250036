//! The real customer against providers, and those who stand in between, that want its password, its mail server, or
//! its trust. Nothing is shown to them.

use crate::driver::{Fetch, IN_TLS, Peer, Receiver, opened_in_tls, scripted, start_tls, until_tls};
use crate::fetch_tls::{World, outcome};
use crate::tls_world::{Authority, BOTH, Issued, ONLY_12, params, raw_server, self_signed};
use rustls::ServerConfig;
use std::io::Write;
use std::time::{Duration, Instant};

/// Runs against this script; exit code, standard output, and all that the script heard.
fn against(
    world: &World,
    tls: &'static str,
    script: impl FnOnce(&mut Peer) + Send + 'static,
) -> (i32, String, String) {
    let (address, provider) = scripted(move |mut peer| {
        script(&mut peer);
        peer.rest()
    });
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let fetch = Fetch {
        tls,
        ..world.trusted(Fetch::pass(&receiver.socket))
    };
    let (code, said) = outcome(&fetch.run(address));
    (code, said, provider.join().unwrap())
}

fn config(world: &World) -> ServerConfig {
    raw_server(&world.issued, BOTH)
}

/// Rules: B49, C3, C16
#[test]
fn without_starttls_nothing_is_said_but_ehlo_and_quit_and_the_exit_code_is_77() {
    let world = World::new();
    for offer in [
        "250-provider.example.com\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250 ATRN\r\n",
        "250-provider.example.com\r\n250-AUTH PLAIN\r\n250-XXXXXXXX\r\n250 ATRN\r\n",
        "502 what?\r\n",
    ] {
        let (code, said, heard) = against(&world, "starttls", move |peer| {
            peer.send("220 provider.example.com ESMTP\r\n");
            assert!(peer.line().unwrap().starts_with("EHLO "));
            peer.send(offer);
            assert_eq!(peer.line().unwrap(), "QUIT");
            peer.send("221 bye\r\n");
        });
        assert_eq!(code, 77, "{said}");
        assert!(
            said.contains("STARTTLS not advertised, so no password was sent"),
            "{said}"
        );
        assert_eq!(heard, "");
    }
}

/// Rules: B43, B49, C3
#[test]
fn a_refused_starttls_is_75_for_now_and_77_for_good() {
    let world = World::new();
    for (reply, expected) in [("454 not now", 75), ("554 never", 77), ("502 what?", 77)] {
        let (code, said, heard) = against(&world, "starttls", move |peer| {
            peer.send("220 provider.example.com ESMTP\r\n");
            peer.line().unwrap();
            peer.send("250-provider.example.com\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250 ATRN\r\n");
            assert_eq!(peer.line().unwrap(), "STARTTLS");
            peer.send(format!("{reply}\r\n"));
            assert_eq!(peer.line().unwrap(), "QUIT");
            peer.send("221 bye\r\n");
        });
        assert_eq!(code, expected, "{said}");
        assert!(
            said.contains(reply) && said.contains("no password was sent"),
            "{said}"
        );
        assert_eq!(heard, "");
    }
}

/// Rules: C2, B45
#[test]
fn octets_behind_the_reply_to_starttls_end_the_session_before_a_handshake() {
    let world = World::new();
    for injected in [
        "250-provider.example.com\r\n250-AUTH PLAIN\r\n250 ATRN\r\n",
        "2",
    ] {
        let (code, said, heard) = against(&world, "starttls", move |peer| {
            peer.send("220 provider.example.com ESMTP\r\n");
            peer.line().unwrap();
            peer.send("250-provider.example.com\r\n250 STARTTLS\r\n");
            assert_eq!(peer.line().unwrap(), "STARTTLS");
            peer.send(format!("220 go on\r\n{injected}"));
        });
        assert_eq!(code, 76, "{said}");
        assert!(
            said.contains("octets behind the reply to STARTTLS"),
            "{said}"
        );
        assert_eq!(heard, "", "a handshake was begun");
    }
}

/// Rules: C2, C16
#[test]
fn replies_that_nobody_asked_for_inside_tls_end_the_session_without_the_password() {
    let world = World::new();
    // Before EHLO: a greeting, an offer, a success.
    for early in ["220 hello\r\n", IN_TLS, "235 2.7.0 in\r\n"] {
        let config = config(&world);
        let (code, said, heard) = against(&world, "starttls", move |peer| {
            until_tls(peer);
            peer.take_tls_and_say(config, early).unwrap();
        });
        assert_eq!(code, 76, "{said}");
        assert!(said.contains("a reply that nobody asked for"), "{said}");
        assert_eq!(heard, "");
    }
    // With the offer, ahead of AUTH.
    let config = config(&world);
    let (code, said, heard) = against(&world, "starttls", move |peer| {
        start_tls(peer, config).unwrap();
        assert!(peer.line().unwrap().starts_with("EHLO "));
        peer.send(format!("{IN_TLS}235 2.7.0 in\r\n"));
    });
    assert_eq!(code, 76, "{said}");
    assert!(
        said.contains("a reply that nobody asked for: 235"),
        "{said}"
    );
    assert!(!heard.contains("AUTH"), "{heard}");
}

/// Rules: B13
#[test]
fn a_provider_that_goes_away_inside_tls_is_tried_later() {
    let world = World::new();
    let config = config(&world);
    let (code, said, _) = against(&world, "starttls", move |peer| {
        start_tls(peer, config).unwrap();
        peer.send("421 4.3.2 going down\r\n");
    });
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("421"), "{said}");
}

/// Rules: R9, C16
#[test]
fn an_offer_of_the_clear_counts_for_nothing_inside_tls() {
    let world = World::new();
    let config = config(&world);
    let (code, said, heard) = against(&world, "starttls", move |peer| {
        peer.send("220 provider.example.com ESMTP\r\n");
        peer.line().unwrap();
        peer.send("250-provider.example.com\r\n250-STARTTLS\r\n250-AUTH PLAIN\r\n250 ATRN\r\n");
        assert_eq!(peer.line().unwrap(), "STARTTLS");
        peer.send("220 go on\r\n");
        peer.take_tls(config).unwrap();
        assert!(peer.line().unwrap().starts_with("EHLO "));
        peer.send("250-provider.example.com\r\n250 AUTH PLAIN\r\n");
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
    });
    assert_eq!(code, 76, "{said}");
    assert!(said.contains("ATRN not advertised"), "{said}");
    assert_eq!(heard, "");
}

/// Rules: C2
#[test]
fn a_greeting_in_the_clear_on_the_port_for_tls_is_no_greeting() {
    let world = World::new();
    let (code, said, heard) = against(&world, "implicit", |peer| {
        peer.send("220 provider.example.com ESMTP\r\n");
    });
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("what the peer sent is not TLS"), "{said}");
    assert!(!heard.contains("EHLO"), "{heard}");
}

/// A provider that begins TLS with this certificate; what fetch made of it.
fn shown(world: &World, issued: &Issued) -> (i32, String) {
    let config = raw_server(issued, BOTH);
    let (code, said, heard) = against(world, "starttls", move |peer| {
        if start_tls(peer, config).is_ok() {
            opened_in_tls(peer);
            assert_eq!(peer.line().unwrap(), "ATRN");
            peer.send("453 none\r\n");
            assert_eq!(peer.line().unwrap(), "QUIT");
            peer.send("221 bye\r\n");
        }
    });
    assert!(
        !heard.contains("AUTH") && !heard.contains("EHLO"),
        "{heard}"
    );
    (code, said)
}

/// Rules: B57, C3
#[test]
fn a_certificate_that_cannot_be_trusted_is_77_with_its_fingerprint_ready_to_paste() {
    let world = World::new();
    let mut old = params(&["127.0.0.1"]);
    old.not_before = rcgen::date_time_ymd(2020, 1, 1);
    old.not_after = rcgen::date_time_ymd(2021, 1, 1);
    let wrong_name = world.authority.issue(&params(&["other.example.com"]));
    let expired = world.authority.issue(&old);
    let own = self_signed(&params(&["127.0.0.1"]));
    let stranger = Authority::new().issue(&params(&["127.0.0.1"]));
    for (issued, why) in [
        (&wrong_name, "it is for other.example.com"),
        (&expired, "expired"),
        (&own, "signed"),
        (&stranger, "issuer is not known"),
    ] {
        let (code, said) = shown(&world, issued);
        assert_eq!(code, 77, "{said}");
        let paste = format!("fingerprint = ['{}']", issued.fingerprint());
        assert!(said.contains(why) && said.contains(&paste), "{why}: {said}");
    }
}

#[test]
fn exactly_the_pinned_certificate_is_taken() {
    let world = World::new();
    let own = self_signed(&params(&["whatever.example"]));
    let other = self_signed(&params(&["127.0.0.1"]));
    let right = own.fingerprint().to_string();
    let run = |issued: &Issued| {
        let config = raw_server(issued, BOTH);
        let (address, provider) = scripted(move |mut peer| {
            if start_tls(&mut peer, config).is_ok() {
                opened_in_tls(&mut peer);
                assert_eq!(peer.line().unwrap(), "ATRN");
                peer.send("453 none\r\n");
                peer.line().unwrap();
                peer.send("221 bye\r\n");
            }
        });
        let directory = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(directory.path());
        let fetch = Fetch {
            tls: "starttls",
            ..Fetch::pass(&receiver.socket)
        };
        let output = fetch.with(&["--fingerprint", &right]).run(address);
        provider.join().unwrap();
        outcome(&output)
    };
    assert_eq!(run(&own).0, 0);
    let (code, said) = run(&other);
    assert_eq!(code, 77, "{said}");
    assert!(said.contains(&other.fingerprint().to_string()), "{said}");
    // Trusted by its authority and by its name, and not the one.
    assert_eq!(run(&world.issued).0, 77);
}

/// Rules: C5
#[test]
fn what_comes_behind_the_250_inside_tls_never_reaches_the_mail_server() {
    let world = World::new();
    for how in ["one record", "two records", "half a record"] {
        let config = config(&world);
        let (address, provider) = scripted(move |mut peer| {
            start_tls(&mut peer, config).unwrap();
            opened_in_tls(&mut peer);
            assert_eq!(peer.line().unwrap(), "ATRN");
            let octets = match how {
                "one record" => peer.record("250 turning\r\nEHLO x\r\n"),
                "two records" => {
                    [peer.record("250 turning\r\n"), peer.record("EHLO x\r\n")].concat()
                }
                _ => {
                    let (first, second) =
                        (peer.record("250 turning\r\n"), peer.record("EHLO x\r\n"));
                    [&first, &second[..second.len() / 2]].concat()
                }
            };
            peer.stream.write_all(&octets).unwrap();
            peer.rest()
        });
        let directory = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(directory.path());
        let output = world.trusted(Fetch::pass(&receiver.socket)).run(address);
        let (code, said) = outcome(&output);
        assert_eq!(code, 76, "{how}: {said}");
        assert!(
            said.contains("the provider spoke before the greeting"),
            "{said}"
        );
        assert_eq!(provider.join().unwrap(), "", "{how}");
        assert_eq!(receiver.calls(), 0, "{how}");
    }
}

/// Rules: C12
#[test]
fn a_handshake_that_stalls_is_75_in_its_time() {
    let world = World::new();
    let (address, provider) = scripted(|mut peer| {
        peer.send("220 provider.example.com ESMTP\r\n");
        peer.line().unwrap();
        peer.send("250-provider.example.com\r\n250 STARTTLS\r\n");
        assert_eq!(peer.line().unwrap(), "STARTTLS");
        peer.send("220 go on\r\n");
        let mut octets = [0; 4096];
        while std::io::Read::read(&mut peer.stream, &mut octets).unwrap_or(0) > 0 {}
    });
    let fetch = Fetch::default();
    let (password, ca) = (fetch.path("password"), fetch.path("ca.pem"));
    std::fs::write(&password, "secret\n").unwrap();
    std::fs::write(&ca, &world.authority.pem).unwrap();
    let config = format!(
        "[providers.isp]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"alice\"\npassword_file = \"{}\"\nca_file = \"{}\"\n\
         connect_time = \"400ms\"\nhandoff = \"exec\"\ni_know = true\ncommand = [\"/bin/true\"]\n",
        address.port(),
        password.display(),
        ca.display()
    );
    std::fs::set_permissions(
        &password,
        std::os::unix::fs::PermissionsExt::from_mode(0o600),
    )
    .unwrap();
    let started = Instant::now();
    let output = fetch.run_file(&config, &["isp"]);
    let (code, said) = outcome(&output);
    assert_eq!(code, 75, "{said}{output:?}");
    assert!(said.contains("the handshake did not end in"), "{said}");
    assert!(started.elapsed() < Duration::from_secs(20));
    provider.join().unwrap();
}

#[test]
fn where_only_the_kernel_may_encrypt_atrn_is_not_sent_over_tls_1_2() {
    let world = World::new();
    let config = raw_server(&world.issued, ONLY_12);
    let (address, provider) = scripted(move |mut peer| {
        start_tls(&mut peer, config).unwrap();
        opened_in_tls(&mut peer);
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
        peer.rest()
    });
    let fetch = world
        .trusting(Fetch::default())
        .with(&["--handoff-tls", "kernel"]);
    let (code, said) = outcome(&fetch.run(address));
    assert_eq!(code, 75, "{said}");
    assert!(
        said.contains("cannot hand over in the kernel: only TLS 1.3 can go to the kernel"),
        "{said}"
    );
    assert_eq!(provider.join().unwrap(), "");
}

#[test]
fn a_mail_server_that_cannot_be_told_its_peer_gets_no_relayed_connection() {
    let world = World::new();
    let config = config(&world);
    let (address, provider) = scripted(move |mut peer| {
        start_tls(&mut peer, config).unwrap();
        opened_in_tls(&mut peer);
        // No ATRN: the command is /bin/true, of which nothing is known.
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
        peer.rest()
    });
    let output = world.trusted(Fetch::default()).run(address);
    let (code, said) = outcome(&output);
    assert_eq!(code, 75, "{said}");
    assert!(
        said.contains("it is not known how it learns the peer's address"),
        "{said}"
    );
    assert_eq!(provider.join().unwrap(), "");
}

#[test]
fn files_of_our_own_that_cannot_be_used_are_78_before_anybody_is_dialled() {
    let nobody = "127.0.0.1:9".parse().unwrap();
    let fetch = || Fetch {
        tls: "starttls",
        ..Fetch::default()
    };
    for options in [
        vec!["--ca-file", "/nonexistent/ca.pem"],
        vec!["--ca-file", "/etc/hostname"],
        vec![
            "--certificate",
            "/nonexistent/cert.pem",
            "--key",
            "/nonexistent/key.pem",
        ],
    ] {
        let (code, said) = outcome(&fetch().with(&options).run(nobody));
        assert_eq!(code, 78, "{said}");
        assert!(said.contains(options[1]), "{said}");
    }
}
