//! What the MTA's programs print, and what is made of it: with scripts in their place.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use turnabout::queue::{QueueError, exim, postfix};
use turnabout::smtp::domain::DomainList;

const LIMIT: Duration = Duration::from_secs(20);

/// A directory with one program that is this script.
fn program(name: &str, script: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    (directory, path)
}

fn postfix(script: &str) -> (TempDir, postfix::Queue) {
    let (directory, path) = program("postqueue", script);
    let command_directory = path.parent().map(Path::to_owned).unwrap();
    (
        directory,
        postfix::Queue {
            command_directory,
            config_directory: None,
        },
    )
}

fn exim(script: &str) -> (TempDir, exim::Queue) {
    let (directory, command) = program("exim", script);
    (directory, exim::Queue { command })
}

fn list(domains: &str) -> DomainList {
    DomainList::parse_atrn(domains).unwrap()
}

const QUEUE: &str = r#"cat <<'END'
{"queue_name": "hold", "queue_id": "AAAA1", "arrival_time": 1, "message_size": 9, "forced_expire": false, "sender": "a@b.example", "recipients": [{"address": "held@example.org"}]}
{"queue_name": "deferred", "queue_id": "AAAA2", "arrival_time": 7, "message_size": 9, "sender": "", "recipients": [{"address": "x@sub.example.org", "delay_reason": "later"}]}
{"queue_name": "deferred", "queue_id": "AAAA3", "arrival_time": 8, "message_size": 9, "sender": "", "recipients": [{"address": "x@other.example"}, {"address": "Y@Example.ORG", "delay_reason": "deferred transport"}]}
{"queue_name": "active", "queue_id": "AAAA4", "arrival_time": 9, "message_size": 9, "sender": "", "recipients": [{"address": "z@example.net"}]}
END"#;

#[tokio::test]
async fn postfix_held_mail_and_subdomains_do_not_count() {
    let (_directory, queue) = postfix(QUEUE);
    assert!(queue.waiting(&list("example.org"), LIMIT).await.unwrap());
    assert!(queue.waiting(&list("example.net"), LIMIT).await.unwrap());
    assert!(
        queue
            .waiting(&list("sub.example.org"), LIMIT)
            .await
            .unwrap()
    );
    assert!(!queue.waiting(&list("org.example"), LIMIT).await.unwrap());
    let snapshot = queue
        .snapshot(&list("example.org,example.net"), 10, LIMIT)
        .await
        .unwrap();
    assert_eq!(snapshot.running, 1);
    assert_eq!(snapshot.waiting.keys().collect::<Vec<_>>(), ["AAAA3"]);
    assert_eq!(snapshot.waiting["AAAA3"].reason, "deferred transport");
    assert_eq!(snapshot.waiting["AAAA3"].arrival, 8);
}

#[tokio::test]
async fn a_snapshot_is_bounded_and_says_so() {
    let script = r#"i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo "{\"queue_name\":\"deferred\",\"queue_id\":\"A$i\",\"recipients\":[{\"address\":\"x@example.org\"}]}"; done"#;
    let (_directory, queue) = postfix(script);
    let snapshot = queue
        .snapshot(&list("example.org"), 10, LIMIT)
        .await
        .unwrap();
    assert_eq!((snapshot.waiting.len(), snapshot.truncated), (10, true));
}

/// Rules: R21
#[tokio::test]
async fn the_first_match_is_enough_and_the_program_is_not_waited_for() {
    let started = Instant::now();
    let line =
        r#"{"queue_name":"deferred","queue_id":"A1","recipients":[{"address":"x@example.org"}]}"#;
    let (_directory, queue) = postfix(&format!("echo '{line}'; exec sleep 30"));
    assert!(queue.waiting(&list("example.org"), LIMIT).await.unwrap());
    assert!(started.elapsed() < Duration::from_secs(10));
}

