//! A Postfix at its interfaces: `postconf`, `postqueue`, and the connection cache with an smtp client
//! behind it that delivers what is queued for a next hop as soon as a connection to it is lent.

use super::peer::Peer;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use std::fs::{self, Permissions};
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// One queued message.
#[derive(Debug, Clone)]
pub struct Message {
    pub recipient: &'static str,
    pub next_hop: &'static str,
    pub text: &'static str,
}

pub struct Postfix {
    state: Arc<State>,
}

struct State {
    directory: PathBuf,
    queue: Mutex<Vec<Message>>,
    /// The cache gives nothing back, as if smtp(8) were at work on the connection.
    keeps: AtomicBool,
    /// A copy of the connection that was lent last.
    lent: Mutex<Option<OwnedFd>>,
    over: AtomicBool,
    /// Connections to the cache so far.
    connections: AtomicUsize,
}

impl Postfix {
    /// Below `directory`; everything there may be used by every user.
    pub fn start(directory: &Path, version: &str, queue: &[Message]) -> Postfix {
        let directory = directory.join("postfix");
        open_directory(&directory);
        open_directory(&directory.join("private"));
        for program in ["postconf", "postqueue"] {
            install(program, &directory);
        }
        let queue_directory = directory.to_str().unwrap();
        for (name, value) in [
            ("mail_version", version),
            ("queue_directory", queue_directory),
            ("connection_cache_ttl_limit", "60s"),
            ("connection_cache_service_name", "scache"),
            ("mail_owner", super::service_user()),
        ] {
            fs::write(
                directory.join(format!("parameter.{name}")),
                format!("{value}\n"),
            )
            .unwrap();
        }
        write_open(&directory.join("asked"), "");
        let state = Arc::new(State {
            directory,
            queue: Mutex::new(queue.to_vec()),
            keeps: AtomicBool::new(false),
            lent: Mutex::new(None),
            over: AtomicBool::new(false),
            connections: AtomicUsize::new(0),
        });
        state.write_queue();
        let socket = state.directory.join("private/scache");
        let listener = UnixListener::bind(&socket).unwrap();
        fs::set_permissions(&socket, Permissions::from_mode(0o777)).unwrap();
        let serving = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if serving.over.load(Ordering::SeqCst) {
                    return;
                }
                serving.connections.fetch_add(1, Ordering::SeqCst);
                let (state, client) = (Arc::clone(&serving), client.unwrap());
                std::thread::spawn(move || cache(&state, client));
            }
        });
        Postfix { state }
    }

    pub fn directory(&self) -> &Path {
        &self.state.directory
    }

    /// Puts one more message into the queue.
    pub fn queue(&self, message: Message) {
        self.state.queue.lock().unwrap().push(message);
        self.state.write_queue();
    }

    /// Every question that `postqueue` was asked so far.
    pub fn asked(&self) -> String {
        fs::read_to_string(self.state.directory.join("asked")).unwrap()
    }

    /// How often the connection cache was connected to.
    pub fn cache_connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// `slow` or `broken`: what is wrong with the next answers about the queue.
    pub fn spoil(&self, how: &str) {
        fs::write(self.state.directory.join(how), "").unwrap();
    }

    pub fn mend(&self, how: &str) {
        fs::remove_file(self.state.directory.join(how)).unwrap();
    }

    /// From now on nothing is given back, as if smtp(8) were at work on it.
    pub fn keep(&self) {
        self.state.keeps.store(true, Ordering::SeqCst);
    }

    /// The connection that was kept.
    pub fn connection(&self) -> Peer {
        let connection = self.state.lent.lock().unwrap().take();
        Peer::new(TcpStream::from(connection.expect("nothing was lent")))
    }

    /// All messages are gone, without delivery.
    pub fn lose_all(&self) {
        self.state.queue.lock().unwrap().clear();
        self.state.write_queue();
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        UnixStream::connect(self.state.directory.join("private/scache")).ok();
    }
}

impl State {
    fn write_queue(&self) {
        let lines: String = (self.queue.lock().unwrap().iter().enumerate())
            .map(|(index, message)| {
                format!(
                    "{{\"queue_name\":\"deferred\",\"queue_id\":\"A{index}\",\"arrival_time\":1,\"recipients\":\
                     [{{\"address\":\"{}\",\"delay_reason\":\"deferred transport\"}}]}}\n",
                    message.recipient
                )
            })
            .collect();
        let new = self.directory.join("queue.new");
        fs::write(&new, lines).unwrap();
        fs::rename(&new, self.directory.join("queue")).unwrap();
    }

