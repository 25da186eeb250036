//! The mail server sees the provider at its own address and grants it nothing, as without TLS.

use crate::lab::{Mode, Mta};
use crate::trust::{hosts, tries_to_relay_carried_by};

fn tries_to_relay(customer_mta: Mta, address: &str, mode: Mode) {
    let (_lab, provider, customer) = hosts(customer_mta);
    tries_to_relay_carried_by("kernel", &customer, &provider, address, mode);
}

/// Rules: C9
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn postfix_pass_shows_the_providers_address_and_refuses_to_relay() {
    tries_to_relay(Mta::Postfix, "10.99.0.1", Mode::Starttls);
}

/// Rules: C9
#[test]
#[ignore = "needs TLS in the kernel: kernel/mod.rs runs it in a guest"]
fn exec_of_exim_shows_the_providers_ipv6_address_and_refuses_to_relay() {
    tries_to_relay(Mta::Exim, "[fd00:99::1]", Mode::Implicit);
}
