//! Transcripts: one behaviour a file, the file name is the sentence, `C:` and `P:` lines as in the RFC.
//!
//! Before the first line of the conversation stand headers (`Rules:` and what the world is like). Consecutive lines
//! of the side that is played by the file travel in one segment. Each file is replayed with its segments whole,
//! byte by byte, and cut in two at every place, and has to give the same replies each time.
//! In a line `\r \n \0 \t \\ \xNN` are octets, `{b64 TEXT}` is TEXT in base64, `{cram USER PASSWORD}` the answer to
//! the last challenge, and `{repeat N TEXT}` what it says. A line that is expected from the provider may be cut
//! short at a blank: the code is the contract, the text is not.
//!
//! `-- starts TLS` is a handshake: the lines before it travel in the clear, those behind it under TLS. `TLS:` in the head
//! says how the connection stands to it (provider: offered, required, implicit, and `unavailable` behind it; customer:
//! starttls, implicit), `Mechanisms-in-TLS:` what may be used then, `Certificate:` whom the customer's certificate speaks
//! for, and `Binding:` that the connection has one.

use crate::odmr_world::{World, domain, domains};
use std::fs;
use std::path::Path;
use std::time::Duration;
use turnabout::odmr::customer::{self, Customer, Outcome, Step, Tls};
use turnabout::odmr::greeting::{Greeting, GreetingStep};
use turnabout::odmr::provider::{Action, Provider, QueueAnswer, Starttls};
use turnabout::sasl::{ChannelBinding, Mechanism, Secret, cram_md5};
use turnabout::smtp::{COMMAND_LIMIT, LineReader, ReplyReader, base64};

#[derive(Debug)]
struct Transcript {
    headers: Vec<(String, String)>,
    /// `C:`, `P:` or `--` (what is not said but done), and the rest of the line.
    script: Vec<(String, String)>,
}

impl Transcript {
    fn read(text: &str) -> Self {
        let mut transcript = Self {
            headers: Vec::new(),
            script: Vec::new(),
        };
        for line in text
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
            if matches!(key, "C:" | "P:" | "--") {
                transcript.script.push((key.to_owned(), rest.to_owned()));
            } else {
                let (key, rest) = line.split_once(": ").expect("a header");
                transcript.headers.push((key.to_owned(), rest.to_owned()));
            }
        }
        transcript
    }

    fn header(&self, key: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Plays the file's side against a peer; gives what the peer did, up to the first difference.
    fn replay(&self, cut: Cut) -> Result<(), String> {
        let (played, mut peer): (&str, Box<dyn Peer>) = match self.header("Role") {
            None | Some("provider") => ("C:", Box::new(ProviderPeer::new(self))),
            Some("customer") => ("P:", Box::new(CustomerPeer::new(self))),
            Some("greeting") => ("C:", Box::new(GreetingPeer::new(self))),
            Some(other) => panic!("no such role: {other}"),
        };
        let mut did: Vec<(String, String)> = Vec::new();
        peer.start(&mut did);
        let mut script = self.script.iter().peekable();
        while script.peek().is_some() {
            let mut segment = Vec::new();
            while let Some((_, line)) = script.next_if(|(side, _)| side == played) {
                segment.extend(octets(line, peer.challenge()));
                segment.extend(b"\r\n");
            }
            let mut rest = segment.as_slice();
            while !rest.is_empty() && !peer.over() {
                let (piece, later) =
                    rest.split_at(cut.next(segment.len() - rest.len(), segment.len()));
                peer.take(piece, later, &mut did);
                rest = later;
            }
            let mut said = did.drain(..);
            while let Some((side, line)) = script.next_if(|(side, _)| side != played) {
                let wanted = String::from_utf8(octets(line, peer.challenge())).unwrap();
                let (who, what) = said
                    .next()
                    .ok_or(format!("nothing instead of `{side} {wanted}`"))?;
                let shortened = what.strip_prefix(&wanted).is_some_and(|rest| {
                    rest.is_empty()
                        || (rest.starts_with(' ') && self.header("Role") != Some("customer"))
                });
                if who != *side || !shortened {
                    return Err(format!("`{who} {what}` instead of `{side} {wanted}`"));
                }
            }
            if let Some((who, what)) = said.next() {
                return Err(format!("`{who} {what}`, which nobody expected"));
            }
        }
        Ok(())
    }
}

