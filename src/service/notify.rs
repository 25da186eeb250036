//! What a service manager hears, `sd_notify(3)`: nothing where there is none.
//!
//! systemd's units of `Type=notify` and `Type=notify-reload` wait for [`ready`], both at the start and after a reload
//! that began with [`reloading`]; with `WatchdogSec=` they end a process that does not say [`alive`] in time.

use sd_notify::NotifyState;
use std::time::Duration;

/// It has started, or a reload is over, and this is what it does.
pub fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// What it does now, in one line for `systemctl status`.
pub fn status(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// It reads its files again; [`ready`] is to follow, however that goes.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "no clock for the service manager"),
    }
}

/// It is about to end, which may take as long as `limit`.
pub fn stopping(limit: Duration) {
    let limit = u32::try_from(limit.as_micros()).unwrap_or(u32::MAX);
    tell(&[
        NotifyState::Stopping,
        NotifyState::ExtendTimeoutUsec(limit),
        NotifyState::Status("stopping"),
    ]);
}

/// It is alive: to be said once in [`watchdog_interval`].
pub fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// How often [`alive`] is to be said: twice in the time that the service manager waits. None if it does not wait.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled()
        .map(|limit| limit / 2)
        .filter(|interval| !interval.is_zero())
}

/// A service manager that cannot be told ends us in its own time; that is its part.
fn tell(what: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(what) {
        tracing::debug!(%error, "cannot tell the service manager");
    }
}

/// A second line would be another message to the service manager.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
