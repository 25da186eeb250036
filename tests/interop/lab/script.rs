//! A provider that says what a test tells it to.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// One connection of a customer.
#[derive(Debug)]
pub struct Script {
    reader: BufReader<TcpStream>,
    stream: TcpStream,
}

impl Script {
    /// Waits for a customer.
    pub fn accept(listener: &TcpListener) -> Self {
        let (stream, _peer) = listener.accept().unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .unwrap();
        Self {
            reader: BufReader::new(stream.try_clone().unwrap()),
            stream,
        }
    }

    /// The provider's part up to and including the 250 to ATRN; any password will do.
    pub fn turn(&mut self) {
        self.say("220 provider.test ready");
        self.hears("EHLO ");
        self.say("250-provider.test\r\n250-AUTH CRAM-MD5\r\n250 ATRN");
        self.hears("AUTH CRAM-MD5");
        self.say("334 PDEuMUBwcm92aWRlci50ZXN0Pg==");
        self.line();
        self.say("235 welcome");
        self.hears("ATRN");
        self.say("250 now reversing");
    }

    /// Sends a line, or several.
    pub fn say(&mut self, line: &str) {
        write!(self.stream, "{line}\r\n").unwrap();
    }

    /// Reads a line, which must begin so.
    pub fn hears(&mut self, start: &str) -> String {
        let line = self.line();
        assert!(line.starts_with(start), "expected {start:?}, got {line:?}");
        line
    }

    /// Reads a reply, which must begin so.
    pub fn reply(&mut self, start: &str) -> String {
        loop {
            let line = self.hears(start);
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    /// Sends a command and reads the reply.
    pub fn command(&mut self, command: &str, reply: &str) -> String {
        self.say(command);
        self.reply(reply)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}
