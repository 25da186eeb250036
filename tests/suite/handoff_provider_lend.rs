//! A connection lent to something that behaves like Postfix's connection cache, or does not.

use crate::tls_world::secured_server;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sendfd::{RecvWithFd, SendWithFd};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use turnabout::handoff::attributes::{Reader, encode};
use turnabout::handoff::postfix_cache::{PostfixCache, PostfixSettings};
use turnabout::handoff::{Ended, Reversed};
use turnabout::smtp::domain::DomainList;
use turnabout::smtp::ehlo::Offer;
use turnabout::wire::{Relays, Wire};

/// How the cache behaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ways {
    Good,
    WrongGreeting,
    RefusesToSave,
    GivesAnotherConnection,
    TalksTooMuch,
    ForgetsDestinations,
}

/// A Postfix of scripts and one socket.
struct Postfix {
    directory: TempDir,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Postfix {
    /// `queue` is what `postqueue -j` prints.
    fn new(version: &str, queue: &str, ways: Ways) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().to_owned();
        std::fs::create_dir(root.join("private")).unwrap();
        let values = format!("{version}\\n{}\\n60s\\nscache", root.display());
        script(&root.join("postconf"), &format!("printf '{values}\\n'"));
        script(
            &root.join("postqueue"),
            &format!("case $1 in -j) cat <<'END'\n{queue}\nEND\n;; esac"),
        );
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = UnixListener::bind(root.join("private/scache")).unwrap();
        let record = Arc::clone(&heard);
        // Ends with the client: the one connection is closed.
        std::thread::spawn(move || {
            if let Ok((stream, _)) = listener.accept() {
                let mut held = None;
                let end = cache(stream, ways, &record, &mut held);
                record
                    .lock()
                    .unwrap()
                    .push(format!("end {}", end.is_some()));
                held.into_iter()
                    .for_each(|descriptor: RawFd| nix::unistd::close(descriptor).unwrap());
            }
        });
        Self { directory, heard }
    }

