//! The transport for the customers' mail: its service in master.cf, and what main.cf says of it.

use std::time::Duration;

use super::Postfix;
use super::lists::{joined, words};
use crate::check::finding::Findings;
use crate::check::fragments;
use crate::config::Serve;
use crate::handoff::postfix_cache::time;

/// Below this time in the cache a lent connection is in danger of being closed before it is used.
const SHORT: Duration = Duration::from_secs(10);

/// The service that delivers: an smtp(8) that keeps its connections in the cache and does nothing else of its own.
pub(super) fn service(postfix: &Postfix, serve: &Serve, findings: &mut Findings) {
    let name = &serve.postfix.service;
    let place = postfix.file("master.cf");
    let Some(service) = postfix
        .services(name)
        .find(|service| service.kind == "unix")
    else {
        findings
            .error(
                place,
                format!("there is no service {name} of type unix, so mail for the customers has no way out"),
            )
            .fix(fragments::provider_service(name));
        return;
    };
    if service.command != "smtp" && !service.command.ends_with("/smtp") {
        findings
            .error(
                &place,
                format!(
                    "the service {name} runs {}, and only smtp takes a connection from the cache",
                    service.command
                ),
            )
            .fix(fragments::provider_service(name));
        return;
    }
    let mut wrong = |parameter: &str, right: &str, why: &str| {
        let value = postfix.effective(service, parameter);
        findings
            .error(
                format!("{place}, service {name}"),
                format!("{parameter} is {}, {why}", shown(value)),
            )
            .fix(format!("  -o {parameter}={right}"));
    };
    let value = |parameter| postfix.effective(service, parameter);
    let is_no = |parameter| matches!(value(parameter), "no" | "");
    if !words(value("smtp_connection_cache_destinations")).contains(&"static:all".to_owned()) {
        wrong(
            "smtp_connection_cache_destinations",
            "static:all",
            "so the service does not look for the customer's connection where it is lent",
        );
    }
    let level = value("smtp_tls_security_level");
    let obsolete = level.is_empty() && (!is_no("smtp_use_tls") || !is_no("smtp_enforce_tls"));
    if !matches!(level, "none" | "") || obsolete {
        wrong(
            "smtp_tls_security_level",
            "none",
            "but turnabout speaks TLS on the turned connection already, and Postfix does not find it so",
        );
    }
    if !value("smtp_tls_policy_maps").is_empty() {
        wrong(
            "smtp_tls_policy_maps",
            "",
            "and could ask for TLS inside TLS",
        );
    }
    if !is_no("smtp_tls_wrappermode") {
        wrong("smtp_tls_wrappermode", "no", "which is TLS inside TLS");
    }
    if !is_no("smtp_sasl_auth_enable") {
        wrong(
            "smtp_sasl_auth_enable",
            "no",
            "so Postfix would log in at the customer's, and does not find its connection",
        );
    }
    if !value("smtp_sasl_password_maps").is_empty() {
        wrong(
            "smtp_sasl_password_maps",
            "",
            "which changes the name that Postfix looks for the customer's connection by",
        );
    }
    if !value("smtp_fallback_relay").is_empty() {
        wrong(
            "smtp_fallback_relay",
            "",
            "so mail goes there instead of waiting for the customer",
        );
    }
    let kept = time(value("smtp_connection_cache_time_limit"));
    if kept.is_none_or(|kept| kept < SHORT) {
        short(
            format!("{place}, service {name}"),
            "smtp_connection_cache_time_limit",
            value("smtp_connection_cache_time_limit"),
            "  -o smtp_connection_cache_time_limit=60s",
            findings,
        );
    }
}

fn short(place: String, parameter: &str, value: &str, fix: &str, findings: &mut Findings) {
    findings
        .warning(
            place,
            format!(
                "{parameter} is {}, which is too short to lend a connection comfortably",
                shown(value)
            ),
        )
        .fix(fix);
}

fn shown(value: &str) -> String {
    if value.is_empty() {
        "empty".to_owned()
    } else {
        format!("\"{value}\"")
    }
}

/// What main.cf says of the transport.
pub(super) fn queue(postfix: &Postfix, name: &str, findings: &mut Findings) {
    let place = postfix.file("main.cf");
    let deferred = postfix.main("defer_transports");
    if !words(deferred).iter().any(|one| one == name) {
        findings
            .error(
                &place,
                format!("defer_transports does not name {name}, so Postfix tries the customers' mail all the time instead of waiting for them"),
            )
            .fix(format!("defer_transports = {}", joined(deferred, name)));
    }
    concurrency(postfix, name, &place, findings);
    let ttl = postfix.main("connection_cache_ttl_limit");
    match time(ttl) {
        Some(ttl) if ttl >= SHORT => {}
        Some(ttl) if !ttl.is_zero() => short(
            place,
            "connection_cache_ttl_limit",
            postfix.main("connection_cache_ttl_limit"),
            "connection_cache_ttl_limit = 60s",
            findings,
        ),
        _ => findings
            .error(
                place,
                format!(
                    "connection_cache_ttl_limit is {}, so no connection can be lent to Postfix",
                    shown(ttl)
                ),
            )
            .fix("connection_cache_ttl_limit = 60s"),
    }
}

/// How many deliveries at a time. Postfix tells of a service's own parameters only if there is the service.
fn concurrency(postfix: &Postfix, name: &str, place: &str, findings: &mut Findings) {
    if postfix.services(name).all(|service| service.kind != "unix") {
        return;
    }
    let parameter = format!("{name}_destination_concurrency_limit");
    let limit = match postfix.main(&parameter) {
        "" => postfix.main("default_destination_concurrency_limit"),
        own => own,
    };
    if limit != "1" {
        findings
            .error(
                place,
                format!("{parameter} is {limit}, but a customer has one connection: the second delivery at a time finds nobody and stops the others"),
            )
            .fix(format!("{parameter} = 1"));
    }
}
