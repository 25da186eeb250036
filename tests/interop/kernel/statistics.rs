//! What the kernel counts of its TLS, in each network by itself: `/proc/net/tls_stat`.

use std::collections::BTreeMap;

use crate::lab::Host;

/// One reading.
#[derive(Debug, Clone)]
pub struct Statistics(BTreeMap<String, u64>);

impl Statistics {
    /// Of the test's own network.
    pub fn here() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/net/tls_stat").unwrap())
    }

    /// Of a host's network.
    pub fn of(host: &Host) -> Self {
        Self::parse(&host.run("cat", &["/proc/net/tls_stat"]))
    }

    fn parse(text: &str) -> Self {
        let numbers = text.lines().filter_map(|line| {
            let (name, number) = line.split_once(char::is_whitespace)?;
            Some((name.to_owned(), number.trim().parse().ok()?))
        });
        Self(numbers.collect())
    }

    /// One number, which must be there.
    pub fn get(&self, name: &str) -> u64 {
        *self
            .0
            .get(name)
            .unwrap_or_else(|| panic!("no {name} in {self:?}"))
    }

    /// Connections whose sending, and whose receiving, the kernel has ever been given.
    pub fn sessions(&self) -> [u64; 2] {
        ["TlsTxSw", "TlsRxSw"].map(|name| self.get(name))
    }

    /// Everything that came was what the peer had sent.
    pub fn assert_no_error(&self) {
        for name in ["TlsDecryptError", "TlsRxDeviceResync", "TlsDecryptRetry"] {
            // Not every kernel counts the last.
            assert_eq!(self.0.get(name).copied().unwrap_or(0), 0, "{self:?}");
        }
        assert!(self.0.contains_key("TlsDecryptError"), "{self:?}");
    }
}
