//! The real customer under TLS, against a provider that the test plays with the TLS library itself.

use crate::driver::{
    ALICE_HOP, Fetch, Peer, Receiver, Running, Setup, Site, opened_in_tls, scripted, start_tls,
};
use crate::serve_tls::MAIL;
use crate::tls_world::{Authority, BOTH, Issued, params, raw_server};
use nix::sys::signal::Signal;
use std::net::SocketAddr;
use std::process::Output;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// An authority, and a certificate of 127.0.0.1.
pub struct World {
    pub authority: Authority,
    pub issued: Issued,
}

impl World {
    pub fn new() -> World {
        let authority = Authority::new();
        let issued = authority.issue(&params(&["127.0.0.1"]));
        World { authority, issued }
    }

    /// A customer that believes the authority, and wants STARTTLS.
    pub fn trusting(&self, fetch: Fetch) -> Fetch {
        let file = fetch.path("ca.pem");
        std::fs::write(&file, &self.authority.pem).unwrap();
        let fetch = Fetch {
            tls: "starttls",
            ..fetch
        };
        fetch.with(&["--ca-file", file.to_str().unwrap()])
    }

    /// The same, and the relay carries whatever the kernel can.
    pub fn trusted(&self, fetch: Fetch) -> Fetch {
        self.trusting(fetch).with(&["--handoff-tls", "relay"])
    }
}

/// Exit code and standard output.
pub fn outcome(output: &Output) -> (i32, String) {
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    (output.status.code().unwrap(), said)
}

/// The mail server that a connection was passed to.
fn server(receiver: &Receiver) -> (Peer, Vec<(String, String)>) {
    let passed = receiver.next();
    let peer = Peer::new(std::net::TcpStream::from(passed.connection));
    (peer, passed.attributes)
}

#[test]
fn a_whole_session_over_starttls_goes_to_the_mail_server_through_the_relay() {
    let world = World::new();
    let config = raw_server(&world.issued, BOTH);
    let (address, provider) = scripted(move |mut peer| {
        start_tls(&mut peer, config).unwrap();
        opened_in_tls(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        let (code, text) = peer.reply();
        peer.send("QUIT\r\n");
        assert_eq!(peer.reply().0, 221);
        peer.end_tls();
        peer.assert_ended();
        (code, text, peer.cut)
    });
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let fetch = world.trusted(Fetch::pass(&receiver.socket));
    let server = std::thread::spawn(move || {
        let (mut server, attributes) = server(&receiver);
        server.send("220 customer.example.org\r\n");
        assert_eq!(server.line().unwrap(), "QUIT");
        server.send("221 bye\r\n");
        attributes
    });
    let output = fetch.run(address);
    let (code, said) = outcome(&output);
    assert_eq!(code, 0, "{said}{output:?}");
    assert!(
        said.contains("turned, relayed to postfix-pass, session ended"),
        "{said}"
    );
    let (greeted, text, cut) = provider.join().unwrap();
    assert_eq!((greeted, text.as_str()), (220, "customer.example.org"));
    assert!(!cut, "the end of TLS was not said");
    let attributes = server.join().unwrap();
    let peer = |address: SocketAddr| ("client_port".to_owned(), address.port().to_string());
    assert!(attributes.contains(&peer(address)), "{attributes:?}");
}

#[test]
fn a_provider_that_the_kernel_could_not_serve_is_remembered_for_a_month() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let world = World::new();
    for (age, remembered) in [(DAY, true), (31 * DAY, false)] {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::write(path("ca.pem"), &world.authority.pem).unwrap();
        let note = std::fs::File::create(path("relay-only-isp")).unwrap();
        note.set_modified(SystemTime::now() - age).unwrap();
        let config = raw_server(&world.issued, BOTH);
        let (address, provider) = scripted(move |mut peer| {
            start_tls(&mut peer, config).unwrap();
            opened_in_tls(&mut peer);
            assert_eq!(peer.line().unwrap(), "ATRN");
            peer.send("250 turning\r\n");
            peer.rest();
        });
        let text = format!(
            "[fetch]\nhostname = \"customer.example.org\"\nstate_directory = {:?}\n\
             [providers.isp]\nhost = \"127.0.0.1\"\nport = {}\nca_file = {:?}\nuser = \"alice\"\n\
             password_command = [\"/bin/echo\", \"secret\"]\nhandoff = \"exec\"\ni_know = true\n\
             command = [\"/bin/true\"]\ncommand_peer = \"environment\"\n",
            directory.path(),
            address.port(),
            path("ca.pem"),
        );
        std::fs::write(path("turnabout.toml"), text).unwrap();
        let config = path("turnabout.toml");
        let mut fetch = Running::start(&["--config", config.to_str().unwrap(), "fetch", "isp"]);
        let (_, log) = fetch.ended();
        provider.join().unwrap();
        let why = log.contains("why=\"the kernel could not serve this provider before\"");
        assert_eq!(why, remembered, "{log}");
        assert!(log.contains(" turned "), "{log}");
    }
}

