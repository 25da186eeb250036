//! The other end of a connection, as a test plays it: lines, replies, and logging in; without TLS or under it.

use super::process::PATIENCE;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection};
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use turnabout::sasl::client::ClientExchange;
use turnabout::sasl::{Channel, ChannelBinding, Mechanism, Secret};

pub struct Peer {
    pub stream: TcpStream,
    /// Once there is TLS: the library itself, nothing of ours.
    pub tls: Option<Box<Connection>>,
    /// The connection ended without the end of TLS.
    pub cut: bool,
    /// What was read and not yet taken.
    buffer: Vec<u8>,
    /// Every line of AUTH exchanges, both ways, base64 as on the wire: none may be in a log.
    pub secrets: Vec<String>,
}

impl Peer {
    pub fn new(stream: TcpStream) -> Peer {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        // A relay gives one end of a socket pair, which knows no delay.
        stream.set_nodelay(true).ok();
        Peer {
            stream,
            tls: None,
            cut: false,
            buffer: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// Connects; says and reads nothing yet.
    pub fn connect(address: SocketAddr) -> Peer {
        Peer::new(TcpStream::connect(address).unwrap())
    }

    /// Connects from an address of this machine; says and reads nothing yet.
    pub fn connect_from(source: IpAddr, address: SocketAddr) -> Peer {
        Peer::new(connected_from(source, address))
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

    /// Begins TLS as client.
    pub fn begin_tls(&mut self, config: ClientConfig, name: &str) -> io::Result<()> {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        self.handshake(tls.into())
    }

    /// Begins TLS as server.
    pub fn take_tls(&mut self, config: ServerConfig) -> io::Result<()> {
        let tls = ServerConnection::new(Arc::new(config)).unwrap();
        self.handshake(tls.into())
    }

    /// The same, with text that comes in one segment with the end of the handshake.
    pub fn take_tls_and_say(&mut self, mut config: ServerConfig, early: &str) -> io::Result<()> {
        config.send_half_rtt_data = true;
        let mut tls = ServerConnection::new(Arc::new(config)).unwrap();
        tls.writer().write_all(early.as_bytes())?;
        self.handshake(tls.into())
    }

    fn handshake(&mut self, mut tls: Connection) -> io::Result<()> {
        assert!(self.buffer.is_empty(), "octets before TLS");
        while tls.is_handshaking() {
            tls.complete_io(&mut self.stream)?;
        }
        // What comes last: tickets.
        while tls.wants_write() {
            tls.write_tls(&mut self.stream)?;
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// What a login can be bound to.
    pub fn binding(&self) -> ChannelBinding {
        let label = b"EXPORTER-Channel-Binding";
        let octets = match self.tls.as_deref().expect("TLS") {
            Connection::Client(tls) => tls.export_keying_material([0; 32], label, Some(b"")),
            Connection::Server(tls) => tls.export_keying_material([0; 32], label, Some(b"")),
        };
        ChannelBinding::from(octets.unwrap())
    }

    /// Ends TLS, and writing.
    pub fn end_tls(&mut self) {
        let tls = self.tls.as_mut().expect("TLS");
        tls.send_close_notify();
        while tls.wants_write() {
            tls.write_tls(&mut self.stream).unwrap();
        }
        self.stream.shutdown(std::net::Shutdown::Write).unwrap();
    }

    /// Sends octets in one segment.
    pub fn send(&mut self, octets: impl AsRef<[u8]>) {
        match &mut self.tls {
            None => self.stream.write_all(octets.as_ref()).unwrap(),
            Some(_) => {
                let records = self.record(octets.as_ref());
                self.stream.write_all(&records).unwrap();
            }
        }
    }

    /// The records that carry this text, not sent.
    pub fn record(&mut self, text: impl AsRef<[u8]>) -> Vec<u8> {
        let tls = self.tls.as_mut().expect("TLS");
        let mut octets = Vec::new();
        // The library holds so much and no more.
        for part in text.as_ref().chunks(16 * 1024) {
            tls.writer().write_all(part).unwrap();
            while tls.wants_write() {
                tls.write_tls(&mut octets).unwrap();
            }
        }
        octets
    }

    /// Some octets; none at the end.
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let read = match &mut self.tls {
            None => self.stream.read(octets),
            Some(tls) => read_tls(tls, &mut self.stream, octets),
        };
        match read {
            Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(0),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                self.cut = true;
                Ok(0)
            }
            read => read,
        }
    }

    /// The next line without CRLF; `None` when the connection has ended.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).collect();
                return Some(String::from_utf8(line[..end].to_vec()).unwrap());
            }
            let mut octets = [0; 4096];
            match self.read(&mut octets) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend_from_slice(&octets[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no line: {error}, {:?}", self.buffer),
            }
        }
    }

    /// Everything up to the end of the connection.
    pub fn rest(&mut self) -> String {
        let mut octets = [0; 4096];
        loop {
            match self.read(&mut octets) {
                Ok(0) => break,
                Ok(count) => self.buffer.extend_from_slice(&octets[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no end: {error}, {:?}", self.buffer),
            }
        }
        // What comes may be the beginning of TLS.
        String::from_utf8_lossy(&std::mem::take(&mut self.buffer)).into_owned()
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
    pub fn login(&mut self, mechanism: Mechanism, who: (&str, &str)) -> u16 {
        let channel = if mechanism.is_plus() {
            Channel::Bound(self.binding())
        } else {
            Channel::Unbound
        };
        self.login_on(&channel, mechanism, who)
    }

    /// The same, bound to what need not be this connection.
    pub fn login_bound(
        &mut self,
        mechanism: Mechanism,
        who: (&str, &str),
        binding: ChannelBinding,
    ) -> u16 {
        self.login_on(&Channel::Bound(binding), mechanism, who)
    }

    fn login_on(
        &mut self,
        channel: &Channel,
        mechanism: Mechanism,
        (user, password): (&str, &str),
    ) -> u16 {
        let secret = Secret::from(password);
        let mut exchange = ClientExchange::start_on(channel, mechanism, user, &secret).unwrap();
        let mut next = format!("AUTH {}", mechanism.name());
        if let Some(initial) = exchange.initial().unwrap() {
            let encoded = match initial.len() {
                0 => "=".to_owned(),
                _ => STANDARD.encode(&*initial),
            };
            self.secrets.push(encoded.clone());
            next = format!("{next} {encoded}");
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

/// A connection whose other end sees it come from this address: all of 127.0.0.0/8 is this machine.
pub fn connected_from(source: IpAddr, address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::new(source, 0).into()).unwrap();
    socket.connect(&address.into()).unwrap();
    socket.into()
}

fn read_tls(tls: &mut Connection, stream: &mut TcpStream, octets: &mut [u8]) -> io::Result<usize> {
    loop {
        match tls.reader().read(octets) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return done,
        }
        tls.read_tls(stream)?;
        tls.process_new_packets().map_err(io::Error::other)?;
    }
}