/// How segments are cut.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Whole,
    Bytes,
    At(usize),
}

impl Cut {
    fn next(self, done: usize, total: usize) -> usize {
        match self {
            Self::Bytes => 1,
            Self::At(place) if done < place && place < total => place - done,
            Self::Whole | Self::At(_) => total - done,
        }
    }
}

/// The machine under test with a line reader before it, as a driver would put them together.
trait Peer {
    fn start(&mut self, did: &mut Vec<(String, String)>);
    /// Takes bytes; `later` are those that were sent too but have not arrived.
    fn take(&mut self, bytes: &[u8], later: &[u8], did: &mut Vec<(String, String)>);
    fn over(&self) -> bool;
    /// The last challenge that was said or heard.
    fn challenge(&self) -> &[u8];
}

fn mechanisms(names: &str) -> Vec<Mechanism> {
    names
        .split(' ')
        .filter(|name| *name != "none")
        .map(|name| name.parse().unwrap())
        .collect()
}

fn say(did: &mut Vec<(String, String)>, who: &str, octets: &[u8]) {
    let text = String::from_utf8(octets.to_vec()).unwrap();
    for line in text.strip_suffix("\r\n").unwrap().split("\r\n") {
        assert!(!line.contains(['\r', '\n']), "stray line end in {line:?}");
        did.push((who.to_owned(), line.to_owned()));
    }
}

fn done(did: &mut Vec<(String, String)>, what: impl Into<String>) {
    did.push(("--".to_owned(), what.into()));
}

struct ProviderPeer {
    world: World,
    provider: Provider,
    reader: LineReader,
    challenge: Vec<u8>,
    over: bool,
}

impl ProviderPeer {
    fn new(transcript: &Transcript) -> Self {
        let mut world = World::usual();
        for (key, value) in &transcript.headers {
            let words: Vec<&str> = value.split(' ').collect();
            match key.as_str() {
                "Rules" | "Role" => {}
                "TLS" => {
                    world.starttls = match words[0] {
                        "offered" => Starttls::Offered,
                        "required" => Starttls::Required,
                        "implicit" => Starttls::Active,
                        other => panic!("no such TLS: {other}"),
                    };
                    world.tls_works = words.get(1) != Some(&"unavailable");
                }
                "Mechanisms-in-TLS" => world.mechanisms_in_tls = mechanisms(value),
                "Binding" => world.binding = Some([7; 32].into()),
                "Certificate" => world.certificate = Some(value.clone()),
                "Account" => world.account(words[0], words[1], &words[2..]),
                "Mechanisms" => world.mechanisms = mechanisms(value),
                "Access" => world.access_unknown = value == "unknown",
                "Accounts" => world.accounts_down = value == "down",
                "Mail" => {
                    world.mail = words
                        .iter()
                        .filter(|word| **word != "none")
                        .map(|word| domain(word))
                        .collect();
                }
                "Queue" => {
                    world.queue = Some(match words[0] {
                        "busy" => QueueAnswer::Busy,
                        "too-soon" => QueueAnswer::TooSoon,
                        "down" => QueueAnswer::Unavailable,
                        other => panic!("no such queue: {other}"),
                    });
                }
                "Bad-commands" => world.max_bad_commands = words[0].parse().unwrap(),
                "Auth-failures" => world.max_auth_failures = words[0].parse().unwrap(),
                other => panic!("no such header: {other}"),
            }
        }
        Self {
            provider: world.provider(),
            world,
            reader: LineReader::new(COMMAND_LIMIT),
            challenge: Vec::new(),
            over: false,
        }
    }

