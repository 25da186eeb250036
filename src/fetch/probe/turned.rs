//! Behind the turn: the probe is the server now, greets with 421 and takes nothing.

use super::finding::Findings;
use crate::fetch::stop::{Stop, lost};
use crate::wire::Wire;
use std::time::Duration;
use tokio::time::timeout;

/// How long the provider has to take its leave.
const LEAVE: Duration = Duration::from_secs(5);

/// Says 421 instead of 220, so that the provider keeps its mail (RFC 5321 3.8), and waits for its QUIT or its close.
pub(super) async fn give_back(
    wire: &mut Wire,
    hostname: &str,
    findings: &mut Findings,
) -> Result<(), Stop> {
    if wire.pending().await.map_err(|error| lost(&error, "ATRN"))? {
        findings.deviates(
            "RFC 2645 section 5.3",
            "speaks behind the turn before it is greeted",
        );
    }
    let last = format!("421 {hostname} Only looking, keep the mail and try later\r\n");
    wire.send(last.as_bytes())
        .await
        .map_err(|error| lost(&error, "the turn"))?;
    match timeout(LEAVE, wire.line()).await {
        Ok(Ok(Ok(line))) if line.as_bytes().eq_ignore_ascii_case(b"QUIT") => {
            // It may have closed already.
            wire.send(format!("221 {hostname} Bye\r\n").as_bytes())
                .await
                .ok();
        }
        Ok(Ok(Ok(line))) => {
            let words = line.as_bytes().split(|octet| *octet == b' ').next();
            let verb = String::from_utf8_lossy(words.unwrap_or_default()).into_owned();
            findings.deviates(
                "RFC 5321 section 3.1",
                format!("goes on with {verb} although it was greeted with 421"),
            );
        }
        Ok(Ok(Err(error))) => findings.deviates(
            "RFC 5321 section 2.3.8",
            format!("goes on with {error} although it was greeted with 421"),
        ),
        // It closed, or waits for our close.
        Ok(Err(_)) | Err(_) => {}
    }
    Ok(())
}
