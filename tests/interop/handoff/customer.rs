//! A customer's mail server, scripted: it speaks first, takes messages and does as the test says.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the customer does besides taking messages.
#[derive(Clone, Default)]
pub struct Manners {
    /// Recipients whose address begins with this get 450.
    pub later: Option<&'static str>,
    /// After so many messages the connection is reset.
    pub die_after: Option<usize>,
    /// How long the answer to the end of the data takes.
    pub think: Duration,
    /// How long each other answer takes.
    pub lag: Duration,
    /// Called after each message, with the number of messages so far.
    pub after: Option<Arc<dyn Fn(usize) + Send + Sync>>,
}

#[derive(Debug, Clone, Default)]
pub struct Message {
    pub recipients: Vec<String>,
    pub data: Vec<u8>,
    pub at: Option<Instant>,
}

#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub messages: Vec<Message>,
    pub lines: Vec<String>,
    pub quit: bool,
    pub closed: bool,
}

impl Seen {
    pub fn count(&self, beginning: &str) -> usize {
        self.lines
            .iter()
            .filter(|line| line.to_ascii_uppercase().starts_with(beginning))
            .count()
    }
}

pub struct Customer {
    pub seen: Arc<Mutex<Seen>>,
    pub thread: JoinHandle<()>,
}

impl Customer {
    /// Dials `provider` and serves SMTP there.
    pub fn dial(provider: SocketAddr, manners: Manners) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let record = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            let stream = TcpStream::connect(provider).unwrap();
            stream.set_nodelay(true).unwrap();
            let outcome = serve(stream, &manners, &record);
            record.lock().unwrap().closed = true;
            if let Err(error) = outcome {
                println!("customer: {error}");
            }
        });
        Self { seen, thread }
    }

    /// Waits for the end of the session.
    pub fn end(self) -> Seen {
        self.thread.join().unwrap();
        let seen = self.seen.lock().unwrap();
        seen.clone()
    }
}

fn serve(stream: TcpStream, manners: &Manners, record: &Mutex<Seen>) -> std::io::Result<()> {
    let mut input = BufReader::new(stream.try_clone()?);
    let mut output = stream;
    output.write_all(b"220 customer.example.org ESMTP\r\n")?;
    let mut message = Message::default();
    loop {
        let mut line = String::new();
        if input.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let line = line.trim_end().to_owned();
        record.lock().unwrap().lines.push(line.clone());
        let upper = line.to_ascii_uppercase();
        std::thread::sleep(manners.lag);
        if upper.starts_with("EHLO") {
            output.write_all(b"250-customer.example.org\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250 8BITMIME\r\n")?;
        } else if upper.starts_with("MAIL") || upper == "RSET" {
            message = Message::default();
            output.write_all(b"250 2.0.0 Ok\r\n")?;
        } else if let Some(rest) = upper.strip_prefix("RCPT TO:<") {
            let address = rest
                .split('>')
                .next()
                .unwrap_or_default()
                .to_ascii_lowercase();
            if manners
                .later
                .is_some_and(|later| address.starts_with(later))
            {
                output.write_all(b"450 4.2.0 Come again\r\n")?;
            } else {
                message.recipients.push(address);
                output.write_all(b"250 2.1.5 Ok\r\n")?;
            }
        } else if upper == "DATA" {
            if message.recipients.is_empty() {
                output.write_all(b"554 5.5.1 No valid recipients\r\n")?;
                continue;
            }
            output.write_all(b"354 Go on\r\n")?;
            loop {
                let mut line = Vec::new();
                if input.read_until(b'\n', &mut line)? == 0 {
                    return Ok(());
                }
                if line == b".\r\n" {
                    break;
                }
                message
                    .data
                    .extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            }
            std::thread::sleep(manners.think);
            message.at = Some(Instant::now());
            let count = {
                let mut seen = record.lock().unwrap();
                seen.messages.push(std::mem::take(&mut message));
                seen.messages.len()
            };
            output.write_all(b"250 2.0.0 Ok, taken\r\n")?;
            if let Some(after) = &manners.after {
                after(count);
            }
            if manners.die_after == Some(count) {
                socket2::SockRef::from(&output).set_linger(Some(Duration::ZERO))?;
                return Ok(());
            }
        } else if upper == "QUIT" {
            record.lock().unwrap().quit = true;
            output.write_all(b"221 2.0.0 Bye\r\n")?;
            return Ok(());
        } else if upper == "NOOP" {
            output.write_all(b"250 2.0.0 Ok\r\n")?;
        } else {
            output.write_all(b"502 5.5.1 No\r\n")?;
        }
    }
}