    fn act(&mut self, action: Action, did: &mut Vec<(String, String)>) {
        match action {
            Action::Say(reply) => {
                if reply.code == 334 {
                    self.challenge = base64::decode(reply.text().as_bytes()).unwrap().to_vec();
                }
                say(did, "P:", &reply.to_bytes());
            }
            Action::SayAfter(delay, reply) => {
                assert!(delay >= Duration::from_secs(1));
                done(did, format!("waits {}s", delay.as_secs()));
                say(did, "P:", &reply.to_bytes());
            }
            Action::Close(reply) => {
                say(did, "P:", &reply.to_bytes());
                done(did, "closes");
                self.over = true;
            }
            Action::Turn(reply, turned) => {
                say(did, "P:", &reply.to_bytes());
                let domains = turned.domains().expect("the provider knows them");
                done(did, format!("turned {} {domains}", turned.user()));
                self.over = true;
            }
            Action::StartTls(_) if !self.world.tls_works => {
                let refused = self.provider.tls_unavailable();
                self.act(refused, did);
            }
            Action::StartTls(reply) => {
                say(did, "P:", &reply.to_bytes());
                done(did, "starts TLS");
                self.provider.tls_started(self.world.secured());
            }
            Action::Verify(_) | Action::Access { .. } | Action::Ask(_) => panic!("not settled"),
        }
    }
}

impl Peer for ProviderPeer {
    fn start(&mut self, did: &mut Vec<(String, String)>) {
        say(did, "P:", &self.provider.greeting().to_bytes());
    }

    fn take(&mut self, mut bytes: &[u8], later: &[u8], did: &mut Vec<(String, String)>) {
        while !bytes.is_empty() && !self.over {
            self.reader.set_limit(self.provider.line_limit());
            let (taken, line) = self.reader.feed(bytes);
            bytes = &bytes[taken..];
            if let Some(line) = line {
                assert!(self.reader.is_empty());
                let pending = !bytes.is_empty() || !later.is_empty();
                let action = self.provider.line(line, pending);
                let action = self.world.settle(&mut self.provider, action, pending);
                let starts = matches!(action, Action::StartTls(_));
                assert!(!(starts && pending), "octets were carried into TLS");
                self.act(action, did);
            }
        }
    }

    fn over(&self) -> bool {
        self.over
    }

    fn challenge(&self) -> &[u8] {
        &self.challenge
    }
}

struct CustomerPeer {
    customer: Customer,
    prepares: bool,
    binding: Option<ChannelBinding>,
    lines: LineReader,
    replies: ReplyReader,
    challenge: Vec<u8>,
    over: bool,
}

impl CustomerPeer {
    fn new(transcript: &Transcript) -> Self {
        let mechanisms = mechanisms(
            transcript
                .header("Mechanisms")
                .unwrap_or("CRAM-MD5 PLAIN LOGIN"),
        );
        let tls = match transcript.header("TLS") {
            None => Tls::None,
            Some("starttls") => Tls::Starttls,
            Some("implicit") => Tls::Implicit,
            Some(other) => panic!("no such TLS: {other}"),
        };
        let binding = transcript
            .header("Binding")
            .map(|_| ChannelBinding::from([7; 32]));
        let user = transcript.header("User").unwrap_or("alice secret");
        let user = String::from_utf8(octets(user, b"")).unwrap();
        let (user, password) = user.split_once(' ').unwrap();
        let named = transcript
            .header("Domains")
            .map(|text| domains(&String::from_utf8(octets(text, b"")).unwrap()));
        Self {
            customer: Customer::new(customer::Settings {
                ehlo_name: "customer.example.org".to_owned(),
                user: user.to_owned(),
                password: (password != "none").then(|| Secret::from(password)),
                domains: named,
                mechanisms,
                allow_plaintext: transcript.header("Plaintext") != Some("no"),
                tls,
                binding: binding.clone().filter(|_| tls == Tls::Implicit),
                external: transcript.header("Certificate").is_some(),
            }),
            binding,
            prepares: transcript.header("Prepare") != Some("fails"),
            lines: LineReader::new(ReplyReader::LINE_LIMIT),
            replies: ReplyReader::new(),
            challenge: Vec::new(),
            over: false,
        }
    }

