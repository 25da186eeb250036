//! What stands around a provider machine in these tests: accounts in memory, a queue that is a list, no clock.

use std::collections::BTreeMap;
use std::sync::Arc;
use turnabout::odmr::provider::{
    Access, Action, Identity, Provider, QueueAnswer, Request, Secured, SessionSeed, Settings,
    Starttls, Verdict,
};
use turnabout::sasl::scram::{ScramHash, derive};
use turnabout::sasl::server::{Evidence, ScramKeys, ScramStored};
use turnabout::sasl::{ChannelBinding, Mechanism, Secret, cram_md5};
use turnabout::smtp::{Domain, DomainList, Line, Reply};

/// User, password, domains.
#[derive(Debug, Clone, Default)]
pub struct Accounts(pub BTreeMap<String, (String, Vec<Domain>)>);

impl ScramKeys for Accounts {
    fn lookup(&self, user: &str, hash: ScramHash) -> ScramStored {
        let password = match self.0.get(user) {
            Some((password, _)) => password.as_str(),
            None => "no password is like this one",
        };
        derive(hash, &Secret::from(password), b"some salt", 4096)
    }
}

/// Everything a transcript's header can say about the provider's side.
#[derive(Debug, Clone)]
pub struct World {
    pub accounts: Accounts,
    pub mechanisms: Vec<Mechanism>,
    pub starttls: Starttls,
    /// What may be used once TLS has started with STARTTLS.
    pub mechanisms_in_tls: Vec<Mechanism>,
    /// The binding of the TLS connection, implicit or after STARTTLS.
    pub binding: Option<ChannelBinding>,
    /// Whom the certificate of the customer speaks for, if it shows one.
    pub certificate: Option<String>,
    /// There is a certificate of our own.
    pub tls_works: bool,
    /// The directory of domains does not answer.
    pub access_unknown: bool,
    /// The accounts do not answer.
    pub accounts_down: bool,
    pub mail: Vec<Domain>,
    /// Instead of looking into `mail`.
    pub queue: Option<QueueAnswer>,
    pub max_bad_commands: u32,
    pub max_auth_failures: u32,
}

impl Default for World {
    fn default() -> Self {
        Self {
            accounts: Accounts::default(),
            mechanisms: vec![Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login],
            starttls: Starttls::No,
            mechanisms_in_tls: vec![Mechanism::CramMd5, Mechanism::Plain, Mechanism::Login],
            binding: None,
            certificate: None,
            tls_works: true,
            access_unknown: false,
            accounts_down: false,
            mail: Vec::new(),
            queue: None,
            max_bad_commands: 10,
            max_auth_failures: 3,
        }
    }
}

pub fn domain(text: &str) -> Domain {
    text.parse().unwrap()
}

impl World {
    /// alice with two domains, mallory with one, mail for one of alice's and for mallory's.
    pub fn usual() -> Self {
        let mut world = Self::default();
        world.account("alice", "secret", &["example.org", "example.com"]);
        world.account("mallory", "geheim", &["mallory.example"]);
        world.mail = vec![domain("example.org"), domain("mallory.example")];
        world
    }

    pub fn account(&mut self, user: &str, password: &str, domains: &[&str]) {
        let domains = domains.iter().map(|name| domain(name)).collect();
        self.accounts
            .0
            .insert(user.to_owned(), (password.to_owned(), domains));
    }

    pub fn provider(&self) -> Provider {
        Provider::new(Settings {
            hostname: "provider.example.com".to_owned(),
            starttls: self.starttls,
            mechanisms: self.mechanisms.clone(),
            binding: self
                .binding
                .clone()
                .filter(|_| self.starttls == Starttls::Active),
            seed: SessionSeed {
                unix_time: 1_764_000_000,
                random: *b"sixteen octets!!",
            },
            keys: Arc::new(self.accounts.clone()),
            max_bad_commands: self.max_bad_commands,
            max_auth_failures: self.max_auth_failures,
        })
    }

