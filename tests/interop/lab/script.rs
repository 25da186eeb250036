//! A peer that says what a test tells it to: over a connection, plain or not, or through another program's pipes.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustls::ServerConfig;

use super::tls::{Mode, Stream, accept};
use super::{Host, patiently, wait_for};

/// Nobody whom a test talks to is silent for longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// One end of a conversation in lines.
#[derive(Debug)]
pub struct Script {
    line: Line,
}

#[derive(Debug)]
enum Line {
    Connection(BufReader<Box<dyn Stream>>),
    Program(Program),
}

impl Script {
    /// Waits for a customer, on a connection without TLS.
    pub fn accept(listener: &TcpListener) -> Self {
        Self::over(Box::new(incoming(listener)))
    }

    /// Speaks over a connection that is there.
    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self {
            line: Line::Connection(BufReader::new(stream)),
        }
    }

    /// Waits for a customer that does a handshake, as a server that has this certificate; with STARTTLS it must ask for
    /// it first. The greeting has been said.
    pub fn accept_with_tls(listener: &TcpListener, mode: Mode, config: ServerConfig) -> Self {
        let stream = incoming(listener);
        if mode == Mode::Starttls {
            let mut plain = Self::over(Box::new(stream.try_clone().unwrap()));
            plain.greet();
            plain.hears("EHLO ");
            plain.say("250-provider.test\r\n250-STARTTLS\r\n250 ATRN");
            plain.hears("STARTTLS");
            plain.say("220 go ahead");
        }
        let mut script = Self::over(accept(stream, config).unwrap());
        if mode == Mode::Implicit {
            script.greet();
        }
        script
    }

    /// Speaks through a program.
    pub fn through(program: Program) -> Self {
        Self {
            line: Line::Program(program),
        }
    }

    /// The program that is spoken through.
    pub fn program(&mut self) -> &mut Program {
        match &mut self.line {
            Line::Program(program) => program,
            Line::Connection(_) => panic!("no program here"),
        }
    }

    /// The provider's greeting.
    pub fn greet(&mut self) {
        self.say("220 provider.test ready");
    }

    /// The provider's part from EHLO up to and including the 250 to ATRN; any password will do.
    pub fn turn(&mut self) {
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
        self.send(format!("{line}\r\n").as_bytes());
    }

    /// Sends octets as they are.
    pub fn send(&mut self, octets: &[u8]) {
        self.try_send(octets).unwrap();
    }

    /// The same to a peer that may be gone.
    pub fn try_send(&mut self, octets: &[u8]) -> io::Result<()> {
        let writer: &mut dyn Write = match &mut self.line {
            Line::Connection(reader) => reader.get_mut(),
            Line::Program(program) => program.input.as_mut().expect("its input is closed"),
        };
        writer.write_all(octets)?;
        writer.flush()
    }

    /// Reads and forgets what a program says before a line that begins so.
    pub fn skips_to(&mut self, start: &str) -> String {
        loop {
            let line = self.octets().expect("the line that was to come");
            if line.starts_with(start.as_bytes()) {
                return String::from_utf8_lossy(&line).trim_end().to_owned();
            }
        }
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

    /// The next line, without its end; empty at the end of everything.
    pub fn line(&mut self) -> String {
        let line = self.octets().unwrap_or_default();
        String::from_utf8_lossy(&line).trim_end().to_owned()
    }

    /// The next line with its end; nothing at the end of everything.
    pub fn octets(&mut self) -> Option<Vec<u8>> {
        match &mut self.line {
            Line::Connection(reader) => {
                let mut line = Vec::new();
                // A connection without close_notify has ended as well.
                let _lost = reader.read_until(b'\n', &mut line);
                (!line.is_empty()).then_some(line)
            }
            Line::Program(program) => program.lines.recv_timeout(patiently(PATIENCE)).ok(),
        }
    }
}

/// The next connection; whoever is silent on it for long has failed.
pub fn incoming(listener: &TcpListener) -> TcpStream {
    let (stream, _peer) = listener.accept().unwrap();
    stream.set_read_timeout(Some(patiently(PATIENCE))).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// A program whose standard input and output are the conversation.
#[derive(Debug)]
pub struct Program {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<Vec<u8>>,
    log: PathBuf,
}

impl Program {
    /// Writes to the program's standard input in one piece.
    pub fn send(&mut self, octets: &[u8]) {
        let input = self.input.as_mut().expect("its input is closed");
        input.write_all(octets).unwrap();
    }

    /// Ends the program's standard input.
    pub fn close(&mut self) {
        drop(self.input.take());
    }

    /// What it has written to its standard error.
    pub fn complaints(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> ExitStatus {
        wait_for("end of the program", PATIENCE, || {
            self.child.try_wait().unwrap()
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.close();
        if self.child.try_wait().is_ok_and(|end| end.is_none()) {
            // The signal hits nsenter; its end, and that of the pipes, end what it has started.
            let _gone = self.child.kill();
            let _status = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("---- {}\n{}", self.log.display(), self.complaints());
        }
    }
}

impl Host {
    /// Starts a program to talk through; its standard error goes to the file NAME.log of the host's directory.
    pub fn talk(&self, name: &str, program: &str, arguments: &[&str]) -> Program {
        let log = self.path(&format!("{name}.log"));
        let mut child = self
            .command(program, arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (say, lines) = channel();
        std::thread::spawn(move || {
            loop {
                let mut line = Vec::new();
                match output.read_until(b'\n', &mut line) {
                    Ok(octets) if octets > 0 && say.send(line).is_ok() => {}
                    _ => return,
                }
            }
        });
        Program {
            input: child.stdin.take(),
            child,
            lines,
            log,
        }
    }
}
