//! Ends of a session with a lent connection. QUIT is said only on a connection that came back.

use std::os::fd::AsFd;

use super::Ended;
use super::lent::{Lent, QUEUE_TIME, QUIET};
use crate::handoff::line::Line;
use crate::handoff::quit::quit;

impl Lent {
    /// Takes the connection back and says QUIT.
    pub(super) async fn finish(mut self, how: String) -> Ended {
        if self.take_back().await {
            return self.quit(how).await;
        }
        self.not_returned(&how).await
    }

    /// Says QUIT on the connection, which is ours.
    pub(super) async fn quit(self, how: String) -> Ended {
        let remaining = self.remaining;
        let control_record = self.reversed.released.control_record();
        let clean = quit(self.reversed.released).await;
        let how = if clean {
            how
        } else {
            format!("{how}; no answer to QUIT")
        };
        Ended {
            how,
            clean,
            remaining,
            control_record,
        }
    }

    /// The cache has not given the connection back in time.
    pub(super) async fn not_returned(self, how: &str) -> Ended {
        if Line::look(&self.reversed.released).is_none_or(|line| !line.open) {
            return self.closed().await;
        }
        self.left(&format!("{how}; the connection did not come back"), false)
    }

    /// Ends early: QUIT if the connection is idle, otherwise Postfix keeps it.
    pub(super) async fn stop(mut self, why: &str) -> Ended {
        let idle = Line::look(&self.reversed.released).is_some_and(|line| line.quiet >= QUIET);
        let connection = self.reversed.released.as_fd();
        if idle
            && self
                .client
                .take_back(&self.labels, connection)
                .await
                .unwrap_or(false)
        {
            return self.quit(why.to_owned()).await;
        }
        self.left(&format!("{why}, left with Postfix"), true)
    }

    /// The customer has closed, or Postfix has said QUIT: which of them, only the queue tells.
    pub(super) async fn closed(self) -> Ended {
        let control_record = self.reversed.released.control_record();
        // First let go, so that the customer sees the end as soon as Postfix closes its own descriptor; but where the
        // kernel encrypts, nobody else says the end of TLS.
        self.reversed.released.close_notify();
        drop(self.reversed.released);
        let remaining = self
            .known
            .queue
            .waiting(&self.reversed.domains, QUEUE_TIME)
            .await
            .ok();
        match remaining {
            Some(false) => Ended {
                how: "delivered all, ended by Postfix".to_owned(),
                clean: true,
                remaining,
                control_record,
            },
            _ => Ended {
                how: "closed before the queue was empty".to_owned(),
                clean: false,
                remaining,
                control_record,
            },
        }
    }

    pub(super) fn left(self, why: &str, clean: bool) -> Ended {
        Ended {
            how: why.to_owned(),
            clean,
            remaining: self.remaining,
            // One that works on it is not looked over the shoulder.
            control_record: !clean && self.reversed.released.control_record(),
        }
    }
}
