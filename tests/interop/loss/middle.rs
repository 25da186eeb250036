//! The proxy's own TLS: to the customer it is the provider, to the provider it is the customer.
//!
//! Its certificate is good, as somebody's may be who has got one by fraud.

use std::sync::Arc;

use rustls::{
    ClientConfig, ClientConnection, Connection, ServerConfig, ServerConnection,
    SupportedProtocolVersion,
};

use crate::lab::{Mode, Pair, client_config, server_config};

/// How the proxy gets into sessions over TLS.
#[derive(Debug)]
pub struct Middle {
    pub mode: Mode,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Middle {
    pub fn new(mode: Mode, version: &'static SupportedProtocolVersion, pair: &Pair) -> Self {
        Self {
            mode,
            server: Arc::new(server_config(pair, &[version])),
            client: Arc::new(client_config(&[version])),
        }
    }

    pub fn to_customer(&self) -> Connection {
        ServerConnection::new(Arc::clone(&self.server))
            .unwrap()
            .into()
    }

    pub fn to_provider(&self) -> Connection {
        let name = "provider.test".try_into().unwrap();
        ClientConnection::new(Arc::clone(&self.client), name)
            .unwrap()
            .into()
    }
}
