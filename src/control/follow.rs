//! What the ledger looks at after the hand-over, by what `wire` can still see of the connection.

use crate::report::{Flow, Follow};
use crate::wire::follow::View;

/// Follows a connection that a mail server is given. Nothing of it is held open.
#[must_use]
pub fn follow(view: View) -> Follow {
    Follow::new(move || {
        view.look().map(|sight| Flow {
            open: sight.open,
            received: sight.received,
            sent: sight.sent,
            round_trip: sight.round_trip,
            quiet: sight.quiet,
        })
    })
}
