//! Putting mail into the provider's queue, over SMTP on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Sends one message for each entry: its recipients, and its subject.
pub fn inject(messages: &[(&[&str], &str)]) {
    let started = Instant::now();
    let stream = loop {
        match TcpStream::connect("127.0.0.1:25") {
            Ok(stream) => break stream,
            Err(error) => assert!(
                started.elapsed() < Duration::from_secs(20),
                "nobody takes mail: {error}"
            ),
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    stream.set_nodelay(true).unwrap();
    let mut input = BufReader::new(stream.try_clone().unwrap());
    let mut output = stream;
    expect(&mut input, "220");
    let mut say = |line: &str, code: &str| {
        output.write_all(format!("{line}\r\n").as_bytes()).unwrap();
        expect(&mut input, code);
    };
    say("EHLO sender.example.net", "250");
    for (recipients, subject) in messages {
        say("MAIL FROM:<sender@sender.example.net>", "250");
        for recipient in *recipients {
            say(&format!("RCPT TO:<{recipient}>"), "250");
        }
        say("DATA", "354");
        say(
            &format!("Subject: {subject}\r\n\r\nThis is {subject}.\r\n."),
            "250",
        );
    }
    say("QUIT", "221");
}

/// `count` messages with one recipient each: `user1@domain`, `user2@domain` and so on.
pub fn inject_many(count: usize, local: &str, domain: &str) {
    let recipients: Vec<String> = (1..=count)
        .map(|number| format!("{local}{number}@{domain}"))
        .collect();
    let lists: Vec<[&str; 1]> = recipients
        .iter()
        .map(|recipient| [recipient.as_str()])
        .collect();
    let messages: Vec<(&[&str], &str)> =
        lists.iter().map(|list| (list.as_slice(), "many")).collect();
    inject(&messages);
}

fn expect(input: &mut impl BufRead, code: &str) {
    loop {
        let mut line = String::new();
        input.read_line(&mut line).unwrap();
        assert!(line.starts_with(code), "wanted {code}, got {line:?}");
        if line.as_bytes().get(3) == Some(&b' ') {
            return;
        }
    }
}
