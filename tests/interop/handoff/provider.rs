//! The provider's side of a turn, without the negotiation: a connection that is turned already, and its first words.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use turnabout::handoff::{Ended, Reversed};
use turnabout::smtp::domain::DomainList;
use turnabout::smtp::ehlo::Offer;
use turnabout::smtp::reply::ReplyReader;
use turnabout::wire::{Relays, Wire};

/// A place where customers dial in.
pub struct Port(TcpListener);

impl Port {
    pub async fn open() -> (Self, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Self(listener), address)
    }

    /// Accepts a customer and speaks the first words with it.
    pub async fn turned(&self, domains: &str, next_hops: &[&str], session: &str) -> Reversed {
        let (stream, _) = self.0.accept().await.unwrap();
        let mut wire = Wire::new(stream, 4096).unwrap();
        reply(&mut wire).await;
        wire.send(b"EHLO provider.example.com\r\n").await.unwrap();
        let offer = Offer::parse(&reply(&mut wire).await);
        Reversed {
            released: wire.release(&Relays::default()).await.unwrap(),
            customer: offer.domain.clone(),
            offer,
            domains: DomainList::parse_atrn(domains).unwrap(),
            next_hops: next_hops
                .iter()
                .map(|next_hop| next_hop.parse().unwrap())
                .collect(),
            session: session.to_owned(),
        }
    }
}

async fn reply(wire: &mut Wire) -> turnabout::smtp::reply::Reply {
    let mut reader = ReplyReader::new();
    loop {
        let line = tokio::time::timeout(Duration::from_secs(10), wire.line())
            .await
            .unwrap()
            .unwrap();
        if let Some(reply) = reader.feed_line(line).unwrap() {
            return reply;
        }
    }
}

/// Nobody asks to shut down.
pub fn nobody_stops() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    // The channel stays open for as long as the test runs.
    std::mem::forget(sender);
    receiver
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

pub fn say(ended: &Ended) {
    println!("ended: {ended:?}");
}
