//! argv -> cli -> exit code, nothing else.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    turnabout::cli::run(std::env::args_os())
}
