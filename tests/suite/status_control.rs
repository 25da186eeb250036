//! The control socket: who is answered, what is a request, and how much is taken.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::unistd::geteuid;
use turnabout::control::{ControlError, Listener, Request, ask};

/// Serves one request with the answer `{"ok":true}`, or refuses it.
fn answered(path: &Path, refuse: bool) -> std::thread::JoinHandle<Request> {
    let path = path.to_owned();
    let (ready, wait) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = Listener::bind(&path).unwrap();
            ready.send(()).unwrap();
            let asked = loop {
                if let Some(asked) = listener.accept().await.request().await {
                    break asked;
                }
            };
            let request = asked.request.clone();
            if refuse {
                asked.refuse("not today").await;
            } else {
                asked.answer(&serde_json::json!({"ok": true})).await;
            }
            request
        })
    });
    wait.recv().unwrap();
    thread
}

#[test]
fn a_request_is_one_object_and_so_is_its_answer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let thread = answered(&path, false);
    let now = Request::Now {
        provider: "isp".to_owned(),
    };
    assert_eq!(ask(&path, &now).unwrap()["ok"], true);
    assert_eq!(thread.join().unwrap(), now);
    assert_eq!(
        serde_json::to_string(&now).unwrap(),
        r#"{"request":"now","provider":"isp"}"#
    );
    assert_eq!(
        serde_json::to_string(&Request::Status).unwrap(),
        r#"{"request":"status"}"#
    );
    assert!(!path.exists(), "the socket's file goes with it");
}

#[test]
fn a_refusal_is_an_error_with_its_sentence() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let thread = answered(&path, true);
    let error = ask(&path, &Request::Status).unwrap_err();
    assert!(matches!(error, ControlError::Refused(..)), "{error}");
    assert!(error.to_string().ends_with("not today"), "{error}");
    thread.join().unwrap();
}

#[test]
fn what_is_no_request_is_told_so_and_the_next_one_is_answered() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sock");
    let thread = answered(&path, false);
    let long = "x".repeat(100_000);
    for nonsense in [
        "",
        "{}\n",
        "GET / HTTP/1.0\n",
        "{\"request\":\"stop\"}\n",
        long.as_str(),
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        // What is too long is not read to its end.
        stream.write_all(nonsense.as_bytes()).ok();
        stream.shutdown(std::net::Shutdown::Write).ok();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok();
        assert!(
            answer.is_empty() || answer.contains("this is no request"),
            "{answer}"
        );
    }
    assert_eq!(ask(&path, &Request::Status).unwrap()["ok"], true);
    thread.join().unwrap();
}

/// The mode keeps others away; should somebody change it, the kernel still tells who they are.
#[test]
fn another_user_is_not_answered_even_where_the_mode_lets_it_connect() {
    if !geteuid().is_root() {
        // Only root can be another user.
        return;
    }
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let open = std::fs::Permissions::from_mode(0o777);
    std::fs::set_permissions(directory.path(), open.clone()).unwrap();
    let path = directory.path().join("sock");
    let thread = answered(&path, false);
    std::fs::set_permissions(&path, open).unwrap();
    let script = format!(
        "use Socket; $SIG{{PIPE}} = 'IGNORE'; socket(S, AF_UNIX, SOCK_STREAM, 0) or die; connect(S, sockaddr_un('{}')) or die $!; \
         syswrite(S, qq({{\"request\":\"status\"}}\\n)); print scalar <S> // 'nothing'",
        path.display()
    );
    let asked = |user: &str| {
        let output = Command::new("setpriv")
            .args(["--reuid", user, "--regid", "nogroup", "--clear-groups"])
            .args(["perl", "-e", &script])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(asked("nobody"), "nothing");
    assert!(asked("root").contains("true"));
    thread.join().unwrap();
}