    /// `pending`: something lies behind the reply that made this step.
    fn act(&mut self, step: Step, pending: bool, did: &mut Vec<(String, String)>) {
        match step {
            Step::Send(octets) => say(did, "C:", &octets),
            Step::StartTls if pending => {
                self.act(Step::End(Outcome::early_octets()), pending, did);
            }
            Step::StartTls => {
                done(did, "starts TLS");
                let step = self.customer.tls_started(self.binding.clone());
                self.act(step, false, did);
            }
            Step::Prepare => {
                done(did, "prepares");
                let step = self.customer.prepared(self.prepares);
                self.act(step, pending, did);
            }
            Step::Turned(turned) => {
                let domains = turned.domains().map(|list| format!(" {list}"));
                done(
                    did,
                    format!("turned {}{}", turned.user(), domains.unwrap_or_default()),
                );
                self.over = true;
            }
            Step::End(outcome) => {
                let name = format!("{outcome:?}");
                let name = name.split(' ').next().unwrap().to_owned();
                done(did, format!("ends {name}"));
                self.over = true;
            }
        }
    }
}

impl Peer for CustomerPeer {
    fn start(&mut self, _: &mut Vec<(String, String)>) {}

    fn take(&mut self, mut bytes: &[u8], later: &[u8], did: &mut Vec<(String, String)>) {
        while !bytes.is_empty() && !self.over {
            let (taken, line) = self.lines.feed(bytes);
            bytes = &bytes[taken..];
            let Some(line) = line else { continue };
            match self.replies.feed_line(line) {
                Ok(None) => {}
                Ok(Some(reply)) => {
                    if reply.code == 334 {
                        self.challenge = base64::decode(reply.text().as_bytes())
                            .map(|challenge| challenge.to_vec())
                            .unwrap_or_default();
                    }
                    let step = self.customer.reply(reply);
                    let pending = !bytes.is_empty() || !later.is_empty();
                    self.act(step, pending, did);
                }
                Err(error) => {
                    done(did, format!("breaks off: {error}"));
                    self.over = true;
                }
            }
        }
        if self.over && !(bytes.is_empty() && later.is_empty()) {
            done(did, "leaves octets unread");
        }
    }

    fn over(&self) -> bool {
        self.over
    }

    fn challenge(&self) -> &[u8] {
        &self.challenge
    }
}

struct GreetingPeer {
    greeting: Greeting,
    mail: bool,
    lines: LineReader,
    replies: ReplyReader,
    over: bool,
}

impl GreetingPeer {
    fn new(transcript: &Transcript) -> Self {
        Self {
            greeting: Greeting::new("provider.example.com"),
            mail: transcript.header("Mail") != Some("none"),
            lines: LineReader::new(ReplyReader::LINE_LIMIT),
            replies: ReplyReader::new(),
            over: false,
        }
    }
}

impl Peer for GreetingPeer {
    fn start(&mut self, _: &mut Vec<(String, String)>) {}

    fn take(&mut self, mut bytes: &[u8], _: &[u8], did: &mut Vec<(String, String)>) {
        while !bytes.is_empty() && !self.over {
            let (taken, line) = self.lines.feed(bytes);
            bytes = &bytes[taken..];
            let Some(line) = line else { continue };
            let Some(reply) = self.replies.feed_line(line).unwrap() else {
                continue;
            };
            match self.greeting.reply(reply) {
                GreetingStep::Send(octets) => say(did, "P:", &octets),
                GreetingStep::Ready { customer, offer } => {
                    let size = offer.size.map(|size| format!(" SIZE={size}"));
                    let pipelining = if offer.pipelining { " PIPELINING" } else { "" };
                    let size = size.unwrap_or_default();
                    done(did, format!("ready {customer}{pipelining}{size}"));
                    if !self.mail {
                        say(did, "P:", &self.greeting.finish());
                    }
                }
                GreetingStep::End(end) => {
                    let name = format!("{end:?}");
                    done(did, format!("ends {}", name.split(' ').next().unwrap()));
                    self.over = true;
                }
            }
        }
    }

