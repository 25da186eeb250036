//! What `turnabout status` shows while a real Postfix delivers over a turned connection.

use std::time::Duration;

use serde_json::Value;

use crate::lab::{Host, Lab, Mail, Mta, Script, body_of_lines, turnabout, wait_for};

const SOON: Duration = Duration::from_secs(30);

fn status(provider: &Host) -> Value {
    let said = provider.run(turnabout(), &["status", "--json"]);
    serde_json::from_str(&said).unwrap()
}

#[test]
fn a_delivery_by_postfix_is_seen_to_grow_and_is_counted_when_it_is_over() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let customer = lab.customer(Mta::Nothing);
    let sent: Vec<Mail> = (1..=3)
        .map(|number| {
            let name = format!("large-{number}");
            Mail::new(&["alice@example.org"], &name, &body_of_lines(20_000))
        })
        .collect();
    provider.submit(&sent);
    provider.set("serve", &[("plaintext_without_tls", "true")]);
    let serve = provider.serve();
    let stream = customer.connect("10.99.0.1:366");
    let own = stream.local_addr().unwrap().to_string();
    let mut script = Script::over(Box::new(stream));
    script.hears("220 ");
    script.log_in();
    // The customer stops before it takes each message, and looks at the provider meanwhile.
    let mut seen = Vec::new();
    let received = script.fetch(|_, at| {
        if at.starts_with("dot") {
            let status = status(&provider);
            let sessions = status["sessions"].as_array().unwrap().clone();
            assert_eq!(sessions.len(), 1, "{status}");
            seen.push(sessions[0].clone());
        }
    });
    assert!(received.quit);
    assert_eq!(received.messages.len(), 3);
    for session in &seen {
        assert_eq!(session["state"], "handed-over", "{session}");
        assert_eq!(session["peer"], own);
        assert_eq!(session["user"], "alice");
        assert_eq!(session["handoff"], "postfix-cache");
        assert!(session["round_trip"].as_f64().unwrap() > 0.0, "{session}");
    }
    let size = 1_400_000;
    let octets: Vec<u64> = seen
        .iter()
        .map(|session| session["sent"].as_u64().unwrap())
        .collect();
    assert!(octets[0] >= size, "{octets:?}");
    for (before, after) in octets.iter().zip(&octets[1..]) {
        assert!(after - before >= size, "{octets:?}");
    }

    let status = wait_for("end of the session", SOON, || {
        let status = status(&provider);
        let none = status["sessions"].as_array().unwrap().is_empty();
        (none && status["totals"]["sessions"] == 1).then_some(status)
    });
    let totals = &status["totals"];
    assert_eq!(totals["results"], serde_json::json!({"turned": 1}));
    assert_eq!(totals["carried"], serde_json::json!({"plain": 1}));
    assert_eq!(totals["atrn"], serde_json::json!({"250": 1}));
    assert_eq!(totals["logins"]["accepted"], 1);
    assert_eq!(totals["mail_left"], 0);
    let last = &status["last"][0];
    assert_eq!(
        (&last["name"], &last["result"]),
        (&"alice".into(), &"turned".into())
    );
    assert_eq!(last["peer"], own);
    drop(serve);
}
