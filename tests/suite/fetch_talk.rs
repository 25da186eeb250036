//! The real `turnabout fetch` against providers that a test plays: what each end means to whoever
//! called it.

use crate::driver::{Fetch, Peer, opened, scripted};
use std::net::{SocketAddr, TcpListener};
use std::process::Output;
use std::time::{Duration, Instant};

/// The exit code and the one sentence on standard output.
pub fn outcome(output: &Output) -> (i32, String) {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(said.lines().count(), 1, "{said:?} {output:?}");
    (output.status.code().unwrap(), said.trim_end().to_owned())
}

fn fetch(address: SocketAddr) -> (i32, String) {
    outcome(&Fetch::default().run(address))
}

/// The rest of what the customer says, up to the end of the connection.
fn to_the_end(mut peer: Peer) -> String {
    peer.rest()
}

/// Rules: R9, C16, B17
#[test]
fn without_atrn_there_is_quit_and_never_a_login() {
    for offer in [
        "250-provider.example.com\r\n250 AUTH CRAM-MD5 PLAIN\r\n",
        "250 provider.example.com\r\n",
        "502 what?\r\n",
    ] {
        let (address, provider) = scripted(move |mut peer| {
            peer.send("220 provider.example.com\r\n");
            peer.line().unwrap();
            peer.send(offer);
            assert_eq!(peer.line().unwrap(), "QUIT");
            peer.send("221 bye\r\n");
            to_the_end(peer)
        });
        let (code, said) = fetch(address);
        assert_eq!(code, 76);
        let sentence = "ATRN not advertised (a proxy or firewall may strip it)";
        let whole = format!("127.0.0.1: all domains: {sentence} (");
        assert!(said.starts_with(&whole), "{said}");
        assert_eq!(provider.join().unwrap(), "");
    }
}

/// Rules: R19, B17, B13
#[test]
fn each_reply_to_atrn_has_its_exit_code() {
    for (reply, exit, said) in [
        ("453 4.0.0 You have no mail", 0, "no mail"),
        ("450 4.7.0 refused", 75, "450 4.7.0 refused"),
        ("451 4.3.0 not now", 75, "451"),
        ("459 whatever", 75, "459"),
        ("530 5.7.0 authenticate", 77, "530"),
        ("502 5.5.1 no", 77, "502"),
        ("354 what?", 76, "354"),
    ] {
        let (address, provider) = scripted(move |mut peer| {
            opened(&mut peer);
            assert_eq!(peer.line().unwrap(), "ATRN");
            peer.send(format!("{reply}\r\n"));
            assert_eq!(peer.line().unwrap(), "QUIT", "{reply}");
            peer.send("221 bye\r\n");
            to_the_end(peer)
        });
        let (code, sentence) = fetch(address);
        assert_eq!(code, exit, "{reply}: {sentence}");
        assert!(sentence.contains(said), "{reply}: {sentence}");
        assert_eq!(provider.join().unwrap(), "");
    }
}

/// Rules: B13
#[test]
fn a_421_is_taken_at_any_time_and_means_later() {
    for at in 0..4 {
        let (address, provider) = scripted(move |mut peer| {
            let replies = [
                "220 provider.example.com\r\n",
                "250-provider.example.com\r\n250-AUTH CRAM-MD5\r\n250 ATRN\r\n",
                "334 PDEuMUBwLmV4YW1wbGUuY29tPg==\r\n",
                "235 in\r\n",
            ];
            for (step, reply) in replies.iter().enumerate() {
                if step == at {
                    peer.send("421 4.3.2 going down\r\n");
                    return;
                }
                peer.send(reply);
                peer.line().unwrap();
            }
        });
        let (code, said) = fetch(address);
        assert_eq!(code, 75, "{said}");
        assert!(said.contains("421 4.3.2 going down"), "{said}");
        provider.join().unwrap();
    }
}

