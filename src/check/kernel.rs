//! TLS in the kernel: is its module there, and so on what way will sessions go?

use super::finding::Findings;
use super::machine::Machine;
use crate::config::{Config, ProviderHandoff, ProviderTls};
use crate::tls::HandoffTls;
use crate::wire::KernelTls;

/// How the module is loaded now and at each start.
const LOAD: &str = "modprobe tls && echo tls > /etc/modules-load.d/turnabout.conf";

/// What sessions under TLS need, for both roles.
pub(super) fn check(config: &Config, machine: &Machine, findings: &mut Findings) {
    let mut wishes: Vec<(String, HandoffTls)> = Vec::new();
    if let Some(serve) = config.serve.as_ref().filter(|serve| serve.has_tls()) {
        let exim = serve.handoff == ProviderHandoff::EximContinue;
        if exim && serve.handoff_tls == HandoffTls::Auto {
            findings.note(
                "serve.handoff_tls",
                "sessions under TLS go through the relay: Exim's QUIT is lost in the kernel's TLS",
            );
        } else {
            wishes.push(("serve.handoff_tls".to_owned(), serve.handoff_tls));
        }
    }
    for provider in &config.providers {
        if provider.tls != ProviderTls::None {
            let place = format!("providers.{}.handoff_tls", provider.name);
            wishes.push((place, provider.handoff_tls));
        }
    }
    wishes.retain(|(_, wish)| *wish != HandoffTls::Relay);
    if wishes.is_empty() {
        return;
    }
    let missing = missing(machine);
    for (place, wish) in wishes {
        match (&missing, wish) {
            (None, _) => findings.note(
                place,
                "sessions under TLS 1.3 go to the mail server through the kernel's TLS, others through the relay",
            ).end(),
            (Some(why), HandoffTls::Kernel) => findings
                .error(place, format!("{why}, and handoff_tls = \"kernel\" refuses every session then"))
                .fix(LOAD),
            (Some(why), _) => findings
                .note(place, format!("{why}, so sessions under TLS go through the relay (it works, at the price of this process staying in between)"))
                .fix(LOAD),
        }
    }
}

/// Why the kernel does not encrypt; `None` if it does. The module is not loaded by this look.
fn missing(machine: &Machine) -> Option<String> {
    if !machine.path("/proc/net/tls_stat").exists() {
        return Some("the kernel's module tls is not loaded".to_owned());
    }
    let tried = KernelTls::tried();
    let first = tried.iter().find_map(|(_, result)| result.as_ref().err());
    match first {
        Some(error) if tried.iter().all(|(_, result)| result.is_err()) => {
            Some(format!("the kernel's TLS does not work here: {error}"))
        }
        _ => None,
    }
}
