//! What processes cost, as the kernel counts it: processor time and memory from `/proc`.

use nix::libc;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// Processor time of a process: its own, and that of the children it has waited for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cpu {
    pub own: Duration,
    pub children: Duration,
}

impl Cpu {
    pub fn all(self) -> Duration {
        self.own + self.children
    }

    /// What was spent since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            own: self.own.saturating_sub(earlier.own),
            children: self.children.saturating_sub(earlier.children),
        }
    }
}

/// Processor time so far, nothing if the process is gone.
pub fn cpu(pid: u32) -> Cpu {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Cpu::default();
    };
    // The name in parentheses may hold anything, so count from its end: state is field 3.
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return Cpu::default();
    };
    let fields: Vec<u64> = rest
        .split_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    let ticks = |at: usize| fields.get(at - 3).copied().unwrap_or(0);
    // proc(5): utime 14, stime 15, cutime 16, cstime 17. Ticks are coarse, the scheduler's own
    // count is in nanoseconds but forgets the threads that have ended.
    Cpu {
        own: from_ticks(ticks(14) + ticks(15)).max(scheduled(pid)),
        children: from_ticks(ticks(16) + ticks(17)),
    }
}

fn scheduled(pid: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let nanoseconds = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn from_ticks(ticks: u64) -> Duration {
    // SAFETY: sysconf only reads a constant of the system.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_millis(ticks * 1000 / u64::try_from(per_second).unwrap_or(100).max(1))
}

/// All processes in the process namespace of `pid`.
pub fn in_namespace_of(pid: u32) -> Vec<u32> {
    let Ok(wanted) = fs::read_link(format!("/proc/{pid}/ns/pid")) else {
        return Vec::new();
    };
    numbers("/proc")
        .into_iter()
        .filter(|pid| {
            fs::read_link(format!("/proc/{pid}/ns/pid")).is_ok_and(|found| found == wanted)
        })
        .collect()
}

/// Processor time of a whole host: what lives, and what its living parents have waited for.
pub fn cpu_of_namespace(pid: u32) -> Duration {
    in_namespace_of(pid)
        .into_iter()
        .map(|pid| cpu(pid).all())
        .sum()
}

/// A process and its descendants.
pub fn tree(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut at = 0;
    while let Some(parent) = found.get(at).copied() {
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
            .unwrap_or_default();
        found.extend(
            children
                .split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
        at += 1;
    }
    found
}

/// Memory in KiB, each shared page counted once in all (`Pss`).
pub fn memory(pids: &[u32]) -> u64 {
    pids.iter()
        .map(|pid| field(&format!("/proc/{pid}/smaps_rollup"), "Pss:"))
        .sum()
}

/// The most memory that was ever resident, in KiB.
pub fn peak(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "VmHWM:")
}

/// The same of a process and its descendants, each by itself: what they share is counted twice.
pub fn tree_peak(pid: u32) -> u64 {
    tree(pid).into_iter().map(peak).sum()
}

/// How many threads it has.
pub fn threads(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/status"), "Threads:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .unwrap_or(0)
}

fn numbers(directory: &str) -> Vec<u32> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// The cost of one command from start to end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    pub cpu: Duration,
    /// KiB.
    pub peak: u64,
}

/// `timed FILE COMMAND...`: runs the command, writes its processor time (microseconds) and its
/// peak memory (KiB) to FILE, and ends as it ended.
pub fn timed(words: &[&str]) {
    let [file, program, arguments @ ..] = words else {
        panic!("usage: timed FILE COMMAND...")
    };
    let child = Command::new(program).args(arguments).spawn().unwrap();
    let pid = i32::try_from(child.id()).unwrap();
    let mut status = 0;
    // SAFETY: rusage is plain numbers, for which all zeroes are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to values of this function; the child is ours and not waited for yet.
    let waited = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(waited, pid, "cannot wait for {program}");
    let cpu = microseconds(usage.ru_utime) + microseconds(usage.ru_stime);
    fs::write(file, format!("{cpu} {}\n", usage.ru_maxrss)).unwrap();
    std::process::exit(ExitStatus::from_raw(status).code().unwrap_or(70));
}

fn microseconds(time: libc::timeval) -> i64 {
    time.tv_sec * 1_000_000 + time.tv_usec
}

/// Reads what [`timed`] wrote.
pub fn read_timed(file: &std::path::Path) -> Used {
    let text = fs::read_to_string(file).unwrap_or_default();
    let mut numbers = text
        .split_whitespace()
        .filter_map(|number| number.parse::<u64>().ok());
    Used {
        cpu: Duration::from_micros(numbers.next().unwrap_or(0)),
        peak: numbers.next().unwrap_or(0),
    }
}

/// Many connections need many descriptors: takes as many as it may have, and says how many.
pub fn raise_descriptor_limit() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the pointer is to a value of this function.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: as above.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
    limit.rlim_cur
}
