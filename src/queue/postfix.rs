//! Postfix's queue, through `postqueue` and `postconf`.

use std::borrow::Cow;
use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::program::Program;
use super::together::Askers;
use super::{QueueError, Snapshot, Waiting, addressed_to, cut};
use crate::smtp::domain::{Domain, DomainList};

/// The queue of one Postfix instance.
#[derive(Debug, Clone)]
pub struct Queue {
    /// Where `postqueue` and `postconf` are, usually `/usr/sbin`.
    pub command_directory: PathBuf,
    /// The instance's configuration; `None` is Postfix's own default.
    pub config_directory: Option<PathBuf>,
}

/// One line of `postqueue -j`: only what we ask about.
#[derive(Debug, Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    queue_name: Cow<'a, str>,
    #[serde(borrow)]
    queue_id: Cow<'a, str>,
    #[serde(default)]
    arrival_time: u64,
    #[serde(borrow, default)]
    recipients: Vec<Recipient<'a>>,
}

#[derive(Debug, Deserialize)]
struct Recipient<'a> {
    #[serde(borrow, default)]
    address: Cow<'a, str>,
    #[serde(borrow, default)]
    delay_reason: Cow<'a, str>,
}

impl Queue {
    /// Whether a message waits for one of these domains. Held mail does not count: no session can deliver it.
    ///
    /// # Errors
    /// The queue could not be asked, or not within `limit`: answer 451 and never "no mail".
    pub async fn waiting(&self, domains: &DomainList, limit: Duration) -> Result<bool, QueueError> {
        let mut found = false;
        self.each(limit, |message| {
            found = message.is_for(domains).is_some();
            if found {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .await?;
        Ok(found)
    }

    /// [`Queue::waiting`] for many at once, by one look at the queue.
    ///
    /// # Errors
    /// As [`Queue::waiting`]; some may have been answered before.
    pub async fn answer(&self, askers: &mut Askers, limit: Duration) -> Result<(), QueueError> {
        self.each(limit, |message| {
            if message.queue_name == "hold" {
                return ControlFlow::Continue(());
            }
            message
                .recipients
                .iter()
                .try_for_each(|recipient| askers.found(&recipient.address))
        })
        .await
    }

    /// Everything that waits for these domains, `most` messages at most.
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
        self.each(limit, |message| {
            if let Some(recipient) = message.is_for(domains) {
                if message.queue_name != "deferred" {
                    snapshot.running += 1;
                } else if snapshot.waiting.len() < most {
                    let waiting = Waiting {
                        arrival: message.arrival_time,
                        reason: cut(&recipient.delay_reason, 200),
                    };
                    snapshot
                        .waiting
                        .insert(message.queue_id.clone().into_owned(), waiting);
                } else {
                    snapshot.truncated = true;
                }
            }
            ControlFlow::Continue(())
        })
        .await?;
        Ok(snapshot)
    }

    /// Has Postfix try the deferred mail of this domain now. Never ask this while no connection is lent: the whole
    /// queue of the domain would be tried and refused.
    ///
    /// # Errors
    /// `postqueue` failed, for instance because the domain is not in `fast_flush_domains`.
    pub async fn flush(&self, domain: &Domain, limit: Duration) -> Result<(), QueueError> {
        let program = self.program(
            "postqueue",
            ["-s".into(), domain.as_str().into()],
            "flush the queue",
        );
        match program.output(limit).await {
            Ok(_) => Ok(()),
            Err(QueueError::Failed { said, .. })
                if said.contains("Flush service is not configured") =>
            {
                Err(QueueError::NotFlushable {
                    domain: domain.clone(),
                    said,
                })
            }
            Err(error) => Err(error),
        }
    }

    /// Has Postfix try this one deferred message now.
    ///
    /// # Errors
    /// `postqueue` failed, or the queue id is none.
    pub async fn flush_message(&self, id: &str, limit: Duration) -> Result<(), QueueError> {
        let program = self.program("postqueue", ["-i".into(), id.into()], "flush a message");
        if id.is_empty()
            || !id
                .chars()
                .all(|character| character.is_ascii_alphanumeric())
        {
            let cause = "a queue id with other characters than letters and digits".to_owned();
            return Err(QueueError::Strange {
                what: program.what,
                program: program.path,
                cause,
            });
        }
        program.output(limit).await.map(drop)
    }

    /// Calls the queue manager, as its own clock does every 300 s and as each new message does: it looks at what has come
    /// in, and touches nothing that is deferred.
    ///
    /// # Errors
    /// `postkick` failed: nobody was called.
    pub async fn wake(&self, limit: Duration) -> Result<(), QueueError> {
        let arguments = ["public", "qmgr", "W"].map(OsString::from);
        let program = self.program("postkick", arguments, "call the queue manager");
        program.output(limit).await.map(drop)
    }

    /// The values of these main.cf parameters, in this order, `$` expanded.
    ///
    /// # Errors
    /// `postconf` failed, or does not know one of them.
    pub async fn parameters(
        &self,
        names: &[&str],
        limit: Duration,
    ) -> Result<Vec<String>, QueueError> {
        let arguments = ["-x", "-h"].iter().chain(names).map(OsString::from);
        let program = self.program("postconf", arguments, "read the Postfix configuration");
        let values: Vec<String> = program
            .output(limit)
            .await?
            .lines()
            .map(|line| line.trim().to_owned())
            .collect();
        if values.len() == names.len() {
            return Ok(values);
        }
        let cause = format!("{} values for {} parameters", values.len(), names.len());
        Err(QueueError::Strange {
            what: program.what,
            program: program.path,
            cause,
        })
    }

    async fn each<F>(&self, limit: Duration, mut each: F) -> Result<(), QueueError>
    where
        F: FnMut(&Message<'_>) -> ControlFlow<()> + Send,
    {
        self.program("postqueue", ["-j".into()], "ask the queue for mail")
            .lines(limit, |line| {
                let line = String::from_utf8_lossy(line);
                if line.trim().is_empty() {
                    return Ok(ControlFlow::Continue(()));
                }
                let message: Message<'_> =
                    serde_json::from_str(&line).map_err(|error| error.to_string())?;
                Ok(each(&message))
            })
            .await
    }

    fn program(
        &self,
        name: &str,
        arguments: impl IntoIterator<Item = OsString>,
        what: &'static str,
    ) -> Program {
        Program {
            path: self.command_directory.join(name),
            arguments: arguments.into_iter().collect(),
            environment: self
                .config_directory
                .iter()
                .map(|path| ("MAIL_CONFIG", path.clone().into()))
                .collect(),
            what,
            input: Vec::new(),
        }
    }
}

impl<'a> Message<'a> {
    /// The first recipient in these domains, if the message can be delivered at all.
    fn is_for(&self, domains: &DomainList) -> Option<&Recipient<'a>> {
        // "hold" waits for the operator; "maildrop" is not looked at by the queue manager yet, but soon is.
        if self.queue_name == "hold" {
            return None;
        }
        self.recipients
            .iter()
            .find(|recipient| addressed_to(&recipient.address, domains))
    }
}
