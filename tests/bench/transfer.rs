//! One transfer of a batch of mail: queued, sent, delivered, and what it cost.

use crate::hosts::wait_until;
use crate::process;
use crate::queue::{QUEUES, files, is_empty};
use crate::rig::{ESTABLISHED, Rig};
use crate::way::{Carriage, Way};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// No transfer of ours takes longer than this, even on an emulated machine, or something is broken.
const LIMIT: Duration = Duration::from_secs(900);

/// The cipher of every way with TLS.
const CIPHER: &str = "TLS_AES_256_GCM_SHA384";

/// What is in the queue at the start.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    pub messages: usize,
    /// Octets each.
    pub size: usize,
}

/// What one transfer cost.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// From the order to fetch (or to deliver) until the provider's queue is empty.
    pub seconds: f64,
    /// Processor seconds of everything on both hosts until the session's end.
    pub cpu: f64,
    /// Those of `turnabout serve` itself, and of the Postfix commands that it ran.
    pub serve: f64,
    pub commands: f64,
    /// Those of `turnabout fetch`.
    pub fetch: f64,
    /// The most memory each ever had, in MiB.
    pub serve_peak: f64,
    pub fetch_peak: f64,
}

impl Rig {
    /// Queues the batch, sends it that way, waits until all is delivered and quiet.
    pub fn transfer(&self, way: Way, batch: Batch) -> Transfer {
        self.queue(way, batch);
        let serving = self.serving(way);
        let serve = || serving.map(|one| process::cpu(one.pid)).unwrap_or_default();
        let connected = self.connections_logged();
        let logged = self.log(way).map(|file| length(&file));
        let (before, serve_before) = (self.cpu(), serve());
        let used = self.directory.join("used");
        drop(fs::remove_file(&used));
        let begin = Instant::now();
        let mut child = self.order(way, &used).spawn().unwrap();
        let succeeded = |status: ExitStatus| {
            let log = fs::read_to_string(self.directory.join("order.log")).unwrap_or_default();
            assert!(
                status.success(),
                "{} ended with {status}\n{log}",
                way.name()
            );
        };
        wait_until("the queue is empty", LIMIT, || {
            if let Some(status) = child.try_wait().unwrap() {
                succeeded(status);
            }
            is_empty(&self.provider.var("spool/postfix"), &QUEUES)
        });
        let seconds = begin.elapsed().as_secs_f64();
        succeeded(child.wait().unwrap());
        wait_until("the session is over", LIMIT, || {
            way.carriage()
                .is_none_or(|carriage| self.connections(carriage, ESTABLISHED) == 0)
        });
        wait_until("the customer has delivered", LIMIT, || {
            is_empty(&self.customer.var("spool/postfix"), &QUEUES)
        });
        let serve_used = serve().since(serve_before);
        let fetch = process::read_timed(&used);
        let cpu = (self.cpu() - before + fetch.cpu).as_secs_f64();
        self.delivered(batch);
        let connections = self.connections_logged() - connected;
        if let Some(expected) = way.connections(batch.messages) {
            // Where the machine is slow Postfix's own connection may be out of its cache before the next message.
            assert!(
                connections == expected || (way == Way::OwnTlsKept && connections > expected),
                "{connections} connections of {}",
                way.name()
            );
            if connections != expected {
                eprintln!("{connections} connections of {}", way.name());
            }
        }
        if let Some((file, from)) = self.log(way).zip(logged) {
            self.was_encrypted(way, &file, from);
        }
        Transfer {
            seconds,
            cpu,
            serve: serve_used.own.as_secs_f64(),
            commands: serve_used.children.as_secs_f64(),
            fetch: fetch.cpu.as_secs_f64(),
            serve_peak: serving.map_or(0.0, |one| mebibytes(process::tree_peak(one.pid))),
            fetch_peak: mebibytes(fetch.peak),
        }
    }

    /// Fills the provider's queue by SMTP and waits until all of it is deferred.
    fn queue(&self, way: Way, batch: Batch) {
        let Batch { messages, size } = batch;
        let to = format!("alice@{}", way.domain());
        // Forgets connections that are still in the cache: each transfer begins without one.
        self.provider.shell("postfix reload");
        self.provider.shell(&format!(
            "smtp-source -s 2 -m {messages} -l {size} -f sender@provider.test -t {to} 127.0.0.1:25"
        ));
        let spool = self.provider.var("spool/postfix");
        wait_until("the batch is queued", LIMIT, || {
            sleep(Duration::from_millis(50));
            is_empty(&spool, &["maildrop", "incoming", "active"])
                && files(&spool.join("deferred")) == messages
        });
        // What was written is on the disk, and nothing runs on from the time before.
        nix::unistd::sync();
        sleep(Duration::from_millis(1500));
    }

    /// All of it is in alice's Maildir; which is emptied for the next transfer.
    fn delivered(&self, batch: Batch) {
        let new = self.customer.var("mail/alice/Maildir/new");
        let mut count = 0;
        for file in fs::read_dir(&new).into_iter().flatten().flatten() {
            let length = usize::try_from(file.metadata().unwrap().len()).unwrap();
            // On disk a line ends with one octet, on the wire with two.
            assert!(
                length * 50 >= batch.size * 49,
                "{length} octets arrived, {} were sent",
                batch.size
            );
            fs::remove_file(file.path()).unwrap();
            count += 1;
        }
        assert_eq!(count, batch.messages, "messages delivered");
    }

    /// Sessions that the customer's Postfix has had with the provider.
    fn connections_logged(&self) -> usize {
        let log = fs::read(self.customer.var("log/mail.log")).unwrap_or_default();
        String::from_utf8_lossy(&log)
            .matches(": connect from provider")
            .count()
    }

    /// Where it will be written that the way was encrypted, if it is to be.
    fn log(&self, way: Way) -> Option<PathBuf> {
        match (way, way.carriage()) {
            (Way::Direct, _) | (_, Some(Carriage::Plain)) => None,
            (_, None) => Some(self.provider.var("log/mail.log")),
            (_, Some(_)) => Some(self.serving(way)?.log.clone()),
        }
    }

    /// What is measured is what was meant: the cipher, and how turnabout carried it.
    fn was_encrypted(&self, way: Way, log: &Path, from: usize) {
        let carried = way
            .carriage()
            .map(|carriage| format!("carried={}", carriage.name()));
        let words: Vec<&str> = [Some(CIPHER), carried.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        let what = format!("{words:?} is in {}", log.display());
        wait_until(&what, Duration::from_secs(20), || {
            let text = fs::read(log).unwrap_or_default();
            let new = String::from_utf8_lossy(text.get(from..).unwrap_or_default());
            let new = new.replace('"', "");
            words.iter().all(|word| new.contains(word))
        });
    }

    fn cpu(&self) -> Duration {
        process::cpu_of_namespace(self.provider.first)
            + process::cpu_of_namespace(self.customer.first)
    }
}

fn length(file: &Path) -> usize {
    let octets = fs::metadata(file).map_or(0, |data| data.len());
    usize::try_from(octets).unwrap_or(0)
}

fn mebibytes(kibibytes: u64) -> f64 {
    f64::from(u32::try_from(kibibytes).unwrap_or(u32::MAX)) / 1024.0
}
