//! Messages: made byte by byte, put into a queue by SMTP, and recognised after delivery.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::TcpStream;

use super::Host;

/// A message as it stands between MAIL and the final dot, before dots are doubled.
#[derive(Debug, Clone)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// Header and body; every line ends in CRLF.
    pub bytes: Vec<u8>,
}

impl Mail {
    /// A complete message: mail servers add no header of their own to one that has these, other than on top.
    pub fn new(to: &[&str], name: &str, body: &[u8]) -> Self {
        let mut head = String::new();
        let list = to.join(", ");
        write!(
            head,
            "From: Sender <sender@example.edu>\r\nTo: {list}\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\
             Message-ID: <{name}@example.edu>\r\nSubject: {name}\r\nMIME-Version: 1.0\r\n\
             Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        )
        .unwrap();
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Self {
            from: "sender@example.edu".to_owned(),
            to: to.iter().map(|&one| one.to_owned()).collect(),
            bytes,
        }
    }

    /// The same message as files hold it: lines end in LF.
    pub fn as_file(&self) -> Vec<u8> {
        let mut file = Vec::with_capacity(self.bytes.len());
        for line in self.bytes.split_inclusive(|&byte| byte == b'\n') {
            file.extend_from_slice(line.strip_suffix(b"\r\n").unwrap());
            file.push(b'\n');
        }
        file
    }

    /// Whether a delivered file is this message: the same bytes to the end, with nothing but header lines on top.
    pub fn is_delivered_as(&self, file: &[u8]) -> bool {
        let Some(added) = file.strip_suffix(self.as_file().as_slice()) else {
            return false;
        };
        added.is_empty()
            || added.ends_with(b"\n")
                && added.split(|&byte| byte == b'\n').all(|line| {
                    line.is_empty()
                        || line.starts_with(b" ")
                        || line.starts_with(b"\t")
                        || line.contains(&b':')
                })
                && !added.windows(2).any(|pair| pair == b"\n\n")
    }

    /// Checks that these messages, and nothing else, were delivered.
    pub fn assert_delivered(sent: &[Self], inbox: &[Vec<u8>]) {
        assert_eq!(sent.len(), inbox.len(), "messages delivered");
        let mut by_name: BTreeMap<String, Vec<&[u8]>> = BTreeMap::new();
        for file in inbox {
            by_name
                .entry(name_of(file).unwrap_or_default())
                .or_default()
                .push(file);
        }
        for mail in sent {
            let name = mail.name();
            let copies = by_name.get(&name).map_or(&[][..], Vec::as_slice);
            assert_eq!(copies.len(), 1, "copies of {name}");
            let start = String::from_utf8_lossy(&copies[0][..copies[0].len().min(2000)]);
            assert!(
                mail.is_delivered_as(copies[0]),
                "{name}, {} bytes, became {start:?}",
                mail.bytes.len()
            );
        }
    }

    /// The name it was made with.
    pub fn name(&self) -> String {
        name_of(&self.bytes).unwrap()
    }
}

/// The name in a message's Message-ID.
fn name_of(message: &[u8]) -> Option<String> {
    message.split(|&byte| byte == b'\n').find_map(|line| {
        let line = std::str::from_utf8(line).ok()?.trim();
        line.strip_prefix("Message-ID: <")?
            .strip_suffix("@example.edu>")
            .map(str::to_owned)
    })
}

/// Lines of text as octets with CRLF.
pub fn lines_of(lines: &[&str]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\r\n"].concat())
        .collect()
}

/// A body of so many lines of seventy-two octets.
pub fn body_of_lines(count: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(count * 74);
    for number in 0..count {
        write!(
            body,
            "{number:08} abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ 0123456789\r\n"
        )
        .unwrap();
    }
    body
}

impl Host {
    /// Puts messages into this host's queue over one SMTP connection to its own port 25; gives the queue ids.
    pub fn submit(&self, mails: &[Mail]) -> Vec<String> {
        let stream = self.connect("127.0.0.1:25");
        smtp_session(stream, mails)
    }
}

/// Says EHLO, sends the messages one after the other, then QUIT; gives the queue ids from the final replies.
fn smtp_session(stream: TcpStream, mails: &[Mail]) -> Vec<String> {
    let mut client = Client {
        reader: BufReader::new(stream.try_clone().unwrap()),
        writer: BufWriter::new(stream),
    };
    client.expect("220");
    client.say("EHLO client.example.edu", "250");
    let mut ids = Vec::new();
    for mail in mails {
        client.say(&format!("MAIL FROM:<{}> BODY=8BITMIME", mail.from), "250");
        for to in &mail.to {
            client.say(&format!("RCPT TO:<{to}>"), "250");
        }
        client.say("DATA", "354");
        for line in mail.bytes.split_inclusive(|&byte| byte == b'\n') {
            if line.starts_with(b".") {
                client.writer.write_all(b".").unwrap();
            }
            client.writer.write_all(line).unwrap();
        }
        let reply = client.say(".", "250");
        // "250 2.0.0 Ok: queued as ID" and "250 OK id=ID"
        let last = reply.split_whitespace().last().unwrap();
        ids.push(last.trim_start_matches("id=").to_owned());
    }
    client.say("QUIT", "221");
    ids
}

struct Client {
    reader: BufReader<TcpStream>,
    writer: BufWriter<TcpStream>,
}

impl Client {
    fn say(&mut self, line: &str, code: &str) -> String {
        write!(self.writer, "{line}\r\n").unwrap();
        self.writer.flush().unwrap();
        self.expect(code)
    }

    fn expect(&mut self, code: &str) -> String {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).unwrap();
            assert!(line.starts_with(code), "expected {code}, got {line:?}");
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_owned();
            }
        }
    }
}

/// What Postfix warns of when a second lies between its look at the clock and its file's time: that the machine is busy,
/// which says nothing of a connection.
pub fn is_about_the_clock(line: &str) -> bool {
    let warnings = [
        "warning: file system clock is ",
        "warning: resetting file time stamps ",
    ];
    warnings.iter().any(|warning| line.contains(warning))
}
