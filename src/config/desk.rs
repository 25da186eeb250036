//! What a service shows of itself, and where: keys that `[serve]` and `[fetch]` have alike.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::keys::{self, Fallback, Key};
use super::section::Section;
use super::values::fault;

/// Where a service is asked for its status and its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desk {
    /// The control socket; `None` makes none.
    pub control: Option<PathBuf>,
    /// Where Prometheus asks.
    pub metrics: Option<SocketAddr>,
    /// What the node exporter reads.
    pub metrics_file: Option<PathBuf>,
}

/// The word for no control socket.
const NONE: &str = "none";

/// The keys of one table.
struct Keys {
    control: &'static Key,
    metrics: &'static Key,
    metrics_public: &'static Key,
    metrics_file: &'static Key,
}

impl Desk {
    /// Where the control sockets are unless the configuration says otherwise.
    #[must_use]
    pub fn usual_sockets() -> Vec<PathBuf> {
        let usual = |key: &Key| match key.fallback {
            Fallback::Value(text) => Some(PathBuf::from(text.trim_matches('"'))),
            Fallback::Required | Fallback::Unset(_) => None,
        };
        let all = [&keys::SERVE_CONTROL, &keys::FETCH_CONTROL];
        all.into_iter().filter_map(usual).collect()
    }

    pub(super) fn of_serve(section: &Section<'_>) -> Result<Self, ConfigError> {
        Self::read(
            section,
            &Keys {
                control: &keys::SERVE_CONTROL,
                metrics: &keys::SERVE_METRICS,
                metrics_public: &keys::SERVE_METRICS_PUBLIC,
                metrics_file: &keys::SERVE_METRICS_FILE,
            },
        )
    }

    pub(super) fn of_fetch(section: &Section<'_>) -> Result<Self, ConfigError> {
        Self::read(
            section,
            &Keys {
                control: &keys::FETCH_CONTROL,
                metrics: &keys::FETCH_METRICS,
                metrics_public: &keys::FETCH_METRICS_PUBLIC,
                metrics_file: &keys::FETCH_METRICS_FILE,
            },
        )
    }

    fn read(section: &Section<'_>, keys: &Keys) -> Result<Self, ConfigError> {
        let control = section.required(keys.control, |text| match text {
            NONE => Ok(None),
            text if Path::new(text).is_absolute() => Ok(Some(PathBuf::from(text))),
            text => Err(fault(
                format!("{text:?} is no absolute path"),
                "write the path of a socket, or \"none\"",
            )),
        })?;
        let public = section.switch(keys.metrics_public)?;
        let metrics = section.text(keys.metrics, |text| {
            let address: SocketAddr = text.parse().map_err(|_| {
                fault(
                    format!("{text:?} is not an address with a port"),
                    "write 127.0.0.1:9366 or [::1]:9366",
                )
            })?;
            if public || is_near(address.ip()) {
                return Ok(address);
            }
            Err(fault(
                format!(
                    "anybody may reach {}, and read how many customers there are",
                    address.ip()
                ),
                "name a loopback or private address, or say metrics_public = true",
            ))
        })?;
        let metrics_file = section.path(keys.metrics_file)?;
        let is_prom = |file: &PathBuf| file.extension().is_some_and(|end| end == "prom");
        if let Some(file) = metrics_file.as_ref().filter(|file| !is_prom(file)) {
            return Err(section.error(
                keys.metrics_file,
                &format!("{:?} does not end in .prom", file.display().to_string()),
                "the textfile collector reads no other files",
            ));
        }
        Ok(Self {
            control,
            metrics,
            metrics_file,
        })
    }
}

/// An address of this machine alone, or of a network that is not routed to everybody.
fn is_near(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}
