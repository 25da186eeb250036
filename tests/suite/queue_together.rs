//! Sessions that ask the queue at the same time share one reading, and no answer is older than its question.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::sleep;
use turnabout::queue::QueueError;
use turnabout::queue::together::{Askers, Together};
use turnabout::smtp::DomainList;

fn domains(text: &str) -> DomainList {
    DomainList::parse_atrn(text).unwrap()
}

/// A queue that takes a moment to read and holds mail for example.org.
async fn read(readings: Arc<AtomicUsize>, mut askers: Askers) -> (Askers, Result<(), QueueError>) {
    readings.fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_millis(20)).await;
    let _all_answered = askers.found("alice@Example.ORG").is_break();
    (askers, Ok(()))
}

#[tokio::test]
async fn a_hundred_askers_are_answered_by_two_readings() {
    let (together, readings) = (Together::default(), Arc::new(AtomicUsize::new(0)));
    let mut asked = tokio::task::JoinSet::new();
    for number in 0..100 {
        let (together, readings) = (together.clone(), Arc::clone(&readings));
        asked.spawn(async move {
            let list = domains(if number % 2 == 0 {
                "example.com,example.org"
            } else {
                "example.net"
            });
            let found = together
                .ask(&list, move |askers| read(Arc::clone(&readings), askers))
                .await;
            (number % 2 == 0, found.unwrap())
        });
    }
    for (expected, found) in asked.join_all().await {
        assert_eq!(found, expected);
    }
    // The first may have been alone; all who came meanwhile shared the second.
    let count = readings.load(Ordering::Relaxed);
    assert!(count <= 2, "{count} readings");
}

#[tokio::test]
async fn who_asks_while_a_reading_runs_is_answered_by_the_next() {
    let (together, readings) = (Together::default(), Arc::new(AtomicUsize::new(0)));
    let ask = |readings: Arc<AtomicUsize>| {
        let together = together.clone();
        async move {
            together
                .ask(&domains("example.org"), move |askers| {
                    read(Arc::clone(&readings), askers)
                })
                .await
        }
    };
    let first = tokio::spawn(ask(Arc::clone(&readings)));
    sleep(Duration::from_millis(5)).await;
    assert!(ask(Arc::clone(&readings)).await.unwrap());
    assert!(first.await.unwrap().unwrap());
    assert_eq!(readings.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_asker_that_goes_takes_nobodys_answer_with_it() {
    let (together, readings) = (Together::default(), Arc::new(AtomicUsize::new(0)));
    let gone = {
        let (together, readings) = (together.clone(), Arc::clone(&readings));
        tokio::spawn(async move {
            together
                .ask(&domains("example.net"), move |askers| {
                    read(Arc::clone(&readings), askers)
                })
                .await
        })
    };
    sleep(Duration::from_millis(5)).await;
    gone.abort();
    let readings = Arc::clone(&readings);
    let list = domains("example.org");
    let found = together.ask(&list, move |askers| read(Arc::clone(&readings), askers));
    assert!(found.await.unwrap());
}

#[tokio::test]
async fn a_reading_that_fails_is_no_empty_queue_for_anybody() {
    let together = Together::default();
    let failing = |askers: Askers| async move {
        let cause = std::io::Error::other("gone");
        (
            askers,
            Err(QueueError::Start {
                program: "postqueue".into(),
                cause,
            }),
        )
    };
    let list = domains("example.org");
    let (one, two) = tokio::join!(together.ask(&list, failing), together.ask(&list, failing));
    for failed in [one, two] {
        assert!(
            failed
                .unwrap_err()
                .to_string()
                .starts_with("cannot run postqueue")
        );
    }
}
