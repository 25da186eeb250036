//! Connections that are not served at all: what they hear in the place of the greeting.

use super::state::Files;
use crate::smtp::{Command, Reply};
use crate::wire::Wire;
use std::time::Duration;
use tokio::time::timeout;

/// How long a connection that is refused may stay, in all.
const TIME: Duration = Duration::from_secs(30);

/// How many commands it may send before it is closed without QUIT (RFC 5321 7.8).
const COMMANDS: usize = 10;

/// 421: come back later; then we close (RFC 5321 3.8).
pub(super) fn busy(files: &Files) -> Reply {
    let hostname = &files.serve.hostname;
    Reply::plain(421, &format!("{hostname} too busy, try later"))
}

/// 421: somebody else is given the place of one that has not logged in yet (rule C12).
pub(super) fn made_room(files: &Files) -> Reply {
    let hostname = &files.serve.hostname;
    Reply::enhanced(421, 3, 2, &format!("{hostname} too busy, try later"))
}

/// 421: too many logins fail where this one comes from, or for its user, to look at one more (rule C11).
pub(super) fn too_many_logins(files: &Files) -> Reply {
    let hostname = &files.serve.hostname;
    let text = format!("{hostname} too many failed logins, try later");
    Reply::enhanced(421, 7, 0, &text)
}

/// 554: no service for this address (RFC 5321 3.1, rule R31).
pub(super) fn not_for_you(files: &Files) -> Reply {
    let hostname = &files.serve.hostname;
    Reply::plain(554, &format!("{hostname} no service for your address"))
}

/// Says the reply and closes; after 554 only when the peer has said QUIT, anything else is 503
/// (RFC 5321 3.1).
pub(super) async fn turn_away(mut wire: Wire, reply: &Reply) {
    let talk = async {
        wire.send(&reply.to_bytes()).await.ok()?;
        let mut left = if reply.code == 554 { COMMANDS } else { 0 };
        while left > 0 {
            left -= 1;
            let line = wire.line().await.ok()?;
            let quit = line.is_ok_and(|line| Command::parse(&line) == Ok(Command::Quit));
            let (code, text) = if quit {
                (221, "bye")
            } else {
                (503, "no service for your address")
            };
            wire.send(&Reply::plain(code, text).to_bytes()).await.ok()?;
            if quit {
                break;
            }
        }
        Some(())
    };
    if let Ok(Some(())) = timeout(TIME, talk).await {
        wire.close().await;
    }
}
