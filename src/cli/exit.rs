//! Exit codes, from sysexits.h.

use std::process::ExitCode;

/// How the program ends. Documented in turnabout(8); scripts and timers depend on the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Exit {
    /// 0: done; also "no mail" of a fetch.
    Done,
    /// 64: the command line is wrong.
    Usage,
    /// 69: the provider cannot be reached, or an address cannot be listened on.
    Unavailable,
    /// 70: a fault of this program.
    Internal,
    /// 75: try again later: the provider said 4yz, or the mail server is not ready.
    TryLater,
    /// 76: the peer does not speak ODMR, or breaks its rules.
    Protocol,
    /// 77: refused: wrong password, domain not granted for good, or no permission on this machine.
    Refused,
    /// 78: the configuration is wrong.
    Config,
}

impl Exit {
    /// Every code, from the mildest to the gravest.
    pub const ALL: &[Exit] = &[
        Exit::Done,
        Exit::TryLater,
        Exit::Unavailable,
        Exit::Protocol,
        Exit::Refused,
        Exit::Config,
        Exit::Usage,
        Exit::Internal,
    ];

    /// The number the system sees.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Usage => 64,
            Exit::Unavailable => 69,
            Exit::Internal => 70,
            Exit::TryLater => 75,
            Exit::Protocol => 76,
            Exit::Refused => 77,
            Exit::Config => 78,
        }
    }

    /// The graver of two: what several fetches in one run end with. Gravest is what will not mend
    /// by itself.
    #[must_use]
    pub fn graver(self, other: Exit) -> Exit {
        let gravity = |exit: Exit| Exit::ALL.iter().position(|known| *known == exit);
        if gravity(other) > gravity(self) {
            other
        } else {
            self
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit.code())
    }
}