    /// What smtp(8) does with a lent connection.
    fn deliver(&self, label: &str, connection: &OwnedFd) {
        let mut server = Peer::new(TcpStream::from(connection.try_clone().unwrap()));
        loop {
            let next = (self.queue.lock().unwrap().iter())
                .position(|message| label.contains(message.next_hop));
            let Some(index) = next else { return };
            let message = self.queue.lock().unwrap()[index].clone();
            server.give_mail(message.recipient, message.text);
            self.queue.lock().unwrap().remove(index);
            self.write_queue();
        }
    }
}

/// scache(8), for one client.
fn cache(state: &State, mut client: UnixStream) {
    write_list(&mut client, &[("protocol", "connection_cache_protocol")]);
    let mut held: Option<OwnedFd> = None;
    while let Some(request) = read_list(&mut client) {
        match value(&request, "request") {
            "save_endp" => {
                write_list(&mut client, &[("dummy", "")]);
                let connection = receive(&client).unwrap();
                if state.keeps.load(Ordering::SeqCst) {
                    *state.lent.lock().unwrap() = Some(connection.try_clone().unwrap());
                }
                held = Some(connection);
                write_list(&mut client, &[("status", "0")]);
            }
            "save_dest" => {
                write_list(&mut client, &[("status", "0")]);
                if !state.keeps.load(Ordering::SeqCst) {
                    state.deliver(value(&request, "label"), held.as_ref().unwrap());
                }
            }
            "find_dest" => match held.take_if(|_| !state.keeps.load(Ordering::SeqCst)) {
                Some(connection) => {
                    let found = [("status", "0"), ("property", "d"), ("property", "e")];
                    write_list(&mut client, &found);
                    read_list(&mut client).unwrap();
                    let rights = [connection.as_raw_fd()];
                    let rights = [ControlMessage::ScmRights(&rights)];
                    let octet = [IoSlice::new(&[0])];
                    sendmsg::<()>(client.as_raw_fd(), &octet, &rights, MsgFlags::empty(), None)
                        .unwrap();
                    read_list(&mut client).unwrap();
                }
                None => write_list(&mut client, &[("status", "-1")]),
            },
            // What it has it gives to who asks for the destination, which comes first.
            "find_endp" => write_list(&mut client, &[("status", "-1")]),
            other => panic!("the cache was asked {other:?}"),
        }
    }
}

fn value<'a>(list: &'a [(String, String)], name: &str) -> &'a str {
    &list.iter().find(|(found, _)| found == name).unwrap().1
}

fn write_list(stream: &mut UnixStream, list: &[(&str, &str)]) {
    let mut octets = Vec::new();
    for (name, value) in list {
        octets.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    octets.push(0);
    // The client may have gone: then it is the end.
    stream.write_all(&octets).ok();
}

/// One list of attributes; `None` at the end of the connection.
pub fn read_list(stream: &mut UnixStream) -> Option<Vec<(String, String)>> {
    let mut list = Vec::new();
    loop {
        let name = read_part(stream)?;
        if name.is_empty() {
            return Some(list);
        }
        list.push((name, read_part(stream)?));
    }
}

fn read_part(stream: &mut UnixStream) -> Option<String> {
    let mut part = Vec::new();
    let mut octet = [0];
    loop {
        match stream.read(&mut octet) {
            Ok(1) if octet[0] == 0 => return Some(String::from_utf8(part).unwrap()),
            Ok(1) => part.push(octet[0]),
            _ => return None,
        }
    }
}

/// One octet and the descriptor that comes with it.
pub fn receive(stream: &UnixStream) -> Option<OwnedFd> {
    let mut octet = [0];
    let mut slices = [IoSliceMut::new(&mut octet)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let flags = MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(stream.as_raw_fd(), &mut slices, Some(&mut space), flags).ok()?;
    let received = message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::ScmRights(received) => received.first().copied(),
        _ => None,
    })?;
    // SAFETY: the kernel has just made this descriptor for us alone.
    Some(unsafe { OwnedFd::from_raw_fd(received) })
}

/// A directory that every user may use.
pub fn open_directory(path: &Path) {
    fs::create_dir_all(path).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o777)).unwrap();
}

/// A file that every user may use.
pub fn write_open(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
}

/// Puts a copy of a fake program into a directory. Another process writes it: a descriptor open for
/// writing here could be inherited by any child, and no kernel runs a program that is being written.
pub fn install(program: &str, directory: &Path) {
    let fake = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/suite/driver/fakes")
        .join(program);
    let copied = Command::new("install")
        .args(["-m", "755"])
        .arg(&fake)
        .arg(directory.join(program))
        .status()
        .unwrap();
    assert!(copied.success());
}
