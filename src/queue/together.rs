//! Many sessions ask at the same time whether there is mail: the queue is read once for all of them.
//!
//! Each reading starts a program of the mail server, which costs a thousand times more than the rest of a session that
//! brings no mail. Whoever asks while a reading is under way waits for the next one, so that no answer is older than
//! its question; and the next one serves all who wait by then. A lone session waits for nobody.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::QueueError;
use crate::smtp::domain::{Domain, DomainList};

/// Where the sessions meet that ask the same queue.
#[derive(Debug, Clone, Default)]
pub struct Together(Arc<Mutex<Desk>>);

#[derive(Debug, Default)]
struct Desk {
    /// They wait for the next reading.
    waiting: Vec<Asker>,
    /// A task is reading.
    reading: bool,
}

#[derive(Debug)]
struct Asker {
    domains: DomainList,
    answer: oneshot::Sender<Result<bool, Arc<QueueError>>>,
}

/// Those whom one reading answers.
#[derive(Debug)]
pub struct Askers {
    open: Vec<Option<Asker>>,
    by_domain: HashMap<Domain, Vec<usize>>,
    left: usize,
}

impl Together {
    /// Whether mail waits for one of these domains. `read` reads the queue once and tells [`Askers::found`] of every
    /// recipient; it runs in a task of its own, so a session that ends takes nobody's answer with it.
    ///
    /// # Errors
    /// The reading failed: all it was for hear the same.
    pub async fn ask<R, F>(&self, domains: &DomainList, read: R) -> Result<bool, QueueError>
    where
        R: Fn(Askers) -> F + Send + 'static,
        F: Future<Output = (Askers, Result<(), QueueError>)> + Send,
    {
        let (answer, answered) = oneshot::channel();
        let idle = {
            let mut desk = self.desk();
            let domains = domains.clone();
            desk.waiting.push(Asker { domains, answer });
            !std::mem::replace(&mut desk.reading, true)
        };
        if idle {
            let mut reader = Reader(Some(self.clone()));
            tokio::spawn(async move {
                while let Some(askers) = reader.next() {
                    let (askers, read) = read(askers).await;
                    askers.finish(read);
                }
            });
        }
        match answered.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(QueueError::Shared(error)),
            Err(_) => Err(QueueError::BrokenOff),
        }
    }

    /// No value behind the lock is ever left half-changed, so a panic elsewhere spoils nothing.
    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by the task that reads; empty once nobody waits any more.
struct Reader(Option<Together>);

impl Reader {
    fn next(&mut self) -> Option<Askers> {
        let together = self.0.as_ref()?;
        let mut desk = together.desk();
        if !desk.waiting.is_empty() {
            return Some(Askers::new(std::mem::take(&mut desk.waiting)));
        }
        desk.reading = false;
        drop(desk);
        self.0 = None;
        None
    }
}

impl Drop for Reader {
    /// Broken off in mid-reading: the next asker finds the desk free, and who waits hears of it.
    fn drop(&mut self) {
        if let Some(together) = &self.0 {
            let mut desk = together.desk();
            desk.reading = false;
            desk.waiting.clear();
        }
    }
}

impl Askers {
    fn new(waiting: Vec<Asker>) -> Self {
        let mut by_domain: HashMap<Domain, Vec<usize>> = HashMap::new();
        for (number, asker) in waiting.iter().enumerate() {
            for domain in &asker.domains {
                by_domain.entry(domain.clone()).or_default().push(number);
            }
        }
        let left = waiting.len();
        let open = waiting.into_iter().map(Some).collect();
        Self {
            open,
            by_domain,
            left,
        }
    }

    /// A message waits for this recipient. Breaks when everybody has an answer.
    pub fn found(&mut self, address: &str) -> ControlFlow<()> {
        let domain = address
            .rsplit_once('@')
            .and_then(|(_, domain)| domain.parse::<Domain>().ok());
        let numbers = domain.and_then(|domain| self.by_domain.remove(&domain));
        for number in numbers.unwrap_or_default() {
            if let Some(asker) = self.open.get_mut(number).and_then(Option::take) {
                self.left = self.left.saturating_sub(1);
                // An asker who is gone needs no answer.
                asker.answer.send(Ok(true)).ok();
            }
        }
        if self.left == 0 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    /// The queue was read to its end, or could not be.
    fn finish(self, read: Result<(), QueueError>) {
        let failed = read.err().map(Arc::new);
        for asker in self.open.into_iter().flatten() {
            let answer = match &failed {
                None => Ok(false),
                Some(error) => Err(Arc::clone(error)),
            };
            asker.answer.send(answer).ok();
        }
    }
}
