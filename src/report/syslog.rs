//! Lines for the system's log: one datagram each to `/dev/log`, as syslog(3) sends them.
//!
//! `<PRIORITY>turnabout[PID]: LINE`. There is no time in it: the daemon that takes the line knows the time, and the
//! zone the machine is in, and puts it in front as RFC 3164 4.3 has it (rsyslog, syslog-ng, busybox and journald do).

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use super::line::priority;

/// Where every local daemon listens.
pub(super) const DEV_LOG: &str = "/dev/log";

/// The facility mail, in its place beside the priority.
const MAIL: u8 = 2 << 3;

/// The longest datagram, in octets: what the usual daemons take.
const LONGEST: usize = 8 * 1024;

/// How long a daemon that does not read is waited for; the line is lost then, the service is not.
const PATIENCE: Duration = Duration::from_secs(2);

/// The system's log.
#[derive(Debug, Clone)]
pub struct Syslog(Arc<Place>);

#[derive(Debug)]
struct Place {
    path: PathBuf,
    socket: Option<UnixDatagram>,
}

/// One line on its way.
#[derive(Debug)]
pub struct Datagram<'a> {
    place: &'a Place,
    priority: u8,
    line: Vec<u8>,
}

impl Syslog {
    /// The log whose daemon listens there. It may come later, or go and come again.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.set_write_timeout(Some(PATIENCE))?;
            Ok(socket)
        });
        Self(Arc::new(Place {
            path: path.to_owned(),
            // Without a descriptor there is no telling anybody.
            socket: socket.ok(),
        }))
    }

    fn datagram(&self, level: Level) -> Datagram<'_> {
        Datagram {
            place: &self.0,
            priority: MAIL | priority(level),
            line: Vec::new(),
        }
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = Datagram<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        self.datagram(Level::INFO)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        self.datagram(*meta.level())
    }
}

impl Write for Datagram<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Datagram<'_> {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.line);
        let head = format!("<{}>turnabout[{}]: ", self.priority, std::process::id());
        let mut message = head + text.trim_end_matches('\n');
        if message.len() > LONGEST {
            let end = (0..=LONGEST).rev().find(|at| message.is_char_boundary(*at));
            message.truncate(end.unwrap_or(0));
        }
        if let Some(socket) = &self.place.socket {
            // Nobody is left to tell that the log is not there.
            socket.send_to(message.as_bytes(), &self.place.path).ok();
        }
    }
}
