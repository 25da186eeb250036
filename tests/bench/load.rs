//! Many customers at once: sessions a second, and connections that only wait.

use crate::accounts;
use crate::session::{Login, Session};
use rustls::ClientConfig;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// What the customers do.
#[derive(Debug, Clone)]
pub struct Plan {
    pub server: SocketAddr,
    pub login: Login,
    pub tls: Option<Arc<ClientConfig>>,
    /// How many at once.
    pub customers: usize,
    pub time: Duration,
    /// Whether each asks for its own domain (453) or for somebody else's (450, nothing is asked).
    pub own_domain: bool,
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    pub sessions_a_second: f64,
    pub sessions: u64,
    pub failures: u64,
    /// Milliseconds from connecting to the end.
    pub median_ms: f64,
    /// The same, of the slowest hundredth.
    pub slowest_ms: f64,
}

/// Every customer has one session after the other until the time is over.
pub async fn run(plan: Plan) -> Outcome {
    let begin = Instant::now();
    let failures = Arc::new(AtomicU64::new(0));
    let mut customers = JoinSet::new();
    for number in 0..plan.customers {
        let failures = Arc::clone(&failures);
        let plan = plan.clone();
        customers.spawn(async move {
            let mut times = Vec::new();
            while begin.elapsed() < plan.time {
                let at = Instant::now();
                match one(&plan, number).await {
                    Ok(()) => times.push(at.elapsed().as_secs_f64() * 1000.0),
                    Err(error) => {
                        if failures.fetch_add(1, Ordering::Relaxed) == 0 {
                            eprintln!("a session failed: {error}");
                        }
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
            times
        });
    }
    let mut times: Vec<f64> = customers.join_all().await.into_iter().flatten().collect();
    let seconds = begin.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    let at = |share: usize| {
        times
            .get(times.len() * share / 100)
            .copied()
            .unwrap_or(f64::NAN)
    };
    let sessions = u64::try_from(times.len()).unwrap_or(u64::MAX);
    let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
    Outcome {
        sessions_a_second: f64::from(count) / seconds,
        sessions,
        failures: failures.load(Ordering::Relaxed),
        median_ms: at(50),
        slowest_ms: at(99),
    }
}

async fn one(plan: &Plan, number: usize) -> io::Result<()> {
    let user = accounts::user(number);
    let mut session = Session::open(plan.server, number, plan.tls.as_ref()).await?;
    session.login(plan.login, &user).await?;
    if plan.own_domain {
        session
            .say(&format!("ATRN {}\r\n", accounts::domain(number)), "453")
            .await?;
    } else {
        session.say("ATRN foreign.example.net\r\n", "450").await?;
    }
    session.quit().await
}

/// How far an idle connection has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// Greeted, EHLO answered.
    Greeted,
    /// Logged in too.
    LoggedIn(Login),
}

/// Opens so many connections, two from each address, and leaves them open; 50 are on their way at a time.
pub async fn open(server: SocketAddr, how_many: usize, idle: Idle) -> Vec<Session> {
    let mut opened = Vec::with_capacity(how_many);
    let mut opening = JoinSet::new();
    for number in 0..how_many {
        if opening.len() >= 50
            && let Some(session) = opening.join_next().await
        {
            opened.extend(kept(session));
        }
        opening.spawn(async move {
            let mut session = Session::open(server, number / 2, None).await?;
            if let Idle::LoggedIn(login) = idle {
                session
                    .login(login, &accounts::user(number % accounts::ACCOUNTS))
                    .await?;
            }
            io::Result::Ok(session)
        });
    }
    while let Some(session) = opening.join_next().await {
        opened.extend(kept(session));
    }
    opened
}

fn kept(session: Result<io::Result<Session>, tokio::task::JoinError>) -> Option<Session> {
    match session {
        Ok(Ok(session)) => Some(session),
        Ok(Err(error)) => {
            eprintln!("a connection failed: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}