    fn over(&self) -> bool {
        self.over
    }

    fn challenge(&self) -> &[u8] {
        b""
    }
}

/// Expands what a line says in short.
fn octets(line: &str, challenge: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut rest = line;
    while let Some(character) = rest.chars().next() {
        rest = &rest[character.len_utf8()..];
        match character {
            '\\' => {
                let (escape, later) = rest.split_at(1);
                rest = later;
                octets.push(match escape {
                    "r" => b'\r',
                    "n" => b'\n',
                    "t" => b'\t',
                    "0" => 0,
                    "\\" => b'\\',
                    "x" => {
                        let (hex, later) = rest.split_at(2);
                        rest = later;
                        u8::from_str_radix(hex, 16).unwrap()
                    }
                    other => panic!("no such escape: {other}"),
                });
            }
            '{' => {
                let (inside, later) = rest.split_once('}').expect("a closing brace");
                rest = later;
                octets.extend(expand(inside, challenge));
            }
            other => octets.extend(other.to_string().bytes()),
        }
    }
    octets
}

fn expand(inside: &str, challenge: &[u8]) -> Vec<u8> {
    let (what, argument) = inside.split_once(' ').unwrap_or((inside, ""));
    match what {
        "b64" => base64::encode(&octets(argument, challenge))
            .as_bytes()
            .to_vec(),
        "cram" => {
            let (user, password) = argument.split_once(' ').unwrap();
            let response = cram_md5::write(user, &Secret::from(password), challenge);
            base64::encode(&response).as_bytes().to_vec()
        }
        "repeat" => {
            let (count, text) = argument.split_once(' ').unwrap();
            octets(text, challenge).repeat(count.parse().unwrap())
        }
        other => panic!("no such word: {other}"),
    }
}

/// Every place to cut the longest segment; in a very long one a place every 101 octets.
fn cuts(transcript: &Transcript) -> Vec<Cut> {
    let length = |(_, line): &(String, String)| octets(line, b"").len() + 2;
    let longest: usize = transcript
        .script
        .chunk_by(|(a, _), (b, _)| a == b)
        .map(|segment| segment.iter().map(length).sum())
        .max()
        .unwrap();
    let step = if longest > 3000 { 101 } else { 1 };
    let places = (1..longest).step_by(step).map(Cut::At);
    [Cut::Whole, Cut::Bytes].into_iter().chain(places).collect()
}

#[test]
fn every_transcript_gives_the_same_replies_however_it_is_cut() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts");
    let mut count = 0;
    let mut wrong = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let transcript = Transcript::read(&fs::read_to_string(&path).unwrap());
        assert!(transcript.header("Rules").is_some(), "{name}: no Rules");
        assert!(!transcript.script.is_empty(), "{name}: no conversation");
        count += 1;
        for cut in cuts(&transcript) {
            if let Err(difference) = transcript.replay(cut) {
                wrong.push(format!("{name} ({cut:?}): {difference}"));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(count >= 100, "only {count} transcripts");
}

/// A runner that lets everything pass proves nothing.
#[test]
fn a_transcript_with_a_wrong_reply_does_not_pass() {
    for (wrong, why) in [
        ("P: 220\nC: ATRN\nP: 250 2.0.0\n", "another code"),
        ("P: 220\nC: ATRN\nP: 53\n", "half a word"),
        ("P: 220\nC: ATRN\n", "a reply too many"),
        (
            "P: 220\nC: ATRN\nP: 530 5.7.0\nP: 530 5.7.0\n",
            "a reply too few",
        ),
        (
            "P: 220\nC: QUIT\nP: 221 2.0.0\n",
            "a close that is not expected",
        ),
    ] {
        let transcript = Transcript::read(&format!("Rules: none\n{wrong}"));
        assert!(transcript.replay(Cut::Whole).is_err(), "{why}");
    }
}
