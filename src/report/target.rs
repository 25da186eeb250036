//! Where the lines go: standard error, syslog, the journal, or nowhere.
//!
//! Started by inetd or by systemd for one connection, standard error may be that connection: a line would be taken for
//! a reply. So a socket is never written to as standard error, whatever the operator asks for, unless it is the
//! journal's own stream.

use std::fs;
use std::io::{self, IsTerminal};
use std::os::linux::fs::MetadataExt;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::LogFormat;
use super::line::Reader;

/// Where the operator wants the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogTo {
    /// The journal if standard error leads there, syslog if standard error may be the connection or is nothing, otherwise standard error.
    #[default]
    Auto,
    /// Standard error.
    Stderr,
    /// The system's log, facility mail.
    Syslog,
    /// The systemd journal, with every field by itself.
    Journal,
}

/// What standard error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stderr {
    /// The journal's stream.
    Journal,
    /// A person's terminal.
    Terminal,
    /// A socket: perhaps the connection.
    Socket,
    /// `/dev/null`, which also stands in for a descriptor that was closed.
    Nothing,
    /// A file or a pipe.
    File,
}

/// Where the lines go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// To standard error, for this reader.
    Stderr(Reader),
    /// To `/dev/log`.
    Syslog,
    /// To the journal's own socket.
    Journal,
}

impl Stderr {
    /// Looks at descriptor 2.
    pub(super) fn look() -> Self {
        let Ok(facts) = fs::metadata("/proc/self/fd/2") else {
            // Without /proc it is not known what it is.
            return if io::stderr().is_terminal() {
                Self::Terminal
            } else {
                Self::Socket
            };
        };
        let kind = facts.file_type();
        let number = format!("{}:{}", facts.st_dev(), facts.st_ino());
        // The variable alone may be inherited.
        if std::env::var("JOURNAL_STREAM").is_ok_and(|stream| stream == number) {
            Self::Journal
        } else if kind.is_socket() {
            Self::Socket
        } else if io::stderr().is_terminal() {
            Self::Terminal
        } else if kind.is_char_device() && facts.st_rdev() == null() {
            Self::Nothing
        } else {
            Self::File
        }
    }

    fn reader(self) -> Reader {
        match self {
            Self::Journal => Reader::Journal,
            Self::Terminal => Reader::Person,
            Self::Socket | Self::Nothing | Self::File => Reader::File,
        }
    }
}

/// Puts nothing in the place of a standard error that may be the connection: nothing else in this process, and no
/// program that it starts, shall write there by mistake either.
pub(super) fn silence() {
    if let Ok(null) = fs::File::options().write(true).open("/dev/null") {
        nix::unistd::dup2_stderr(&null).ok();
    }
}

/// The number of the null device; 0, which no device has, where there is none.
fn null() -> u64 {
    fs::metadata(Path::new("/dev/null")).map_or(0, |facts| facts.st_rdev())
}

impl Target {
    /// Decides. A service whose standard error is nothing, as inetd's may be, still has somebody to tell; a command
    /// that a person has silenced has not. JSON is for those who collect standard error.
    pub(super) fn choose(to: LogTo, stderr: Stderr, format: LogFormat, service: bool) -> Self {
        let safe = stderr != Stderr::Socket;
        match to {
            LogTo::Journal => Self::Journal,
            LogTo::Stderr if safe => Self::Stderr(stderr.reader()),
            LogTo::Auto if stderr == Stderr::Journal && format == LogFormat::Text => Self::Journal,
            LogTo::Auto if safe && !(service && stderr == Stderr::Nothing) => {
                Self::Stderr(stderr.reader())
            }
            LogTo::Auto | LogTo::Stderr | LogTo::Syslog => Self::Syslog,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{LogFormat, LogTo, Reader, Stderr, Target};

    fn auto(stderr: Stderr) -> Target {
        Target::choose(LogTo::Auto, stderr, LogFormat::Text, true)
    }

    #[test]
    fn by_itself_a_service_finds_the_right_place() {
        assert_eq!(auto(Stderr::Journal), Target::Journal);
        assert_eq!(auto(Stderr::Terminal), Target::Stderr(Reader::Person));
        assert_eq!(auto(Stderr::File), Target::Stderr(Reader::File));
        assert_eq!(auto(Stderr::Socket), Target::Syslog);
        assert_eq!(auto(Stderr::Nothing), Target::Syslog);
    }

    #[test]
    fn a_socket_is_never_written_to_whatever_is_asked_for() {
        for to in [LogTo::Auto, LogTo::Stderr, LogTo::Syslog, LogTo::Journal] {
            for format in [LogFormat::Text, LogFormat::Json] {
                for service in [true, false] {
                    let target = Target::choose(to, Stderr::Socket, format, service);
                    assert!(!matches!(target, Target::Stderr(_)), "{to:?} {format:?}");
                }
            }
        }
    }

    #[test]
    fn a_command_that_is_silenced_stays_silent_and_json_goes_where_it_is_collected() {
        let silenced = Target::choose(LogTo::Auto, Stderr::Nothing, LogFormat::Text, false);
        assert_eq!(silenced, Target::Stderr(Reader::File));
        let json = Target::choose(LogTo::Auto, Stderr::Journal, LogFormat::Json, true);
        assert_eq!(json, Target::Stderr(Reader::Journal));
    }
}