/// An open session between a scripted provider and a mail server, carried by the relay of a running fetch.
struct Open {
    fetch: Running,
    server: Peer,
    provider: mpsc::Sender<Event>,
    script: JoinHandle<Peer>,
    /// Kept for the files in it.
    _directories: (Fetch, tempfile::TempDir),
}

/// What the scripted provider does next.
enum Event {
    Say(&'static str),
    /// The connection goes without the end of TLS.
    Cut,
}

fn open(world: &World) -> Open {
    let config = raw_server(&world.issued, BOTH);
    let (provider, events) = mpsc::channel();
    let (address, script) = scripted(move |mut peer| {
        start_tls(&mut peer, config).unwrap();
        opened_in_tls(&mut peer);
        assert_eq!(peer.line().unwrap(), "ATRN");
        peer.send("250 turning\r\n");
        assert_eq!(peer.reply().0, 220);
        for event in events {
            match event {
                Event::Say(line) => peer.send(line),
                Event::Cut => {
                    peer.stream.shutdown(std::net::Shutdown::Both).unwrap();
                }
            }
        }
        peer
    });
    let directory = tempfile::tempdir().unwrap();
    let receiver = Receiver::start(directory.path());
    let fetch = world.trusted(Fetch::pass(&receiver.socket));
    let running = fetch.start(address);
    let (mut server, _) = server(&receiver);
    server.send("220 customer.example.org\r\n");
    Open {
        fetch: running,
        server,
        provider,
        script,
        _directories: (fetch, directory),
    }
}

/// Rules: C7
#[test]
fn after_sigterm_fetch_relays_until_the_session_ends() {
    let world = World::new();
    let mut open = open(&world);
    open.fetch.logged("handed over");
    open.fetch.signal(Signal::SIGTERM);
    open.fetch.logged("stopping");
    open.provider.send(Event::Say("QUIT\r\n")).unwrap();
    assert_eq!(open.server.line().unwrap(), "QUIT");
    open.server.send("221 bye\r\n");
    drop(open.server);
    drop(open.provider);
    let mut provider = open.script.join().unwrap();
    assert_eq!(provider.reply().0, 221);
    provider.end_tls();
    provider.assert_ended();
    assert!(!provider.cut, "the end of TLS was not said");
    let (status, log) = open.fetch.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("turned, relayed to postfix-pass, session ended"),
        "{log}"
    );
}

#[test]
fn a_second_sigterm_ends_the_relay_at_once() {
    let world = World::new();
    let mut open = open(&world);
    open.fetch.logged("handed over");
    open.fetch.signal(Signal::SIGTERM);
    open.fetch.logged("stopping");
    open.fetch.signal(Signal::SIGINT);
    let (status, log) = open.fetch.ended();
    assert_eq!(status.code(), Some(75), "{log}");
    assert!(
        log.contains(
            "stopped while it was open (what was not acknowledged stays with the provider"
        ),
        "{log}"
    );
    open.server.assert_ended();
}

/// Rules: C7, R29
#[test]
fn a_session_that_is_cut_while_the_relay_carries_it_is_75() {
    let world = World::new();
    let mut open = open(&world);
    open.provider.send(Event::Cut).unwrap();
    open.server.assert_ended();
    drop(open.server);
    let (status, log) = open.fetch.ended();
    assert_eq!(status.code(), Some(75), "{log}");
    assert!(
        log.contains("the session broke") && log.contains("try later"),
        "{log}"
    );
    drop(open.provider);
    open.script.join().unwrap();
}

