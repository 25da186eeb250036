//! The other end of a connection, as a test plays it: lines, replies, and logging in.

use super::process::PATIENCE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use turnabout::sasl::client::ClientExchange;
use turnabout::sasl::{Mechanism, Secret};

pub struct Peer {
    pub stream: TcpStream,
    /// What was read and not yet taken.
    buffer: Vec<u8>,
    /// Every line of AUTH exchanges, both ways, base64 as on the wire: none may be in a log.
    pub secrets: Vec<String>,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer {
            stream,
            buffer: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Connects; says and reads nothing yet.
    pub fn connect(address: SocketAddr) -> Peer {
        Peer::new(TcpStream::connect(address).unwrap())
    }

    /// Connects, reads the greeting, says EHLO.
    pub fn greeted(address: SocketAddr) -> Peer {
        let mut peer = Peer::connect(address);
        assert_eq!(peer.reply().0, 220);
        assert_eq!(peer.ask("EHLO customer.example.org").0, 250);
        peer
    }

    /// Logged in with CRAM-MD5.
    pub fn logged_in(address: SocketAddr, who: (&str, &str)) -> Peer {
        let mut peer = Peer::greeted(address);
        assert_eq!(peer.login(Mechanism::CramMd5, who), 235);
        peer
    }

    /// Sends octets in one segment.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        self.stream.write_all(octets.as_ref()).unwrap();
    }

    /// The next line without CRLF; `None` when the connection has ended.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            let mut octets = [0; 4096];
            match self.stream.read(&mut octets) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&octets[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no line: {error}, {:?}", self.buffer),
            }
        }
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut octets = [0; 4096];
        loop {
            match self.stream.read(&mut octets) {
                Ok(0) => break,
                Ok(count) => self.buffer.extend_from_slice(&octets[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no end: {error}, {:?}", self.buffer),
            }
        }
        String::from_utf8(std::mem::take(&mut self.buffer)).unwrap()
    }

    /// Nothing more comes.
    pub fn assert_ended(&mut self) {
        assert_eq!(self.rest(), "");
    }

    /// A whole reply: its code, and the texts of its lines.
    pub fn reply(&mut self) -> (u16, String) {
        let mut texts = Vec::new();
        loop {
            let Some(line) = self.line() else {
                panic!("the connection ended instead of a reply")
            };
            texts.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return (line[..3].parse().unwrap(), texts.join("\n"));
            }
        }
    }

    /// A command and its reply.
    pub fn ask(&mut self, line: &str) -> (u16, String) {
        self.send(format!("{line}\r\n"));
        self.reply()
    }

    /// A command and its reply's code.
    pub fn code(&mut self, line: &str) -> u16 {
        self.ask(line).0
    }

    /// A whole AUTH exchange; the code it ends with.
    pub fn login(&mut self, mechanism: Mechanism, (user, password): (&str, &str)) -> u16 {
        let mut exchange = ClientExchange::start(mechanism, user, &Secret::from(password)).unwrap();
        let mut next = format!("AUTH {}", mechanism.name());
        if let Some(initial) = exchange.initial().unwrap() {
            self.secrets.push(STANDARD.encode(&*initial));
            next = format!("{next} {}", STANDARD.encode(&*initial));
        }
        loop {
            let (code, text) = self.ask(&next);
            if code != 334 {
                if code == 235 {
                    exchange.finish().unwrap();
                }
                return code;
            }
            self.secrets.push(text.clone());
            let answer = exchange
                .challenge(&STANDARD.decode(&text).unwrap())
                .unwrap();
            next = STANDARD.encode(&*answer);
            self.secrets.push(next.clone());
        }
    }

    /// After the turn: be the customer's mail server until QUIT; gives the messages.
    pub fn take_mail(&mut self) -> Vec<String> {
        self.send("220 customer.example.org ESMTP\r\n");
        self.take_mail_greeted()
    }

    /// The same when the greeting was sent already.
    pub fn take_mail_greeted(&mut self) -> Vec<String> {
        let mut messages = Vec::new();
        while let Some(line) = self.line() {
            match line.split(' ').next().unwrap_or_default() {
                "EHLO" => self.send("250-customer.example.org\r\n250 8BITMIME\r\n"),
                "DATA" => {
                    self.send("354 go on\r\n");
                    let mut message = String::new();
                    while let Some(line) = self.line().filter(|line| line != ".") {
                        message.push_str(&line);
                        message.push('\n');
                    }
                    messages.push(message);
                    self.send("250 ok\r\n");
                }
                "QUIT" => {
                    self.send("221 bye\r\n");
                    break;
                }
                _ => self.send("250 ok\r\n"),
            }
        }
        messages
    }

    /// Sends one message as a client, and expects it to be taken.
    pub fn give_mail(&mut self, recipient: &str, message: &str) {
        assert_eq!(self.code("MAIL FROM:<sender@example.net>"), 250);
        assert_eq!(self.code(&format!("RCPT TO:<{recipient}>")), 250);
        assert_eq!(self.code("DATA"), 354);
        assert_eq!(self.code(&format!("{message}\r\n.")), 250);
    }
}
