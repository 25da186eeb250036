//! The data path: provider's Postfix to customer's Postfix, with turnabout between them only
//! until the turn; beside it the same delivery without turnabout, and fetchmail.

use crate::figures::{Table, median, ratio_with_spread};
use crate::transfer::{Batch, Rig, Transfer, Way};

const SMALL: Batch = Batch {
    messages: 1000,
    size: 10 * 1024,
};
const BIG: Batch = Batch {
    messages: 1,
    size: 100 * 1024 * 1024,
};

pub fn measure(quick: bool, table: &mut Table) {
    let directory = tempfile::tempdir().unwrap();
    let rig = Rig::new(directory.path());
    let (small, big) = if quick {
        (
            Batch {
                messages: 100,
                ..SMALL
            },
            Batch {
                size: 10 * 1024 * 1024,
                ..BIG
            },
        )
    } else {
        (SMALL, BIG)
    };
    let (pairs, with_fetchmail) = if quick { (2, 1) } else { (7, 3) };
    for (batch, name) in [(small, "many small messages"), (big, "one big message")] {
        let runs = Runs::of(&rig, batch, pairs, with_fetchmail);
        runs.report(name, batch, table);
    }
}

/// What was measured, in pairs: `ours[n]` ran beside `direct[n]` and `fetchmail[n]`.
#[derive(Default)]
struct Runs {
    ours: Vec<Transfer>,
    direct: Vec<Transfer>,
    fetchmail: Vec<Transfer>,
}

impl Runs {
    fn of(rig: &Rig, batch: Batch, pairs: usize, with_fetchmail: usize) -> Self {
        let mut runs = Self::default();
        let one = |way: Way| {
            let transfer = rig.transfer(way, batch);
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
            transfer
        };
        for pair in 0..=pairs {
            let (ours, direct) = if pair % 2 == 0 {
                let ours = one(Way::Turnabout);
                (ours, one(Way::Direct))
            } else {
                let direct = one(Way::Direct);
                (one(Way::Turnabout), direct)
            };
            // The first pair warms up.
            if pair > 0 {
                runs.ours.push(ours);
                runs.direct.push(direct);
                if pair <= with_fetchmail {
                    runs.fetchmail.push(one(Way::Fetchmail));
                }
            }
        }
        runs
    }

    fn report(&self, name: &str, batch: Batch, table: &mut Table) {
        let count = f64::from(u32::try_from(batch.messages).unwrap_or(u32::MAX));
        let octets = count * f64::from(u32::try_from(batch.size).unwrap_or(u32::MAX));
        let of =
            |all: &[Transfer], get: fn(&Transfer) -> f64| all.iter().map(get).collect::<Vec<f64>>();
        let seconds = |one: &Transfer| one.seconds;
        let speed = |all: &[Transfer]| {
            let seconds = median(&of(all, seconds));
            if batch.messages > 1 {
                format!("{:.0} messages/s", count / seconds)
            } else {
                format!("{:.0} MB/s", octets / seconds / 1e6)
            }
        };
        let ours = speed(&self.ours);
        let what = format!("{name} ({} x {} octets)", batch.messages, batch.size);
        // Speeds are to each other as the times the other way round.
        for (other, transfers) in [
            ("direct Postfix to Postfix", &self.direct),
            ("fetchmail", &self.fetchmail),
        ] {
            let ratio = ratio_with_spread(&of(transfers, seconds), &of(&self.ours, seconds));
            table.add(
                &what,
                &ours,
                &format!("{other} {}", speed(transfers)),
                &ratio,
            );
        }
        let share = |get: fn(&Transfer) -> f64| {
            let shares: Vec<f64> = self
                .ours
                .iter()
                .map(|one| 100.0 * get(one) / one.cpu)
                .collect();
            median(&shares)
        };
        table.add(
            &format!("processor time of the transfer, {name}"),
            &format!(
                "serve {:.2} % + fetch {:.2} % (and the Postfix commands that serve runs {:.1} %)",
                share(|one| one.serve),
                share(|one| one.fetch),
                share(|one| one.commands),
            ),
            &format!(
                "all processes of both hosts {:.2} s; direct {:.2} s",
                median(&of(&self.ours, |one| one.cpu)),
                median(&of(&self.direct, |one| one.cpu))
            ),
            &format!("{:.2} %", share(|one| one.serve + one.fetch)),
        );
        let peak = |get: fn(&Transfer) -> u64| self.ours.iter().map(get).max().unwrap_or(0) / 1024;
        table.add(
            &format!("most memory ever resident, {name}"),
            &format!(
                "serve {} MiB, fetch {} MiB",
                peak(|one| one.serve_peak),
                peak(|one| one.fetch_peak)
            ),
            "",
            "",
        );
    }
}