/// Rules: B40, C16
#[test]
fn a_wrong_password_is_77_and_no_second_mechanism_is_tried() {
    let (address, provider) = scripted(|mut peer| {
        peer.send("220 provider.example.com\r\n");
        peer.line().unwrap();
        peer.send("250-p.example.com\r\n250-AUTH LOGIN PLAIN CRAM-MD5\r\n250 ATRN\r\n");
        assert_eq!(peer.line().unwrap(), "AUTH CRAM-MD5");
        peer.send("334 PDEuMUBwLmV4YW1wbGUuY29tPg==\r\n");
        peer.line().unwrap();
        peer.send("535 5.7.8 no\r\n");
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
        to_the_end(peer)
    });
    let plain = Fetch::default().with(&["--plaintext-without-tls"]);
    let (code, said) = outcome(&plain.run(address));
    assert_eq!(code, 77);
    assert!(said.contains("authentication failed: 535"), "{said}");
    assert_eq!(provider.join().unwrap(), "");
}

/// Rules: B68, C16
#[test]
fn the_strongest_mechanism_that_is_offered_is_used() {
    for (offered, used) in [
        (
            "PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256",
            "AUTH SCRAM-SHA-256 ",
        ),
        ("CRAM-MD5 LOGIN SCRAM-SHA-1 GSSAPI", "AUTH SCRAM-SHA-1 "),
        ("LOGIN CRAM-MD5 PLAIN", "AUTH CRAM-MD5"),
        ("LOGIN PLAIN", "AUTH PLAIN "),
        ("X-OWN LOGIN", "AUTH LOGIN"),
    ] {
        let (address, provider) = scripted(move |mut peer| {
            peer.send("220 provider.example.com\r\n");
            peer.line().unwrap();
            peer.send(format!(
                "250-p.example.com\r\n250-AUTH {offered}\r\n250 ATRN\r\n"
            ));
            let auth = peer.line().unwrap();
            assert!(auth.starts_with(used), "{auth}");
            peer.send("454 4.7.0 not now\r\n");
            peer.line().unwrap();
            peer.send("221 bye\r\n");
        });
        let fetch = Fetch::default().with(&["--plaintext-without-tls"]);
        assert_eq!(outcome(&fetch.run(address)).0, 75);
        provider.join().unwrap();
    }
}

/// Rules: B35, C16
#[test]
fn a_password_is_not_sent_in_the_clear_unless_the_operator_says_so() {
    let (address, provider) = scripted(|mut peer| {
        peer.send("220 provider.example.com\r\n");
        peer.line().unwrap();
        peer.send("250-p.example.com\r\n250-AUTH PLAIN LOGIN\r\n250 ATRN\r\n");
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
        to_the_end(peer)
    });
    let (code, said) = fetch(address);
    assert_eq!(code, 77);
    assert!(said.contains("offered: PLAIN LOGIN"), "{said}");
    assert_eq!(provider.join().unwrap(), "");
}

/// Rules: B6
#[test]
fn what_is_no_smtp_server_is_76() {
    for words in [
        "SSH-2.0-OpenSSH_9.2\r\n".to_owned(),
        "HTTP/1.1 400 Bad Request\r\n\r\n".to_owned(),
        "220-one\r\n250 two\r\n".to_owned(),
        "999 what\r\n".to_owned(),
        "\r\n".to_owned(),
        format!("220-{}\r\n", "x".repeat(80)).repeat(1000),
    ] {
        let (address, provider) = scripted(move |mut peer| {
            peer.send(&words);
            peer.rest()
        });
        let (code, said) = fetch(address);
        assert_eq!(code, 76, "{said}");
        provider.join().unwrap();
    }
}

#[test]
fn a_connection_that_is_lost_is_75() {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
    });
    let (code, said) = fetch(address);
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("connection lost during ATRN"), "{said}");
    provider.join().unwrap();
}

#[test]
fn a_port_on_which_nobody_listens_is_69() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (code, said) = fetch(address);
    assert_eq!(code, 69);
    assert!(
        said.contains(&format!("{address}: Connection refused")),
        "{said}"
    );
}

#[test]
fn every_address_of_a_name_is_tried() {
    // One family listens, the other refuses.
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(listen).unwrap();
        let port = listener.local_addr().unwrap().port();
        let provider = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut peer = Peer::new(stream);
            peer.send("421 not now\r\n");
            peer.rest();
        });
        let addresses: Vec<_> = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", port))
            .unwrap()
            .collect();
        if addresses.len() < 2 && listen.starts_with('[') {
            // This machine's localhost has one family only: nothing to choose from.
            std::net::TcpStream::connect(("::1", port)).unwrap();
        } else {
            let (code, said) = outcome(&Fetch::default().run_host("localhost", port));
            assert_eq!(code, 75, "{said}");
            assert!(said.contains("421 not now"), "{said}");
        }
        provider.join().unwrap();
    }
}

