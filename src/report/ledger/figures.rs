//! The ledger in one line, for the STATUS= of systemd.

use super::{Ledger, lock};
use crate::report::outcome::{Counter, Outcome, State};

impl Ledger {
    /// `2 sessions, 1 of them with the mail server; since the start 17 turned, 240 without mail, 3 failed logins`.
    #[must_use]
    pub fn figures(&self) -> String {
        let mut rows = self.rows();
        rows.forget_closed();
        let handed = |state| matches!(state, State::Turned | State::HandedOver);
        let with_mta = rows.open.values().filter(|one| handed(lock(one).state));
        let with_mta = with_mta.count().saturating_add(rows.left.len());
        let open = rows.open.len().saturating_add(rows.left.len());
        let over = rows.totals.by_outcome();
        let of = |outcome| over.get(&outcome).copied().unwrap_or(0);
        let failed = rows.totals.counter(Counter::LoginFailed);
        let open = u64::try_from(open).unwrap_or(u64::MAX);
        let (sessions, logins) = (plural(open, "session"), plural(failed, "failed login"));
        format!(
            "{sessions}, {with_mta} of them with the mail server; since the start {} turned, {} without mail, {logins}",
            of(Outcome::Turned),
            of(Outcome::NoMail)
        )
    }
}

fn plural(count: u64, what: &str) -> String {
    let end = if count == 1 { "" } else { "s" };
    format!("{count} {what}{end}")
}