/// Rules: R22
#[tokio::test]
async fn a_queue_that_cannot_be_asked_is_an_error_and_never_empty() {
    let (_directory, queue) =
        postfix("echo 'postqueue: fatal: Queue report unavailable' >&2; exit 69");
    let error = queue
        .waiting(&list("example.org"), LIMIT)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("Queue report unavailable"),
        "{error}"
    );
    let (_directory, queue) = postfix("echo 'this is no JSON'");
    assert!(matches!(
        queue.waiting(&list("example.org"), LIMIT).await,
        Err(QueueError::Strange { .. })
    ));
    let (_directory, queue) = postfix("exec sleep 30");
    let soon = Duration::from_millis(300);
    assert!(matches!(
        queue.waiting(&list("example.org"), soon).await,
        Err(QueueError::Slow { .. })
    ));
    let queue = postfix::Queue {
        command_directory: "/nonexistent".into(),
        config_directory: None,
    };
    let error = queue
        .waiting(&list("example.org"), LIMIT)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot run /nonexistent/postqueue: "),
        "{error}"
    );
}

#[tokio::test]
async fn the_instance_is_named_in_the_environment_and_nothing_else_is_inherited() {
    let (directory, mut queue) = postfix(
        r#"env | sort > "$(dirname "$0")/environment"; echo "$@" >> "$(dirname "$0")/environment""#,
    );
    queue.config_directory = Some("/etc/postfix-odmr".into());
    queue
        .flush(&"example.org".parse().unwrap(), LIMIT)
        .await
        .unwrap();
    let environment = std::fs::read_to_string(directory.path().join("environment")).unwrap();
    assert!(
        environment.contains("MAIL_CONFIG=/etc/postfix-odmr\n"),
        "{environment}"
    );
    assert!(environment.ends_with("-s example.org\n"), "{environment}");
    assert!(!environment.contains("HOME="), "{environment}");
}

#[tokio::test]
async fn a_domain_without_a_flush_list_is_told_with_what_to_do() {
    let said = "postqueue: fatal: Flush service is not configured for destination \"example.org\"";
    let (_directory, queue) = postfix(&format!("echo '{said}' >&2; exit 69"));
    let error = queue
        .flush(&"example.org".parse().unwrap(), LIMIT)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot flush example.org: ") && error.contains("fast_flush_domains"),
        "{error}"
    );
}

#[tokio::test]
async fn a_queue_id_is_letters_and_digits() {
    let (_directory, queue) = postfix("exit 0");
    assert!(queue.flush_message("4XyZ1", LIMIT).await.is_ok());
    for bad in ["", "-s", "A B", "../x"] {
        assert!(queue.flush_message(bad, LIMIT).await.is_err(), "{bad}");
    }
}

const BPU: &str = r"cat <<'END'
 4m   2.3K 1kEw3Y-0003Fj-2c <a@b.example>
          user@example.org

25h   301  1xV9T7-00000000abC-1234 <> *** frozen ***
          frozen@example.net

 0m   309 1xV9T7-00000l-2j (root) <root@provider.example>
          one@other.example
          D done@example.com
          two@Example.Com

END";

#[tokio::test]
async fn exim_frozen_mail_does_not_count_and_both_forms_of_message_ids_are_known() {
    let (_directory, queue) = exim(BPU);
    assert!(queue.waiting(&list("example.org"), LIMIT).await.unwrap());
    assert!(!queue.waiting(&list("example.net"), LIMIT).await.unwrap());
    let snapshot = queue
        .snapshot(&list("example.org,example.net,example.com"), 10, LIMIT)
        .await
        .unwrap();
    let mut ids: Vec<_> = snapshot.waiting.keys().map(String::as_str).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1kEw3Y-0003Fj-2c", "1xV9T7-00000l-2j"]);
    assert!(
        snapshot.waiting["1kEw3Y-0003Fj-2c"].arrival < snapshot.waiting["1xV9T7-00000l-2j"].arrival
    );
    assert_eq!(snapshot.waiting["1xV9T7-00000l-2j"].arrival, 1_795_361_225);
}

#[tokio::test]
async fn exim_tells_its_version_and_spool() {
    let (_directory, queue) = exim(
        r#"test "$1" = -bV && echo 'Exim version 4.96 #2 built 27-May-2026' || echo 'spool_directory = /var/spool/exim4'"#,
    );
    assert_eq!(queue.version(LIMIT).await.unwrap(), "4.96");
    assert_eq!(
        queue.spool_directory(LIMIT).await.unwrap(),
        "/var/spool/exim4"
    );
    let (_directory, queue) = exim("echo Sendmail");
    assert!(queue.version(LIMIT).await.is_err());
}