    pub fn judge(&self, evidence: &Evidence) -> Verdict {
        if self.accounts_down {
            return Verdict::Unavailable;
        }
        let (user, right) = match evidence {
            Evidence::Password {
                authzid,
                authcid,
                password,
            } => {
                let stored = self.accounts.0.get(authcid);
                let right = stored.is_some_and(|(stored, _)| stored == password.expose());
                (
                    authcid,
                    right && authzid.as_ref().is_none_or(|authzid| authzid == authcid),
                )
            }
            Evidence::External { authzid } => {
                let Some(user) = &self.certificate else {
                    return Verdict::Rejected;
                };
                (user, authzid.as_ref().is_none_or(|authzid| authzid == user))
            }
            Evidence::CramMd5 {
                user,
                challenge,
                digest_hex,
            } => {
                let stored = self.accounts.0.get(user);
                let right = stored.is_some_and(|(stored, _)| {
                    cram_md5::matches(&Secret::from(stored.as_str()), challenge, digest_hex)
                });
                (user, right)
            }
        };
        if right {
            self.access(user)
        } else {
            Verdict::Rejected
        }
    }

    pub fn access(&self, user: &str) -> Verdict {
        let access = if self.access_unknown {
            Access::Unknown
        } else {
            Access::Domains(self.accounts.0[user].1.clone())
        };
        Verdict::Accepted(Identity {
            user: user.to_owned(),
            access,
        })
    }

    pub fn look(&self, request: &Request) -> QueueAnswer {
        let any = self
            .mail
            .iter()
            .any(|domain| request.domains.contains(domain));
        self.queue.unwrap_or(if any {
            QueueAnswer::Mail
        } else {
            QueueAnswer::NoMail
        })
    }

    /// Answers the machine's questions until it has something to say.
    pub fn settle(&self, provider: &mut Provider, mut action: Action, pending: bool) -> Action {
        loop {
            action = match action {
                Action::Verify(evidence) => provider.verified(self.judge(&evidence)),
                Action::Access { user } => provider.verified(self.access(&user)),
                Action::Ask(request) => provider.answered(self.look(&request), pending),
                settled => return settled,
            };
        }
    }

    /// What a finished handshake tells the machine.
    pub fn secured(&self) -> Secured {
        Secured {
            mechanisms: self.mechanisms_in_tls.clone(),
            binding: self.binding.clone(),
        }
    }

    /// A session after EHLO, STARTTLS and a handshake: the next line is the first under TLS.
    pub fn under_tls(&self) -> Provider {
        let mut provider = self.provider();
        self.ask(&mut provider, "EHLO customer.example.org");
        let Action::StartTls(said) = self.tell(&mut provider, "STARTTLS") else {
            panic!("no TLS");
        };
        assert_eq!(said.code, 220);
        provider.tls_started(self.secured());
        provider
    }

    /// One command, with nothing behind it.
    pub fn tell(&self, provider: &mut Provider, command: &str) -> Action {
        let action = provider.line(Line::new(command.as_bytes()), false);
        self.settle(provider, action, false)
    }

    /// One command whose reply is of interest.
    pub fn ask(&self, provider: &mut Provider, command: &str) -> Reply {
        reply(self.tell(provider, command))
    }

    /// A session that is authenticated as alice.
    pub fn alice(&self) -> Provider {
        let mut provider = self.provider();
        assert_eq!(
            self.ask(&mut provider, "EHLO customer.example.org").code,
            250
        );
        assert_eq!(self.ask(&mut provider, &plain("alice", "secret")).code, 235);
        provider
    }
}

pub fn reply(action: Action) -> Reply {
    match action {
        Action::Say(reply)
        | Action::SayAfter(_, reply)
        | Action::Close(reply)
        | Action::StartTls(reply)
        | Action::Turn(reply, _) => reply,
        other => panic!("no reply but {other:?}"),
    }
}

pub fn plain(user: &str, password: &str) -> String {
    let message = format!("\0{user}\0{password}");
    let base64 = turnabout::smtp::base64::encode(message.as_bytes());
    format!("AUTH PLAIN {}", base64.as_str())
}

pub fn domains(text: &str) -> DomainList {
    DomainList::parse_atrn(text).unwrap()
}