/// Rules: B46
#[test]
fn a_mail_server_of_ours_that_offers_starttls_inside_tls_is_a_warning() {
    let world = World::new();
    let mut open = open(&world);
    open.provider
        .send(Event::Say("EHLO provider.example.com\r\n"))
        .unwrap();
    assert!(open.server.line().unwrap().starts_with("EHLO "));
    open.server
        .send("250-customer.example.org\r\n250 STARTTLS\r\n");
    open.provider.send(Event::Say("QUIT\r\n")).unwrap();
    assert_eq!(open.server.line().unwrap(), "QUIT");
    open.server.send("221 bye\r\n");
    drop(open.server);
    drop(open.provider);
    let mut provider = open.script.join().unwrap();
    assert_eq!((provider.reply().0, provider.reply().0), (250, 221));
    provider.end_tls();
    let (status, log) = open.fetch.ended();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("the mail server here offers STARTTLS inside TLS"),
        "{log}"
    );
}

#[test]
fn before_the_turn_sigterm_ends_fetch_at_once() {
    let world = World::new();
    let (address, script) = scripted(|mut peer| peer.rest());
    let fetch = world.trusted(Fetch::default());
    let mut running = fetch.start(address);
    running.logged("connected");
    running.signal(Signal::SIGTERM);
    let (status, log) = running.ended();
    assert_eq!(status.code(), Some(75), "{log}");
    assert!(log.contains("stopped before the turn"), "{log}");
    script.join().unwrap();
}

/// Rules: B51, B52, B57, B71
#[test]
fn our_customer_and_our_provider_do_it_all_over_starttls_and_implicit_tls() {
    let site = Site::start(Setup {
        keys: "listen_tls = [\"127.0.0.1:0\"]\n".to_owned(),
        ..Setup::default()
    });
    for (tls, place) in [("starttls", 0), ("implicit", 1)] {
        site.serve.postfix.queue(MAIL);
        let directory = tempfile::tempdir().unwrap();
        let receiver = Receiver::start(directory.path());
        let fetch = Fetch {
            tls,
            ..Fetch::pass(&receiver.socket)
        };
        let ca = site.serve.path("ca.pem");
        let fetch = fetch.with(&["--ca-file", ca.to_str().unwrap(), "--json"]);
        let server = std::thread::spawn(move || server(&receiver).0.take_mail());
        let output = fetch.run(site.serve.listening[place]);
        let (code, said) = outcome(&output);
        assert_eq!(code, 0, "{said}{output:?}");
        let report: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(report["mechanism"], "SCRAM-SHA-256-PLUS");
        assert!(
            report["tls"].as_str().unwrap().starts_with("TLS1.3 TLS_"),
            "{report}"
        );
        assert!(["relay", "kernel"].contains(&report["carried"].as_str().unwrap()));
        assert_eq!(server.join().unwrap(), ["Subject: hello\n"]);
    }
}

/// Rules: B75
#[test]
fn a_customer_with_a_certificate_needs_no_password() {
    let own = crate::tls_world::self_signed(&params(&["home.example.org"]));
    let account = format!(
        "[[account]]\nuser = \"alice\"\ncertificates = [\"{}\"]\ndomains = [\"example.org\"]\nnext_hop = \"{ALICE_HOP}\"\n",
        own.fingerprint()
    );
    let site = Site::start(Setup {
        accounts: account,
        ..Setup::default()
    });
    let directory = tempfile::tempdir().unwrap();
    crate::driver::write_pair(directory.path(), &own);
    let config = format!(
        "[providers.isp]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"alice\"\nca_file = \"{}\"\n\
         certificate = \"{dir}/cert.pem\"\nkey = \"{dir}/key.pem\"\nmechanisms = [\"EXTERNAL\"]\n\
         handoff = \"postfix-pass\"\nsocket = \"{dir}/odmr\"\n",
        site.address().port(),
        site.serve.path("ca.pem").display(),
        dir = directory.path().display()
    );
    let _receiver = Receiver::start(directory.path());
    let output = Fetch::default().run_file(&config, &["isp"]);
    let (code, said) = outcome(&output);
    assert_eq!(code, 0, "{said}{output:?}");
    assert!(said.contains("no mail"), "{said}");
}
