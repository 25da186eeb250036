//! Running one of the MTA's programs: no shell, a clean environment, bounded time, bounded memory.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::{QueueError, cut};

/// The longest line we read from a program, in octets: Postfix prints a message with all its recipients in one.
const LINE_LIMIT: usize = 16 * 1024 * 1024;
/// How much of the error output we keep, in octets.
const SAID_LIMIT: u64 = 600;
/// The longest output that is kept as a whole, in octets.
const LONGEST_OUTPUT: usize = 1024 * 1024;
/// The search path of the programs we start: they are named by full path, but start others.
const SEARCH_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Its full path.
    pub(crate) path: PathBuf,
    /// Its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// What it gets beside `PATH`.
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// The question in words, for an error.
    pub(crate) what: &'static str,
    /// What it reads on standard input: a few lines at most, which a pipe holds.
    pub(crate) input: Vec<u8>,
}

/// What a program answered, whether or not it liked the question.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its standard output.
    pub(crate) output: String,
    /// The first octets of its error output, on one line; empty where it succeeded.
    pub(crate) said: String,
    /// It ended with 0.
    pub(crate) success: bool,
}

/// One more line of an output, which has its limit.
fn keep(output: &mut String, line: &[u8]) -> Result<ControlFlow<()>, String> {
    output.push_str(&String::from_utf8_lossy(line));
    output.push('\n');
    if output.len() > LONGEST_OUTPUT {
        return Err("too long".to_owned());
    }
    Ok(ControlFlow::Continue(()))
}

impl Program {
    /// Runs it and hands over each line of its output, until `each` breaks off (the program is killed then).
    ///
    /// # Errors
    /// It cannot be started, ends with another status than 0, or takes longer than `limit`.
    pub(crate) async fn lines<F>(&self, limit: Duration, each: F) -> Result<(), QueueError>
    where
        F: FnMut(&[u8]) -> Result<ControlFlow<()>, String> + Send,
    {
        tokio::time::timeout(limit, self.unbounded(each))
            .await
            .unwrap_or_else(|_| {
                Err(QueueError::Slow {
                    what: self.what,
                    program: self.path.clone(),
                    limit,
                })
            })
    }

    /// Runs it and gives its whole output.
    ///
    /// # Errors
    /// As [`Program::lines`], or an output of more than a mebioctet.
    pub(crate) async fn output(&self, limit: Duration) -> Result<String, QueueError> {
        let mut output = String::new();
        self.lines(limit, |line| keep(&mut output, line)).await?;
        Ok(output)
    }

    /// Runs it and gives what it prints and says, however it ends.
    ///
    /// # Errors
    /// It cannot be started, takes longer than `limit`, or prints more than a mebioctet.
    pub(crate) async fn answer(&self, limit: Duration) -> Result<Answer, QueueError> {
        let mut output = String::new();
        let ended = self.lines(limit, |line| keep(&mut output, line)).await;
        match ended {
            Ok(()) => Ok(Answer {
                output,
                said: String::new(),
                success: true,
            }),
            Err(QueueError::Failed { said, .. }) => Ok(Answer {
                output,
                said,
                success: false,
            }),
            Err(error) => Err(error),
        }
    }

    /// [`Program::output`] for a caller that is not asynchronous, or may be inside a runtime: it waits.
    ///
    /// # Errors
    /// As [`Program::output`].
    pub(crate) fn output_now(&self, limit: Duration) -> Result<String, QueueError> {
        let start = |cause| QueueError::Start {
            program: self.path.clone(),
            cause,
        };
        // A runtime may not be entered from inside another, so this one has a thread of its own.
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(start)?;
                runtime.block_on(self.output(limit))
            });
            asked
                .join()
                .unwrap_or_else(|_| Err(start(std::io::Error::other("its thread is gone"))))
        })
    }

    async fn unbounded<F>(&self, mut each: F) -> Result<(), QueueError>
    where
        F: FnMut(&[u8]) -> Result<ControlFlow<()>, String> + Send,
    {
        let mut child = self.start()?;
        let strange = |cause: String| QueueError::Strange {
            what: self.what,
            program: self.path.clone(),
            cause,
        };
        if let Some(mut input) = child.stdin.take() {
            // One that does not read its input has its own reasons, and says them.
            drop(input.write_all(&self.input).await);
        }
        let errors = tokio::spawn(said(child.stderr.take()));
        if let Some(output) = child.stdout.take() {
            let mut output = BufReader::with_capacity(64 * 1024, output);
            let mut line = Vec::new();
            while next_line(&mut output, &mut line)
                .await
                .map_err(|error| strange(error.to_string()))?
            {
                if each(&line).map_err(strange)?.is_break() {
                    // Killed by the drop: the answer is known.
                    return Ok(());
                }
            }
        }
        let status = child.wait().await.map_err(|cause| QueueError::Start {
            program: self.path.clone(),
            cause,
        })?;
        if status.success() {
            return Ok(());
        }
        Err(QueueError::Failed {
            what: self.what,
            program: self.path.clone(),
            status: status.to_string(),
            said: errors.await.unwrap_or_default(),
        })
    }

    fn start(&self) -> Result<Child, QueueError> {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", SEARCH_PATH)
            .envs(self.environment.iter().cloned())
            .current_dir("/")
            .stdin(if self.input.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|cause| QueueError::Start {
            program: self.path.clone(),
            cause,
        })
    }
}

/// The first octets of the error output, on one line; the rest is read and dropped so that the program never waits.
async fn said(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe
        && (&mut pipe)
            .take(SAID_LIMIT)
            .read_to_end(&mut kept)
            .await
            .is_ok()
    {
        drop(tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await);
    }
    cut(String::from_utf8_lossy(&kept).trim(), 600)
}

/// Reads one line without its LF; false at the end.
async fn next_line(
    input: &mut (impl AsyncBufReadExt + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<bool> {
    line.clear();
    let limit = u64::try_from(LINE_LIMIT).unwrap_or(u64::MAX);
    let read = input.take(limit).read_until(b'\n', line).await?;
    if line.last() == Some(&b'\n') {
        line.pop();
    } else if line.len() >= LINE_LIMIT {
        return Err(std::io::Error::other("a line of its output is too long"));
    }
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    use super::{Program, QueueError};
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Program {
        Program {
            path: PathBuf::from("/bin/sh"),
            arguments: vec!["-c".into(), script.into()],
            environment: Vec::new(),
            what: "try a program",
            input: Vec::new(),
        }
    }

    #[test]
    fn a_program_that_hangs_is_not_waited_for_inside_a_runtime_either() {
        let began = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let asked = runtime.map(|runtime| {
            runtime.block_on(async { shell("sleep 60").output_now(Duration::from_millis(200)) })
        });
        assert!(matches!(asked, Ok(Err(QueueError::Slow { .. }))));
        assert!(began.elapsed() < Duration::from_secs(20));
    }

    #[test]
    fn a_program_that_fails_has_answered_all_the_same() {
        let program = shell("echo found; echo why >&2; exit 3");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let answer =
            runtime.map(|runtime| runtime.block_on(program.answer(Duration::from_secs(20))));
        let seen = answer.map(|answer| {
            answer
                .map(|answer| (answer.output, answer.said, answer.success))
                .ok()
        });
        let expected = ("found\n".to_owned(), "why".to_owned(), false);
        assert_eq!(seen.ok().flatten(), Some(expected));
    }
}
