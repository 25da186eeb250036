//! The data path: provider's Postfix to customer's Postfix, with turnabout between them only
//! until the turn, or with its relay; beside it the same delivery without turnabout, and fetchmail.

use crate::Size;
use crate::figures::{Table, median, ratio_with_spread};
use crate::rig::Rig;
use crate::transfer::{Batch, Transfer};
use crate::way::{Carriage, Way};

/// How often, and how much each time.
struct Plan {
    name: &'static str,
    batch: Batch,
    rounds: usize,
    /// Rounds in which fetchmail takes part, which is slow.
    with_fetchmail: usize,
}

fn plans(size: Size) -> [Plan; 2] {
    let plan = |name, messages, octets, rounds, with_fetchmail| Plan {
        name,
        batch: Batch {
            messages,
            size: octets,
        },
        rounds,
        with_fetchmail,
    };
    const KIB: usize = 1024;
    const MIB: usize = 1024 * KIB;
    let (small, big) = ("many small messages", "one big message");
    match size {
        Size::Whole => [
            plan(small, 1000, 10 * KIB, 7, 2),
            // One takes a second or two, and so the machine's moods show more.
            plan(big, 1, 100 * MIB, 11, 2),
        ],
        Size::Quick => [
            plan(small, 100, 10 * KIB, 2, 1),
            plan(big, 1, 10 * MIB, 2, 1),
        ],
        Size::Emulated => [
            plan(small, 200, 10 * KIB, 4, 0),
            plan(big, 1, 20 * MIB, 4, 0),
        ],
    }
}

/// Without TLS, or with it; `only` is the beginning of a plan's name.
pub fn measure(tls: bool, size: Size, only: Option<&str>, table: &mut Table) {
    let directory = tempfile::tempdir().unwrap();
    let rig = if tls {
        Rig::tls(directory.path())
    } else {
        Rig::plain(directory.path())
    };
    let ours: Vec<Way> = rig.carriages().map(Way::Turnabout).collect();
    let (theirs, slow) = if tls {
        (
            vec![Way::OwnTlsKept, Way::OwnTls],
            Way::Fetchmail(Carriage::Relay),
        )
    } else {
        (vec![Way::Direct], Way::Fetchmail(Carriage::Plain))
    };
    for plan in plans(size) {
        if only.is_some_and(|only| !plan.name.starts_with(only)) {
            continue;
        }
        let (ours, theirs) = match size {
            // Time is short there: the kernel, and what Postfix is quickest with.
            Size::Emulated => (last(&ours), vec![quickest(&theirs, plan.batch)]),
            Size::Whole | Size::Quick => (ours.clone(), theirs.clone()),
        };
        let ways: Vec<Way> = ours.iter().chain(&theirs).copied().collect();
        let runs = Runs::of(&rig, &plan, &ways, slow);
        for our in &ours {
            runs.report(*our, &plan, &theirs, slow, table);
        }
    }
}

fn last(ways: &[Way]) -> Vec<Way> {
    ways.last().copied().into_iter().collect()
}

/// One connection for many messages; for a single one, as few processes as may be.
fn quickest(ways: &[Way], batch: Batch) -> Way {
    let at = if batch.messages > 1 {
        0
    } else {
        ways.len() - 1
    };
    ways[at]
}

/// What was measured, in rounds: the n-th transfer of each way ran beside the n-th of the others.
struct Runs(Vec<(Way, Vec<Transfer>)>);

impl Runs {
    fn of(rig: &Rig, plan: &Plan, ways: &[Way], slow: Way) -> Self {
        let mut runs = Self(Vec::new());
        for round in 0..=plan.rounds {
            let mut order: Vec<Way> = ways.to_vec();
            if round % 2 == 1 {
                order.reverse();
            }
            // The first round warms up.
            if (1..=plan.with_fetchmail).contains(&round) {
                order.push(slow);
            }
            for way in order {
                let transfer = rig.transfer(way, plan.batch);
                show(way, plan.batch, &transfer);
                if round > 0 {
                    runs.add(way, transfer);
                }
            }
        }
        runs
    }

    fn add(&mut self, way: Way, transfer: Transfer) {
        match self.0.iter_mut().find(|(found, _)| *found == way) {
            Some((_, transfers)) => transfers.push(transfer),
            None => self.0.push((way, vec![transfer])),
        }
    }

    fn of_way(&self, way: Way, get: fn(&Transfer) -> f64) -> Vec<f64> {
        let found = self.0.iter().find(|(found, _)| *found == way);
        found.map_or_else(Vec::new, |(_, all)| all.iter().map(get).collect())
    }

    fn speed(&self, way: Way, batch: Batch) -> String {
        let seconds = median(&self.of_way(way, |one| one.seconds));
        let number = |value: usize| f64::from(u32::try_from(value).unwrap_or(u32::MAX));
        if batch.messages > 1 {
            format!("{:.0} messages/s", number(batch.messages) / seconds)
        } else {
            format!("{:.0} MB/s", number(batch.size) / seconds / 1e6)
        }
    }

    fn report(&self, our: Way, plan: &Plan, theirs: &[Way], slow: Way, table: &mut Table) {
        let (name, batch) = (plan.name, plan.batch);
        let ours = format!("{} {}", our.name(), self.speed(our, batch));
        let what = format!("{name} ({} x {} octets)", batch.messages, batch.size);
        // Speeds are to each other as the times the other way round.
        let seconds = self.of_way(our, |one| one.seconds);
        let fetchmail = (plan.with_fetchmail > 0).then_some(slow);
        for other in theirs.iter().copied().chain(fetchmail) {
            let ratio = ratio_with_spread(&self.of_way(other, |one| one.seconds), &seconds);
            let speed = format!("{} {}", other.name(), self.speed(other, batch));
            table.add(&what, &ours, &speed, &ratio);
        }
        let share = |get: fn(&Transfer) -> f64| median(&self.of_way(our, get));
        let others: Vec<String> = theirs
            .iter()
            .map(|other| {
                let cpu = median(&self.of_way(*other, |one| one.cpu));
                format!("{} {cpu:.2} s", other.name())
            })
            .collect();
        table.add(
            &format!("processor time of the transfer, {name}, {}", our.name()),
            &format!(
                "serve {:.2} % + fetch {:.2} % (and the Postfix commands that serve runs {:.1} %)",
                share(|one| 100.0 * one.serve / one.cpu),
                share(|one| 100.0 * one.fetch / one.cpu),
                share(|one| 100.0 * one.commands / one.cpu),
            ),
            &format!(
                "all processes of both hosts {:.2} s; {}",
                share(|one| one.cpu),
                others.join("; ")
            ),
            &format!(
                "{:.2} %",
                share(|one| 100.0 * (one.serve + one.fetch) / one.cpu)
            ),
        );
        let peak =
            |get: fn(&Transfer) -> f64| self.of_way(our, get).into_iter().fold(0.0, f64::max);
        table.add(
            &format!("most memory ever resident, {name}, {}", our.name()),
            &format!(
                "serve {:.0} MiB, fetch {:.0} MiB",
                peak(|one| one.serve_peak),
                peak(|one| one.fetch_peak)
            ),
            "",
            "",
        );
    }
}

/// For whoever watches.
fn show(way: Way, batch: Batch, transfer: &Transfer) {
    eprintln!(
        "{} x {} octets, {}: {:.2} s, processor {:.2} s, of which serve {:.4} s + commands {:.2} s, fetch {:.4} s",
        batch.messages,
        batch.size,
        way.name(),
        transfer.seconds,
        transfer.cpu,
        transfer.serve,
        transfer.commands,
        transfer.fetch,
    );
}