    async fn cache(&self, service: &str) -> Result<PostfixCache, turnabout::handoff::HandoffError> {
        PostfixCache::new(PostfixSettings {
            command_directory: self.directory.path().to_owned(),
            config_directory: None,
            service: service.to_owned(),
            idle_time: Duration::from_millis(500),
            total_time: Duration::from_secs(60),
        })
        .await
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

fn script(path: &std::path::Path, text: &str) {
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn read(stream: &mut UnixStream) -> Option<Vec<(String, String)>> {
    let mut reader = Reader::new();
    let mut octet = [0];
    loop {
        stream.read_exact(&mut octet).ok()?;
        if let (_, Some(list)) = reader.feed(&octet).ok()? {
            return Some(
                list.iter()
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .collect(),
            );
        }
    }
}

/// scache(8) as its clients see it. Ends when the client closes.
fn cache(
    mut stream: UnixStream,
    ways: Ways,
    record: &Mutex<Vec<String>>,
    held: &mut Option<RawFd>,
) -> Option<()> {
    let protocol = if ways == Ways::WrongGreeting {
        "smtp"
    } else {
        "connection_cache_protocol"
    };
    stream.write_all(&encode(&[("protocol", protocol)])).ok()?;
    let another = std::net::TcpListener::bind("127.0.0.1:0").ok()?;
    loop {
        let list = read(&mut stream)?;
        let words: Vec<String> = list
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        record
            .lock()
            .unwrap()
            .push(words.join(" ").replace('\n', "|"));
        let request = list
            .first()
            .map(|(_, value)| value.as_str())
            .unwrap_or_default();
        match request {
            "save_endp" => {
                stream.write_all(&encode(&[("dummy", "")])).ok()?;
                let mut descriptors = [0; 1];
                let mut octet = [0];
                let (_, count) = stream.recv_with_fd(&mut octet, &mut descriptors).ok()?;
                assert_eq!(count, 1);
                *held = Some(descriptors[0]);
                let status = if ways == Ways::RefusesToSave {
                    "1"
                } else {
                    "0"
                };
                stream.write_all(&encode(&[("status", status)])).ok()?;
            }
            "save_dest" => stream.write_all(&encode(&[("status", "0")])).ok()?,
            "find_dest" | "find_endp" => {
                let by_endpoint = request == "find_endp";
                // Of the destination, and of the connection.
                let properties = if by_endpoint { 1 } else { 2 };
                let answer = |status, property| {
                    let mut list = vec![("status", status)];
                    list.resize(1 + properties, ("property", property));
                    encode(&list)
                };
                let found = held.filter(|_| by_endpoint || ways != Ways::ForgetsDestinations);
                let Some(descriptor) = found else {
                    stream.write_all(&answer("1", "")).ok()?;
                    continue;
                };
                let mut answer = answer("0", "x");
                if ways == Ways::TalksTooMuch {
                    answer.extend(encode(&[("status", "0")]));
                }
                stream.write_all(&answer).ok()?;
                read(&mut stream)?;
                let given = if ways == Ways::GivesAnotherConnection {
                    another.as_raw_fd()
                } else {
                    descriptor
                };
                stream.send_with_fd(&[0], &[given]).ok()?;
                if ways != Ways::GivesAnotherConnection {
                    nix::unistd::close(descriptor).ok()?;
                    *held = None;
                }
                let last = read(&mut stream)?;
                record.lock().unwrap().push(format!("{}=", last[0].0));
            }
            other => panic!("unknown request {other}"),
        }
    }
}

/// A turned connection and the customer's end of it.
async fn turned() -> (Reversed, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let customer = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let wire = Wire::new(stream, 512).unwrap();
    (reversed(wire).await, customer)
}

async fn reversed(wire: Wire) -> Reversed {
    Reversed {
        released: wire.release(&Relays::default()).await.unwrap(),
        customer: "customer.example.org".to_owned(),
        offer: Offer::default(),
        domains: DomainList::parse_atrn("example.org").unwrap(),
        next_hops: vec!["[127.77.0.1]:2525".parse().unwrap()],
        session: "s1".to_owned(),
    }
}

/// Runs a whole session; the customer answers QUIT. Gives the end, and all that the customer heard.
async fn session(postfix: &Postfix) -> (Ended, String) {
    let cache = postfix.cache("odmr").await.unwrap();
    let (reversed, customer) = turned().await;
    let ready = cache
        .prepare(&reversed.domains, &reversed.next_hops)
        .await
        .unwrap();
    let hearing = tokio::spawn(async move {
        let mut customer = BufReader::new(customer);
        let mut line = String::new();
        customer.read_line(&mut line).await.unwrap();
        if !line.is_empty() {
            customer.write_all(b"221 2.0.0 Bye\r\n").await.unwrap();
        }
        line
    });
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let ended = ready.run(reversed, stopping).await;
    (ended, hearing.await.unwrap())
}

#[tokio::test]
async fn a_connection_is_lent_taken_back_and_ended_with_quit() {
    let postfix = Postfix::new("3.7.11", "", Ways::Good);
    let (ended, heard) = session(&postfix).await;
    assert_eq!(heard, "QUIT\r\n");
    assert_eq!((ended.clean, ended.remaining), (true, Some(false)));
    let endpoint = "label=odmr|127.77.0.1|2525|0|";
    let heard = postfix.heard();
    let saved = format!("request=save_endp ttl=60 {endpoint} property=tls_level=0|");
    assert!(heard[0].starts_with(&saved), "{heard:?}");
    assert_eq!(
        heard[1],
        format!(
            "request=save_dest ttl=60 label=odmr|[127.77.0.1]:2525| property=destination=[127.77.0.1]:2525|\
             host_name=customer.example.org[127.0.0.1]|host_addr=127.77.0.1|destination_features=4096|| {endpoint}"
        )
    );
    let asked = heard
        .iter()
        .position(|words| words.starts_with("request=find_dest"))
        .unwrap();
    assert_eq!(
        heard[asked],
        "request=find_dest label=odmr|[127.77.0.1]:2525|"
    );
    assert_eq!(
        heard[asked + 1],
        "dummy=",
        "the last word that keeps the cache's log clean"
    );
}

#[tokio::test]
async fn mail_that_postfix_never_tries_ends_with_quit_after_the_idle_time() {
    let line = r#"{"queue_name":"deferred","queue_id":"A1","recipients":[{"address":"x@example.org","delay_reason":"deferred transport"}]}"#;
    let postfix = Postfix::new("3.10.1", line, Ways::Good);
    let (ended, heard) = session(&postfix).await;
    assert_eq!(heard, "QUIT\r\n");
    assert_eq!((ended.clean, ended.remaining), (true, Some(true)));
    assert!(
        ended.how.contains("did not use the connection"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_cache_that_refuses_leaves_the_connection_alone() {
    let postfix = Postfix::new("3.7.11", "", Ways::RefusesToSave);
    let (ended, heard) = session(&postfix).await;
    // Closed without a word: the cache may still have it.
    assert_eq!((ended.clean, heard.as_str()), (false, ""));
    assert!(ended.how.contains("status 1"), "{ended:?}");
}

#[tokio::test]
async fn another_connection_than_ours_is_not_taken_for_ours() {
    let postfix = Postfix::new("3.7.11", "", Ways::GivesAnotherConnection);
    let (ended, heard) = session(&postfix).await;
    assert_eq!((ended.clean, heard.as_str()), (false, ""));
    assert!(ended.how.contains("did not come back"), "{ended:?}");
}

/// As it is when one cache ends after smtp(8) has saved the destination there, and the next one gets the connection.
#[tokio::test]
async fn a_connection_to_which_no_destination_leads_is_found_by_its_own_name() {
    let postfix = Postfix::new("3.7.11", "", Ways::ForgetsDestinations);
    let (ended, heard) = session(&postfix).await;
    assert_eq!((ended.clean, heard.as_str()), (true, "QUIT\r\n"));
    let asked = "request=find_endp label=odmr|127.77.0.1|2525|0|".to_owned();
    assert!(postfix.heard().contains(&asked), "{:?}", postfix.heard());
}

#[tokio::test]
async fn a_cache_that_says_more_than_it_was_asked_is_not_believed() {
    let postfix = Postfix::new("3.7.11", "", Ways::TalksTooMuch);
    let (ended, heard) = session(&postfix).await;
    assert_eq!((ended.clean, heard.as_str()), (false, ""));
}

/// Rules: R22
#[tokio::test]
async fn what_is_no_connection_cache_is_found_out_before_the_turn() {
    let postfix = Postfix::new("3.7.11", "", Ways::WrongGreeting);
    let cache = postfix.cache("odmr").await.unwrap();
    let domains = DomainList::parse_atrn("example.org").unwrap();
    let next_hops = ["[127.77.0.1]:2525".parse().unwrap()];
    let error = cache
        .prepare(&domains, &next_hops)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("does not greet as Postfix's connection cache"),
        "{error}"
    );
    std::fs::remove_file(postfix.directory.path().join("private/scache")).unwrap();
    let error = cache
        .prepare(&domains, &next_hops)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot connect to ") && error.contains("is the MTA running"),
        "{error}"
    );
    assert!(cache.prepare(&domains, &[]).await.is_err());
}

#[tokio::test]
async fn an_unknown_postfix_is_refused_at_the_start() {
    for version in ["3.3.2", "4.0.0", "3.14.1", "sendmail"] {
        let error = Postfix::new(version, "", Ways::Good)
            .cache("odmr")
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.starts_with(&format!("cannot use Postfix {version}: ")),
            "{error}"
        );
    }
    let postfix = Postfix::new("3.7.11", "", Ways::Good);
    assert!(postfix.cache("od mr").await.is_err());
    assert!(postfix.cache("").await.is_err());
}

#[tokio::test]
async fn at_shutdown_an_idle_connection_is_taken_back_and_ended() {
    let line =
        r#"{"queue_name":"active","queue_id":"A1","recipients":[{"address":"x@example.org"}]}"#;
    let postfix = Postfix::new("3.7.11", line, Ways::Good);
    let mut settings = postfix.cache("odmr").await.unwrap();
    settings = {
        let _short = settings;
        PostfixCache::new(PostfixSettings {
            command_directory: postfix.directory.path().to_owned(),
            config_directory: None,
            service: "odmr".to_owned(),
            idle_time: Duration::from_secs(30),
            total_time: Duration::from_secs(60),
        })
        .await
        .unwrap()
    };
    let (reversed, customer) = turned().await;
    let ready = settings
        .prepare(&reversed.domains, &reversed.next_hops)
        .await
        .unwrap();
    let (stop, stopping) = tokio::sync::watch::channel(false);
    let run = tokio::spawn(ready.run(reversed, stopping));
    tokio::time::sleep(Duration::from_millis(600)).await;
    stop.send(true).unwrap();
    let mut customer = BufReader::new(customer);
    let mut line = String::new();
    customer.read_line(&mut line).await.unwrap();
    assert_eq!(line, "QUIT\r\n");
    customer.write_all(b"221 2.0.0 Bye\r\n").await.unwrap();
    let ended = run.await.unwrap();
    assert!(
        ended.clean && ended.how.contains("shutting down"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_connection_that_a_relay_carries_is_lent_and_ended_in_the_same_way() {
    let postfix = Postfix::new("3.7.11", "", Ways::Good);
    let cache = postfix.cache("odmr").await.unwrap();
    let (ends, mut peer) = secured_server().await;
    let reversed = reversed(ends.wire).await;
    assert_eq!(reversed.released.carriage().name(), "relay");
    let ready = cache
        .prepare(&reversed.domains, &reversed.next_hops)
        .await
        .unwrap();
    let customer = std::thread::spawn(move || {
        let heard = peer.line();
        peer.say("221 2.0.0 Bye\r\n");
        (heard, peer.rest())
    });
    let (_stop, stopping) = tokio::sync::watch::channel(false);
    let ended = ready.run(reversed, stopping).await;
    assert_eq!((ended.clean, ended.remaining), (true, Some(false)));
    assert!(!ended.control_record);
    let customer = tokio::task::spawn_blocking(|| customer.join().unwrap());
    let (heard, (rest, end)) = customer.await.unwrap();
    assert_eq!((heard.as_str(), rest.as_str()), ("QUIT", ""));
    end.unwrap();
    let heard = postfix.heard();
    // The customer's own address, not the pair's, which has none.
    assert!(heard[1].contains("host_name=customer.example.org[127.0.0.1]"));
}

/// While the connection is lent two have it, and neither sees the other close: the customer's end is the session's.
#[tokio::test]
async fn a_customer_that_closes_is_noticed_through_the_relay() {
    let line =
        r#"{"queue_name":"active","queue_id":"A1","recipients":[{"address":"x@example.org"}]}"#;
    for cut in [false, true] {
        let postfix = Postfix::new("3.7.11", line, Ways::Good);
        let cache = postfix.cache("odmr").await.unwrap();
        let (ends, mut peer) = secured_server().await;
        let reversed = reversed(ends.wire).await;
        let ready = cache
            .prepare(&reversed.domains, &reversed.next_hops)
            .await
            .unwrap();
        let (_stop, stopping) = tokio::sync::watch::channel(false);
        let run = tokio::spawn(ready.run(reversed, stopping));
        tokio::time::sleep(Duration::from_millis(400)).await;
        if cut {
            drop((peer, ends.peer));
        } else {
            let end = peer.close_notify();
            peer.send(&end);
        }
        let ended = tokio::time::timeout(Duration::from_secs(20), run).await;
        let ended = ended.unwrap().unwrap();
        assert_eq!(ended.how, "closed before the queue was empty");
        assert!(!ended.clean);
    }
}