/// Rules: B14
#[test]
fn a_provider_that_says_nothing_is_not_waited_for() {
    let (address, provider) = scripted(to_the_end);
    let run = Fetch::default();
    let started = Instant::now();
    let config = format!(
        "[fetch]\nhostname = \"c.example.org\"\n[providers.slow]\nhost = \"127.0.0.1\"\nport = {}\n\
         tls = \"none\"\nuser = \"alice\"\npassword_command = [\"/bin/echo\", \"secret\"]\n\
         command_time = \"200ms\"\nhandoff = \"exec\"\ni_know = true\ncommand = [\"/bin/true\"]\n",
        address.port()
    );
    let (code, said) = outcome(&run.run_file(&config, &["slow"]));
    assert_eq!(code, 75, "{said}");
    assert!(
        said.starts_with("slow: all domains: no reply to the connection in "),
        "{said}"
    );
    assert!(started.elapsed() < Duration::from_secs(10));
    provider.join().unwrap();
}

/// Rules: R17, R27
#[test]
fn domains_are_asked_for_in_one_line_without_blanks() {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        let atrn = peer.line().unwrap();
        peer.send("453 none\r\n");
        peer.line().unwrap();
        peer.send("221 bye\r\n");
        atrn
    });
    let fetch = Fetch::default().with(&["--domains", "example.org,Example.COM,example.org"]);
    let (code, said) = outcome(&fetch.run(address));
    assert_eq!(code, 0);
    assert!(
        said.contains(": example.org,example.com: no mail ("),
        "{said}"
    );
    assert_eq!(provider.join().unwrap(), "ATRN example.org,example.com");
}

/// Rules: C5
#[test]
fn words_behind_the_250_end_everything_before_the_hand_off() {
    let run = Fetch::exec(&["/usr/bin/touch"]);
    let touched = run.path("started");
    let mut run = run;
    run.handoff.push(touched.to_str().unwrap().to_owned());
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("250 ok\r\nEHLO x\r\n");
        to_the_end(peer)
    });
    let (code, said) = outcome(&run.run(address));
    assert_eq!(code, 76);
    assert!(said.contains("nothing was handed over"), "{said}");
    assert_eq!(provider.join().unwrap(), "");
    assert!(!touched.exists());
}

/// Rules: B6, R25
#[test]
fn a_250_of_several_lines_turns_as_well() {
    let (address, provider) = scripted(|mut peer| {
        opened(&mut peer);
        peer.line().unwrap();
        peer.send("250-ok\r\n");
        std::thread::sleep(Duration::from_millis(20));
        peer.send("250-turning\r\n250\r\n");
        to_the_end(peer)
    });
    let (code, said) = outcome(&Fetch::exec(&["/usr/bin/printf", "220 hello\\r\\n"]).run(address));
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("turned, handed over by exec, session ended"),
        "{said}"
    );
    assert_eq!(provider.join().unwrap(), "220 hello\r\n");
}

/// Rules: R26, B17
#[test]
fn a_mail_server_that_is_not_ready_means_no_atrn() {
    let script = |mut peer: Peer| {
        opened(&mut peer);
        assert_eq!(peer.line().unwrap(), "QUIT");
        peer.send("221 bye\r\n");
        to_the_end(peer)
    };
    for (run, why) in [
        (
            Fetch::exec(&["/nonexistent/smtpd"]),
            "cannot run /nonexistent/smtpd: ",
        ),
        (Fetch::exec(&["/etc/passwd"]), "cannot run /etc/passwd: "),
        (
            Fetch::pass("/nonexistent/odmr".as_ref()),
            "cannot connect to /nonexistent/odmr: ",
        ),
    ] {
        let (address, provider) = scripted(script);
        let (code, said) = outcome(&run.run(address));
        assert_eq!(code, 75, "{said}");
        assert!(said.contains(why), "{said}");
        assert_eq!(provider.join().unwrap(), "");
    }
}
