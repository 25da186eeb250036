//! Exim's queue, through `exim -bpu` and forced queue runs.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::program::Program;
use super::together::Askers;
use super::{QueueError, Snapshot, Waiting, addressed_to};
use crate::smtp::domain::DomainList;

/// How many message ids one command line carries.
const AT_ONCE: usize = 200;

/// The queue of one Exim.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Exim's binary, on Debian `/usr/sbin/exim4`.
    pub command: PathBuf,
}

/// What one line of `exim -bpu` says.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Line<'a> {
    Message { id: &'a str, frozen: bool },
    Recipient(&'a str),
    Nothing,
}

impl Queue {
    /// Whether a message waits for one of these domains. Frozen messages do not count: they wait for the operator
    /// (mostly bounces that were refused), and no session delivers them.
    ///
    /// # Errors
    /// The queue could not be asked, or not within `limit`: answer 451 and never "no mail".
    pub async fn waiting(&self, domains: &DomainList, limit: Duration) -> Result<bool, QueueError> {
        let mut found = false;
        self.each(domains, limit, |_| {
            found = true;
            ControlFlow::Break(())
        })
        .await?;
        Ok(found)
    }

    /// [`Queue::waiting`] for many at once, by one look at the queue.
    ///
    /// # Errors
    /// As [`Queue::waiting`]; some may have been answered before.
    pub async fn answer(&self, askers: &mut Askers, limit: Duration) -> Result<(), QueueError> {
        let mut deliverable = false;
        self.program(["-bpu".into()], "ask the queue for mail")
            .lines(limit, |line| {
                match parse(&String::from_utf8_lossy(line)) {
                    Line::Nothing => deliverable = false,
                    Line::Message { frozen, .. } => deliverable = !frozen,
                    Line::Recipient(address) if deliverable => return Ok(askers.found(address)),
                    Line::Recipient(_) => {}
                }
                Ok(ControlFlow::Continue(()))
            })
            .await
    }

    /// Everything that waits for these domains, `most` messages at most. Exim does not tell which messages it is
    /// working on, so none is counted as running.
    ///
    /// # Errors
    /// As [`Queue::waiting`].
    pub async fn snapshot(
        &self,
        domains: &DomainList,
        most: usize,
        limit: Duration,
    ) -> Result<Snapshot, QueueError> {
        let mut snapshot = Snapshot::default();
        self.each(domains, limit, |id| {
            if snapshot.waiting.len() < most {
                let waiting = Waiting {
                    arrival: arrival(id).unwrap_or(0),
                    reason: String::new(),
                };
                snapshot.waiting.insert(id.to_owned(), waiting);
            } else {
                snapshot.truncated = true;
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(snapshot)
    }

    /// Has Exim try these messages now, one after the other and past all retry times, and waits for the end.
    ///
    /// With nobody listening on the next hop each message fails at once and is noted as waiting for that host,
    /// which is what `exim -MC` goes by afterwards: the message that was noted last goes first.
    ///
    /// # Errors
    /// Exim cannot be run, or not within `limit`.
    pub async fn prime(&self, messages: &[&str], limit: Duration) -> Result<(), QueueError> {
        let until = Instant::now() + limit;
        for some in messages.chunks(AT_ONCE) {
            let ids = some
                .iter()
                .filter(|id| is_message_id(id))
                .map(OsString::from);
            let program = self.program(
                std::iter::once("-M".into()).chain(ids),
                "note the waiting mail",
            );
            if program.arguments.len() > 1 {
                program
                    .output(until.saturating_duration_since(Instant::now()))
                    .await?;
            }
        }
        Ok(())
    }

    /// Has Exim forget which messages wait for this host, so that they can be noted in another order.
    ///
    /// # Errors
    /// `exim_fixdb`, which comes with Exim and is looked for beside it, cannot be run.
    pub async fn forget(
        &self,
        spool: &str,
        transport: &str,
        host: &str,
        limit: Duration,
    ) -> Result<(), QueueError> {
        let program = Program {
            path: self.command.with_file_name("exim_fixdb"),
            arguments: vec![spool.into(), format!("wait-{transport}").into()],
            environment: Vec::new(),
            what: "forget what is noted as waiting",
            input: format!("{host}\nd\n").into_bytes(),
        };
        program.output(limit).await.map(drop)
    }

    /// Where Exim keeps its queue.
    ///
    /// # Errors
    /// Exim cannot be run, or says something else.
    pub async fn spool_directory(&self, limit: Duration) -> Result<String, QueueError> {
        let program = self.program(
            ["-bP".into(), "spool_directory".into()],
            "ask where the queue is",
        );
        let output = program.output(limit).await?;
        match output.trim().strip_prefix("spool_directory = ") {
            Some(directory) => Ok(directory.to_owned()),
            None => {
                let cause = "no line `spool_directory = '".to_owned();
                Err(QueueError::Strange {
                    what: program.what,
                    program: program.path,
                    cause,
                })
            }
        }
    }

    /// Whether the receiving server has put this message off (4yz) before: its message log says so.
    ///
    /// # Errors
    /// Exim cannot be run, or not within `limit`.
    pub async fn was_put_off(&self, message: &str, limit: Duration) -> Result<bool, QueueError> {
        if !is_message_id(message) {
            return Ok(false);
        }
        let program = self.program(["-Mvl".into(), message.into()], "read a message's log");
        match program.output(limit).await {
            Ok(log) => Ok(log.contains("SMTP error from remote mail server")),
            // Delivered meanwhile, or message logs are switched off.
            Err(QueueError::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The version, as `exim -bV` prints it: "4.96".
    ///
    /// # Errors
    /// Exim cannot be run, or prints something else.
    pub async fn version(&self, limit: Duration) -> Result<String, QueueError> {
        let program = self.program(["-bV".into()], "ask the version of Exim");
        let output = program.output(limit).await?;
        let version = output
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("Exim version ")?.split(' ').next());
        match version {
            Some(version) => Ok(version.to_owned()),
            None => {
                let cause = "it does not begin with `Exim version'".to_owned();
                Err(QueueError::Strange {
                    what: program.what,
                    program: program.path,
                    cause,
                })
            }
        }
    }

    /// Whether Exim, called with these arguments, complains of the message id among them and of nothing else.
    ///
    /// # Errors
    /// Exim cannot be run.
    pub(crate) async fn refuses_message_id(
        &self,
        arguments: Vec<OsString>,
        limit: Duration,
    ) -> Result<bool, QueueError> {
        match self
            .program(arguments, "ask how Exim continues on a connection")
            .output(limit)
            .await
        {
            Ok(_) => Ok(false),
            Err(QueueError::Failed { said, .. }) => Ok(said.contains("malformed message id")),
            Err(error) => Err(error),
        }
    }

    async fn each<F>(
        &self,
        domains: &DomainList,
        limit: Duration,
        mut each: F,
    ) -> Result<(), QueueError>
    where
        F: FnMut(&str) -> ControlFlow<()> + Send,
    {
        let mut message: Option<String> = None;
        self.program(["-bpu".into()], "ask the queue for mail")
            .lines(limit, |line| {
                let line = String::from_utf8_lossy(line);
                match parse(&line) {
                    Line::Nothing => message = None,
                    Line::Message { id, frozen } => message = (!frozen).then(|| id.to_owned()),
                    Line::Recipient(address) => {
                        if let Some(id) = message.take_if(|_| addressed_to(address, domains)) {
                            return Ok(each(&id));
                        }
                    }
                }
                Ok(ControlFlow::Continue(()))
            })
            .await
    }

    fn program(
        &self,
        arguments: impl IntoIterator<Item = OsString>,
        what: &'static str,
    ) -> Program {
        Program {
            path: self.command.clone(),
            arguments: arguments.into_iter().collect(),
            environment: Vec::new(),
            what,
            input: Vec::new(),
        }
    }
}

/// A message is ` 4m   2.3K 1kEw3Y-0003Fj-2c <sender>` with ` *** frozen ***` behind; recipients follow, ten blanks in.
fn parse(line: &str) -> Line<'_> {
    if let Some(address) = line.strip_prefix("          ") {
        return Line::Recipient(address.trim());
    }
    match line.split_whitespace().nth(2) {
        Some(id) if is_message_id(id) => Line::Message {
            id,
            frozen: line.ends_with("*** frozen ***"),
        },
        _ => Line::Nothing,
    }
}

/// `6-6-2` characters up to Exim 4.96, `6-11-4` since 4.97: letters and digits, so it can never be an option.
pub(crate) fn is_message_id(text: &str) -> bool {
    let lengths: Vec<usize> = text.split('-').map(str::len).collect();
    text.chars()
        .all(|character| character.is_ascii_alphanumeric() || character == '-')
        && (lengths == [6, 6, 2] || lengths == [6, 11, 4])
}

/// The time in a message id: its first six characters in base 62.
fn arrival(id: &str) -> Option<u64> {
    id.bytes().take(6).try_fold(0_u64, |time, digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'A'..=b'Z' => digit - b'A' + 10,
            b'a'..=b'z' => digit - b'a' + 36,
            _ => return None,
        };
        time.checked_mul(62)?.checked_add(u64::from(value))
    })
}
