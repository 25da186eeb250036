//! Did the provider speak after the turn? It does so only when the mail server has greeted it, so this tells a session
//! that was held from a program that did not start. No descriptor is kept for it: the kernel, or the relay, is asked
//! now and then how many octets have come.

use crate::wire::Wire;
use crate::wire::follow::View;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::sleep;

/// How often it is asked at first; every question doubles the pause.
const PAUSE: Duration = Duration::from_millis(10);

/// A session that was silent for long is asked after no oftener than this.
const LONGEST: Duration = Duration::from_millis(500);

/// The provider after the turn.
pub(super) struct Heard {
    view: View,
    before: Option<u64>,
}

/// How many octets the provider has sent before the mail server gets the connection; `None` where the kernel does not
/// tell.
pub(super) fn received_before(wire: &Wire) -> Option<u64> {
    let view = View::Socket {
        local: wire.local(),
        peer: wire.peer(),
        cookie: None,
    };
    view.look().map(|sight| sight.received)
}

impl Heard {
    pub(super) fn new(view: View, before: Option<u64>) -> Self {
        // A relay counts what it carries itself.
        let before = match view {
            View::Relay(_) => Some(0),
            View::Socket { .. } => before,
        };
        Self { view, before }
    }

    /// Runs it to its end, and tells whether the provider was heard meanwhile. Of a session of a few milliseconds that
    /// may go unseen.
    pub(super) async fn during<T>(self, work: impl Future<Output = T>) -> (T, bool) {
        let Some(before) = self.before else {
            return (work.await, false);
        };
        let mut work = pin!(work);
        let mut pause = PAUSE;
        loop {
            tokio::select! {
                done = &mut work => return (done, self.has(before)),
                () = sleep(pause) => {}
            }
            if self.has(before) {
                return (work.await, true);
            }
            pause = (pause * 2).min(LONGEST);
        }
    }

    fn has(&self, before: u64) -> bool {
        self.view
            .look()
            .is_some_and(|sight| sight.received > before)
    }
}
