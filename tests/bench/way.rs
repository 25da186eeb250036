//! The ways that mail can take from the provider's Postfix to the customer's.

/// How the octets of a session of turnabout travel after the turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carriage {
    /// No TLS.
    Plain,
    /// TLS in turnabout, on both sides.
    Relay,
    /// TLS in the kernel, on both sides.
    Kernel,
}

impl Carriage {
    /// As `handoff_tls` and the log call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Relay => "relay",
            Self::Kernel => "kernel",
        }
    }

    /// Where the provider listens that carries so.
    pub fn port(self) -> u16 {
        match self {
            Self::Plain => 366,
            Self::Relay => 1366,
            Self::Kernel => 2366,
        }
    }
}

/// How the mail travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Postfix dials Postfix and keeps the connection: what turnabout is measured by.
    Direct,
    /// The same with Postfix's own TLS: smtp(8) encrypts in its own process, and so needs a
    /// connection for each message, as Postfix does by default.
    OwnTls,
    /// The same with `smtp_tls_connection_reuse = yes`: one connection, encrypted by tlsproxy(8)
    /// beside smtp(8).
    OwnTlsKept,
    /// `turnabout fetch` dials `turnabout serve`; Postfix to Postfix on that connection.
    Turnabout(Carriage),
    /// fetchmail dials `turnabout serve` and carries each message to the customer's port 25; with
    /// TLS through stunnel.
    Fetchmail(Carriage),
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct Postfix to Postfix",
            Self::OwnTls => "Postfix's own TLS in smtp(8), a connection for each message",
            Self::OwnTlsKept => "Postfix's own TLS in tlsproxy(8), one connection",
            Self::Turnabout(Carriage::Plain) => "turnabout",
            Self::Turnabout(Carriage::Relay) => "turnabout relay",
            Self::Turnabout(Carriage::Kernel) => "turnabout kernel",
            Self::Fetchmail(Carriage::Plain) => "fetchmail",
            Self::Fetchmail(_) => "stunnel and fetchmail",
        }
    }

    /// Postfix chooses the way by the recipient's domain (see [`PROVIDER`] and [`TLS_PROVIDER`]).
    pub fn domain(self) -> &'static str {
        match self {
            Self::Direct => "example.com",
            Self::OwnTls => "each.example.com",
            Self::OwnTlsKept => "kept.example.com",
            Self::Turnabout(_) | Self::Fetchmail(_) => "example.org",
        }
    }

    /// Whose `turnabout serve` takes part.
    pub fn carriage(self) -> Option<Carriage> {
        match self {
            Self::Turnabout(carriage) | Self::Fetchmail(carriage) => Some(carriage),
            Self::Direct | Self::OwnTls | Self::OwnTlsKept => None,
        }
    }

    /// Connections that the customer's Postfix sees, if the number is known.
    pub fn connections(self, messages: usize) -> Option<usize> {
        match self {
            Self::OwnTls => Some(messages),
            Self::Fetchmail(_) => None,
            Self::Direct | Self::OwnTlsKept | Self::Turnabout(_) => Some(1),
        }
    }
}

/// Beside the transport that operators are told to add, one that differs from it in its name
/// only. The next hop of the first is an address where nobody listens, of the second the customer's.
pub const PROVIDER: &str = "
cat >/etc/postfix/turnabout <<MAP
example.org odmr:[127.77.0.1]:24
example.com direct:[10.99.0.2]:25
MAP
sed -n '/^odmr /,$ p' /etc/postfix/master.cf >/etc/postfix/odmr
sed 's/odmr/direct/' /etc/postfix/odmr >>/etc/postfix/master.cf
postconf -e defer_transports=odmr,direct direct_destination_concurrency_limit=1
postfix reload
";

/// Two more, which differ from it in TLS only. Of the ciphers of TLS 1.3 the server takes the one
/// that its client names first, and that is AES-256-GCM with OpenSSL as with rustls. The settings
/// of main.cf are for tlsproxy(8), which wants to have been told itself.
pub const TLS_PROVIDER: &str = "
cat >>/etc/postfix/turnabout <<MAP
each.example.com each:[10.99.0.2]:25
kept.example.com kept:[10.99.0.2]:25
MAP
for name in each kept; do
    sed \"s/odmr/$name/; s/smtp_tls_security_level=none/smtp_tls_security_level=encrypt/\" /etc/postfix/odmr
    if [ $name = kept ]; then echo '  -o smtp_tls_connection_reuse=yes'; fi
    postconf -e ${name}_destination_concurrency_limit=1
done >/etc/postfix/tls
sed -i 's/^#tlsproxy /tlsproxy /' /etc/postfix/master.cf
cat /etc/postfix/tls >>/etc/postfix/master.cf
postconf -e defer_transports=odmr,direct,each,kept smtp_tls_security_level=encrypt smtp_tls_loglevel=1
postfix reload
";

/// The customer's port 25 with TLS for who wants it; KEY and CERTIFICATE are put in.
pub const TLS_CUSTOMER: &str = "
cat KEY CERTIFICATE >/etc/postfix/chain.pem
postconf -e smtpd_tls_security_level=may smtpd_tls_chain_files=/etc/postfix/chain.pem \\
    'mydestination = $myhostname, localhost, example.org, example.com, each.example.com, kept.example.com'
postfix reload
";
