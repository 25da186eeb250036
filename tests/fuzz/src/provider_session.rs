//! A whole session with the provider: no panic, no turn without a login, no close but in order.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use turnabout::odmr::provider::{
    Access, Action, Identity, Provider, QueueAnswer, Secured, SessionSeed, Settings, Starttls,
    Verdict,
};
use turnabout::sasl::Mechanism;
use turnabout::sasl::server::{Evidence, ScramHash, ScramKeys, ScramStored};
use turnabout::smtp::LineReader;

/// Keys that no password fits: SCRAM ends at the proof, at no cost for deriving keys.
#[derive(Debug)]
struct Nobody;

impl ScramKeys for Nobody {
    fn lookup(&self, _: &str, hash: ScramHash) -> ScramStored {
        ScramStored {
            iterations: 4096,
            salt: b"salt".to_vec(),
            stored_key: vec![0; hash.length()],
            server_key: vec![0; hash.length()],
        }
    }
}

fn verdict(evidence: &Evidence) -> Verdict {
    let certificate = "a certificate".to_owned();
    let user = match evidence {
        Evidence::External { authzid } => authzid.as_ref().unwrap_or(&certificate),
        Evidence::Password { authcid, .. } => authcid,
        Evidence::CramMd5 { user, .. } => user,
    };
    match user.as_bytes() {
        [b'a', ..] => Verdict::Accepted(Identity {
            user: user.clone(),
            access: Access::Domains(vec!["example.org".parse().expect("a domain")]),
        }),
        [b'b', ..] => Verdict::Accepted(Identity {
            user: user.clone(),
            access: Access::Unknown,
        }),
        [b'c', ..] => Verdict::Unavailable,
        _ => Verdict::Rejected,
    }
}

fuzz_target!(|data: &[u8]| {
    let [choice, bytes @ ..] = data else {
        return;
    };
    let mut bytes = bytes;
    let answer = match choice % 5 {
        0 => QueueAnswer::NoMail,
        1 => QueueAnswer::Busy,
        2 => QueueAnswer::Unavailable,
        _ => QueueAnswer::Mail,
    };
    let starttls = match (choice >> 5) & 3 {
        0 => Starttls::No,
        1 => Starttls::Offered,
        2 => Starttls::Required,
        _ => Starttls::Active,
    };
    let mut provider = Provider::new(Settings {
        hostname: "provider.example.com".to_owned(),
        starttls,
        mechanisms: Mechanism::ALL.to_vec(),
        binding: (starttls == Starttls::Active).then(|| [7; 32].into()),
        seed: SessionSeed {
            unix_time: 1,
            random: [1; 16],
        },
        keys: Arc::new(Nobody),
        max_bad_commands: 10,
        max_auth_failures: 3,
    });
    let mut reader = LineReader::new(provider.line_limit());
    let (mut accepted, mut secure) = (false, starttls == Starttls::Active);
    while !bytes.is_empty() {
        reader.set_limit(provider.line_limit());
        let (taken, line) = reader.feed(bytes);
        bytes = &bytes[taken..];
        let Some(line) = line else { continue };
        // Half of the sessions are those of a customer that waits for its replies.
        let pending = choice & 0x80 != 0 && !bytes.is_empty();
        let mut action = provider.line(line, pending);
        let said = loop {
            action = match action {
                Action::StartTls(reply) => {
                    assert!(!pending && !secure && !accepted);
                    assert!(starttls != Starttls::No);
                    assert_eq!(reply.code, 220);
                    if choice & 0x10 != 0 {
                        provider.tls_unavailable()
                    } else {
                        secure = true;
                        provider.tls_started(Secured {
                            mechanisms: Mechanism::ALL.to_vec(),
                            binding: Some([7; 32].into()),
                        });
                        break reply;
                    }
                }
                Action::Verify(evidence) => {
                    assert!(secure || starttls != Starttls::Required);
                    let verdict = verdict(&evidence);
                    accepted |= matches!(verdict, Verdict::Accepted(_));
                    provider.verified(verdict)
                }
                Action::Access { user } => panic!("{user} proved itself with keys that fit nobody"),
                Action::Ask(request) => {
                    assert_eq!(request.domains.to_string(), "example.org");
                    provider.answered(answer, pending)
                }
                Action::Say(reply) | Action::SayAfter(_, reply) => break reply,
                Action::Close(reply) => {
                    assert!(matches!(reply.code, 221 | 421));
                    return;
                }
                Action::Turn(reply, turned) => {
                    assert!(accepted && !pending && answer == QueueAnswer::Mail);
                    assert_eq!((reply.code, reply.lines.len()), (250, 1));
                    assert!(turned.user().starts_with('a'));
                    return;
                }
            };
        };
        let wire = said.to_bytes();
        assert!(wire.ends_with(b"\r\n") && (wire.len() <= 12_290));
    }
});
