//! A machine of its own for one test: overlays over /etc, /var and /usr, a loopback interface, its own processes.
//!
//! The test starts itself again inside it; when the inner test ends, everything in the machine ends with it and leaves
//! nothing behind.

use std::process::{Command, Stdio};

const INSIDE: &str = "TURNABOUT_TEST_MACHINE";

const ENTER: &str = r#"
set -e
base=$1; shift
mount --make-rprivate /
mount -t tmpfs none "$base"
for d in etc var usr; do
    mkdir -p "$base/$d/u" "$base/$d/w"
    mount -t overlay overlay -o "lowerdir=/$d,upperdir=$base/$d/u,workdir=$base/$d/w" "/$d"
done
ip link set lo up
hostname provider.example.com
exec "$@"
"#;

/// Runs `body` in a machine of its own; `name` is the test's full name, as `--exact` takes it.
pub fn in_a_machine(name: &str, body: impl FnOnce()) {
    if std::env::var(INSIDE).is_ok_and(|inside| inside == name) {
        body();
        return;
    }
    let base = tempfile::tempdir().unwrap();
    let status = Command::new("unshare")
        .args([
            "--mount",
            "--net",
            "--uts",
            "--ipc",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(["sh", "-c", ENTER, "enter"])
        .arg(base.path())
        .arg(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, name)
        .stdin(Stdio::null())
        .status()
        .expect("cannot run unshare (are you root?)");
    assert!(
        status.success(),
        "{name} failed inside its machine: {status}"
    );
}

/// Runs a shell script to its end and gives its output.
pub fn shell(script: &str) -> String {
    let output = Command::new("sh")
        .args(["-ec", script])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{script}\n{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

/// From here on this process, which is the machine's own, is this user, as the service is.
pub fn become_user(name: &str) {
    let user = nix::unistd::User::from_name(name).unwrap().unwrap();
    nix::unistd::setgroups(&[user.gid]).unwrap();
    nix::unistd::setgid(user.gid).unwrap();
    nix::unistd::setuid(user.uid).unwrap();
}
