//! Certificates made for one test, and a peer that is the TLS library itself over a plain socket, so that a test
//! decides which octets of which record are sent when.

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, Connection, RootCertStore, ServerConfig, SupportedProtocolVersion};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use turnabout::tls::{ClientSettings, ClientTls, Fingerprint, Pem, ServerTls, provider};
use turnabout::wire::Wire;
use zeroize::Zeroizing;

/// The name that most certificates here are for.
pub const HOST: &str = "provider.example.com";

/// A certificate with its key, in all forms a test needs.
pub struct Issued {
    pub pem: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

impl Issued {
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.der)
    }

    pub fn private(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    /// As if read from files.
    pub fn as_pem(&self) -> Pem {
        Pem {
            pair: turnabout::tls::KeyPair {
                certificate: PathBuf::from("/etc/turnabout/cert.pem"),
                key: PathBuf::from("/etc/turnabout/key.pem"),
            },
            certificate: self.pem.clone().into_bytes(),
            key: Zeroizing::new(self.key.clone().into_bytes()),
        }
    }
}

/// Parameters with a subject of their own, so that two certificates are never taken for issuer and issued.
pub fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names.clone()).unwrap();
    params
        .distinguished_name
        .push(DnType::CommonName, format!("for {}", names.join(" ")));
    params
}

/// Signed with its own key.
pub fn self_signed(params: &CertificateParams) -> Issued {
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Issued {
        pem: certificate.pem(),
        key: key.serialize_pem(),
        der: certificate.der().clone(),
    }
}

/// An authority of this test.
pub struct Authority {
    pub pem: String,
    pub der: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// No other has its name.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("authority {count} of this test"))
    }

    pub fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = params(&[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().clone(),
            issuer: Issuer::new(params, key),
        }
    }

    pub fn issue(&self, params: &CertificateParams) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued {
            pem: certificate.pem(),
            key: key.serialize_pem(),
            der: certificate.der().clone(),
        }
    }

    pub fn issue_for(&self, name: &str) -> Issued {
        self.issue(&params(&[name]))
    }

    /// The authority as a client of ours is told it, with the file it stands in.
    pub fn client(&self) -> (ClientTls, TempDir) {
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, &self.pem).unwrap();
        let settings = ClientSettings {
            ca_file: Some(ca_file),
            ..ClientSettings::default()
        };
        (ClientTls::new(&settings).unwrap(), directory)
    }
}

pub fn server(issued: &Issued) -> ServerTls {
    ServerTls::new(&[issued.as_pem()], None, false).unwrap()
}

/// A raw client's configuration that believes this certificate's issuer, or the certificate itself.
pub fn raw_client(
    root: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub fn raw_server(issued: &Issued, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![issued.der.clone()], issued.private())
        .unwrap()
}

pub const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
pub const ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];

/// The other end of the socket.
pub struct Peer {
    pub socket: TcpStream,
    pub tls: Connection,
}

impl Peer {
    pub fn client(socket: TcpStream, config: ClientConfig, name: &str) -> Self {
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let tls = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
        Self::new(socket, tls.into())
    }

    pub fn server(socket: TcpStream, config: ServerConfig) -> Self {
        let tls = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        Self::new(socket, tls.into())
    }

    fn new(socket: TcpStream, mut tls: Connection) -> Self {
        tls.set_buffer_limit(None);
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        Self { socket, tls }
    }

    /// Handshakes to its end; or says why there is none.
    pub fn handshake(&mut self) -> std::io::Result<()> {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.socket)?;
        }
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.socket)?;
        }
        Ok(())
    }

    /// The record, or records, that carry this text, not yet sent.
    pub fn record(&mut self, text: &str) -> Vec<u8> {
        self.tls.writer().write_all(text.as_bytes()).unwrap();
        self.waiting()
    }

    /// The record that says that this side changes its keys.
    pub fn key_update(&mut self) -> Vec<u8> {
        self.tls.refresh_traffic_keys().unwrap();
        self.waiting()
    }

    pub fn close_notify(&mut self) -> Vec<u8> {
        self.tls.send_close_notify();
        self.waiting()
    }

    fn waiting(&mut self) -> Vec<u8> {
        let mut octets = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut octets).unwrap();
        }
        octets
    }

    pub fn send(&mut self, octets: &[u8]) {
        self.socket.write_all(octets).unwrap();
    }

    pub fn say(&mut self, text: &str) {
        let record = self.record(text);
        self.send(&record);
    }

    /// All that the other side says, and whether it ended TLS before the connection.
    pub fn rest(&mut self) -> (String, std::io::Result<()>) {
        let mut said = Vec::new();
        let end = self.read_to_end(&mut said);
        (String::from_utf8(said).unwrap(), end.map(drop))
    }

    /// Reads one line, octet by octet.
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut octet = [0];
            self.read_exact(&mut octet).unwrap();
            line.extend(octet);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }
}

impl Read for Peer {
    fn read(&mut self, octets: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.tls.reader().read(octets) {
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                done => return done,
            }
            self.tls.read_tls(&mut self.socket)?;
            self.tls
                .process_new_packets()
                .map_err(std::io::Error::other)?;
        }
    }
}

/// A wire, the peer's socket, and a second look at the wire's own.
pub struct Ends {
    pub wire: Wire,
    pub peer: TcpStream,
    pub watch: TcpStream,
}

/// Two ends of a connection; must stand in a runtime.
pub fn ends() -> Ends {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    peer.set_nodelay(true).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nonblocking(true).unwrap();
    let watch = ours.try_clone().unwrap();
    let wire = Wire::new(tokio::net::TcpStream::from_std(ours).unwrap(), 512).unwrap();
    Ends { wire, peer, watch }
}

impl Ends {
    /// What lies in the kernel, unread.
    pub fn unread(&self) -> Vec<u8> {
        let mut octets = vec![0; 100_000];
        match self.watch.peek(&mut octets) {
            Ok(count) => octets.truncate(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => octets.clear(),
            Err(error) => panic!("{error}"),
        }
        octets
    }
}

/// A wire that is a server, and a raw client, after their handshake.
pub async fn secured_server() -> (Ends, Peer) {
    secured_server_with(BOTH).await
}

pub async fn secured_server_with(versions: &[&'static SupportedProtocolVersion]) -> (Ends, Peer) {
    let issued = self_signed(&params(&[HOST]));
    let mut ends = ends();
    let config = raw_client(&issued.der, versions);
    let mut peer = Peer::client(ends.peer.try_clone().unwrap(), config, HOST);
    let peer = std::thread::spawn(move || {
        peer.handshake().unwrap();
        peer
    });
    ends.wire.accept_tls(&server(&issued)).await.unwrap();
    (ends, peer.join().unwrap())
}

/// A wire that is a client, and a raw server, after their handshake. The server has sent its tickets.
pub async fn secured_client() -> (Ends, Peer) {
    let authority = Authority::new();
    let (client, _files) = authority.client();
    let mut ends = ends();
    let config = raw_server(&authority.issue_for(HOST), BOTH);
    let mut peer = Peer::server(ends.peer.try_clone().unwrap(), config);
    let peer = std::thread::spawn(move || {
        peer.handshake().unwrap();
        peer
    });
    ends.wire.connect_tls(&client, HOST).await.unwrap();
    (ends, peer.join().unwrap())
}

pub fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(test)
}
