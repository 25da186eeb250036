//! The table of keys: every key of `turnabout.toml` with its type, its default and a paragraph.
//!
//! The loader reads by this table (an unknown key is one that is not here, a default is the text
//! that stands here), and the manual page turnabout.toml(5) is held against it by a test.

/// A table of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Table {
    /// `[serve]`
    Serve,
    /// `[serve.limits]`
    Limits,
    /// `[serve.postfix]`
    Postfix,
    /// `[serve.exim]`
    Exim,
    /// `[fetch]`
    Fetch,
    /// `[providers.NAME]`
    Provider,
}

impl Table {
    /// Every table, in the order of the manual page.
    pub const ALL: &[Table] = &[
        Table::Serve,
        Table::Limits,
        Table::Postfix,
        Table::Exim,
        Table::Fetch,
        Table::Provider,
    ];

    /// The name as it is written in the file; `NAME` stands for the operator's choice.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Table::Serve => "serve",
            Table::Limits => "serve.limits",
            Table::Postfix => "serve.postfix",
            Table::Exim => "serve.exim",
            Table::Fetch => "fetch",
            Table::Provider => "providers.NAME",
        }
    }

    /// What the table is for, in one sentence.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Table::Serve => "The provider: the service that holds the mail and is asked for it.",
            Table::Limits => {
                "What one connection, one address and all connections together may take."
            }
            Table::Postfix => "Used with handoff = \"postfix-cache\".",
            Table::Exim => "Used with handoff = \"exim-continue\".",
            Table::Fetch => "The customer: what holds for every provider.",
            Table::Provider => {
                "One provider to fetch mail from; NAME is what is given to turnabout fetch."
            }
        }
    }

    /// The keys of this table, in the order of the manual page.
    pub fn keys(self) -> impl Iterator<Item = &'static Key> {
        ALL.iter().filter(move |key| key.table == self)
    }
}

/// The type of a key's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A string.
    Text,
    /// A string: an absolute path.
    Path,
    /// A string such as `"30s"` or `"1h 30m"`.
    Duration,
    /// A whole number.
    Number,
    /// `true` or `false`.
    Switch,
    /// A list of strings.
    List,
}

impl Kind {
    /// The type in the words of the manual page.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Kind::Text => "string",
            Kind::Path => "string, an absolute path",
            Kind::Duration => "string, a duration",
            Kind::Number => "whole number",
            Kind::Switch => "true or false",
            Kind::List => "list of strings",
        }
    }
}

/// What holds when a key is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// The key must be given.
    Required,
    /// The key may be left out; the words say what happens then.
    Unset(&'static str),
    /// This value, as it would be written in the file.
    Value(&'static str),
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    /// The table it belongs to.
    pub table: Table,
    /// Its name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// What holds without it.
    pub fallback: Fallback,
    /// What it does, in plain sentences.
    pub about: &'static str,
}

macro_rules! keys {
    ($($id:ident = $table:ident.$name:literal $kind:ident $fallback:expr; $about:literal)*) => {
        $(
            #[doc = $about]
            pub const $id: Key = Key {
                table: Table::$table,
                name: $name,
                kind: Kind::$kind,
                fallback: $fallback,
                about: $about,
            };
        )*
        /// Every key, in the order of the manual page.
        pub const ALL: &[Key] = &[$($id),*];
    };
}

use Fallback::{Required, Unset, Value};

keys! {
    SERVE_LISTEN = Serve."listen" List Value(r#"["[::]:366", "0.0.0.0:366"]"#);
        "Addresses and ports to listen on. An IPv6 address accepts IPv6 only, so that both families are \
        listed here and nothing depends on the system. ODMR has port 366 (RFC 2645 section 4); port 0 \
        takes any free port and logs it."
    SERVE_LISTEN_TLS = Serve."listen_tls" List Value("[]");
        "Addresses and ports where TLS begins with the first octet (implicit TLS, RFC 8314 section 3). No port is \
        registered for it: agree on one with the customers. With one address here, listen may be empty."
    SERVE_TLS = Serve."tls" Text Value(r#""required""#);
        "TLS on the addresses of listen, begun with STARTTLS. \"required\": nothing but that is taken before it. \
        \"offered\": a customer may do without, and PLAIN and LOGIN are then not offered to it, \
        unless plaintext_without_tls is true. \"none\": no STARTTLS, for lines that are protected otherwise, such as a \
        tunnel."
    SERVE_CERTIFICATE = Serve."certificate" List Unset("must be given, unless no address has TLS");
        "Files in PEM, each with a certificate and behind it those that lead to its authority, as Let's Encrypt's \
        fullchain.pem. Several names: the customer is shown the first that is valid for the name it asks for, \
        otherwise the first of all. The files are read again on SIGHUP and when they change."
    SERVE_KEY = Serve."key" List Unset("must be given, unless no address has TLS");
        "Files in PEM with the private keys, in the order of certificate. They are read as root where turnabout serve \
        is started as root; one file may hold both."
    SERVE_CLIENT_CA = Serve."client_ca" Path Unset("a customer's certificate is known by its fingerprint only");
        "A file in PEM with the authorities that may vouch for customers' certificates. It is needed for accounts whose \
        certificates are named by a dns: name. For customers only, never a list of public authorities."
    SERVE_HANDOFF_TLS = Serve."handoff_tls" Text Value(r#""auto""#);
        "Who encrypts after the turn. \"kernel\": the mail server gets the TCP connection itself and the kernel encrypts; \
        a session that it cannot carry is refused. \"relay\": turnabout encrypts, and the mail server \
        gets a pipe to it. \"auto\": the kernel wherever it carries a session whole, which it does not for Exim on \
        the provider's side."
    SERVE_HOSTNAME = Serve."hostname" Text Unset("the fully qualified name of this machine");
        "The name this provider greets with and says EHLO with. It must be fully qualified. Without this key the \
        machine's own name is taken, with the domain that /etc/hosts gives it; no name server is asked."
    SERVE_ACCOUNTS = Serve."accounts" Path Value(r#""/etc/turnabout/accounts.toml""#);
        "The accounts file: who may fetch which domains. It is made and changed with turnabout passwd, and \
        refused if other users can read it."
    SERVE_HANDOFF = Serve."handoff" Text Value(r#""postfix-cache""#);
        "How a turned connection is given to the mail server that holds the queue. \"postfix-cache\" lends it \
        to a running Postfix through its connection cache; \"exim-continue\" starts Exim on it."
    SERVE_USER = Serve."user" Text Unset("the mail server's own user: mail_owner of Postfix, the Exim user");
        "The user to become once the ports are open. The mail server's own user is right, since the hand-off \
        needs its sockets; root is refused."
    SERVE_MECHANISMS = Serve."mechanisms" List Value(r#"["EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN"]"#);
        "SASL mechanisms to offer, of EXTERNAL, SCRAM-SHA-256, SCRAM-SHA-1, CRAM-MD5, PLAIN and LOGIN. A mechanism works \
        only for accounts whose stored credential suits it: CRAM-MD5 needs {PLAIN}, EXTERNAL needs certificates. Each \
        SCRAM stands for its -PLUS form as well, which is bound to the TLS connection (TLS 1.3 only). EXTERNAL is offered \
        inside TLS only, and so are PLAIN and LOGIN unless plaintext_without_tls is true."
    SERVE_PLAINTEXT = Serve."plaintext_without_tls" Switch Value("false");
        "Offer PLAIN and LOGIN, where mechanisms lists them, outside TLS too, although anybody on the way can read the \
        password. Meant for connections that are protected otherwise, such as a tunnel."
    SERVE_SOURCES = Serve."sources" List Value("[]");
        "Networks that may connect at all, such as \"192.0.2.0/24\" or \"2001:db8::/32\"; the empty list means \
        everybody. It is an additional fence (RFC 2645 section 8): a peer inside still has to authenticate."
    SERVE_RETRY = Serve."retry_interval" Duration Value(r#""0s""#);
        "A customer that asks again for its mail sooner than this is told 450 (RFC 2645 section 5.2.1 allows \
        it). 0s lets it ask as often as it likes."
    SERVE_LANDLOCK = Serve."landlock" Switch Value("true");
        "Confine the process, once it has started, to the files it needs, where the kernel has Landlock. It is done \
        with handoff = \"postfix-cache\" only: Exim, which turnabout starts, needs more."
    SERVE_RUNTIME = Serve."runtime_directory" Path Value(r#""/run/turnabout/serve""#);
        "Where the processes of this service tell one another which customer is being served, so that none is served \
        twice at a time however many there are (inetd starts one for each connection). It belongs to the service's \
        user, nobody else may write there, and it is made if turnabout is started as root and it is not there. Nothing in \
        it is needed after a restart."
    SERVE_CONTROL = Serve."control" Text Value(r#""/run/turnabout/serve/control.sock""#);
        "The socket on which turnabout status asks this service. Only root, the service's own user and members of the \
        socket's group are answered. Where it cannot be made the service goes on without it. \"none\" makes none."
    SERVE_METRICS = Serve."metrics" Text Unset("no metrics on a port");
        "An address and port, such as \"127.0.0.1:9366\", where Prometheus finds metrics at /metrics. Whoever can \
        connect there can read them, so only an address of this machine alone or of a private network is taken; see \
        metrics_public."
    SERVE_METRICS_PUBLIC = Serve."metrics_public" Switch Value("false");
        "Let metrics be an address that anybody may reach."
    SERVE_METRICS_FILE = Serve."metrics_file" Path Unset("no file with metrics");
        "A file to write the metrics to, four times a minute, for the textfile collector of the node exporter: its name must \
        end in .prom. The service's user must be able to write into its directory."

    LIMIT_CONNECTIONS = Limits."connections" Number Value("10000");
        "Connections open at the same time. For one more, one that has not logged in is told 421 and closed: of the \
        network that most of those come from (an IPv4 /24, an IPv6 /56), the oldest. If all have logged in, the new one \
        is told 421 and closed."
    LIMIT_PER_ADDRESS = Limits."connections_per_address" Number Value("100");
        "Connections open at the same time from one IPv4 address or one IPv6 /64. One more is told 421 and closed."
    LIMIT_UNAUTHENTICATED = Limits."unauthenticated_percent" Number Value("80");
        "How many of the connections may be ones that have not logged in, in percent. For one more, one of them is told \
        421 and closed, as for connections. So strangers never take the place of customers."
    LIMIT_HANDSHAKES = Limits."handshakes" Number Value("500");
        "TLS handshakes at the same time. For one more, one of them is closed, chosen as for connections. So the work that \
        strangers can give the processor at one time is bounded."
    LIMIT_COMMAND = Limits."command_time" Duration Value(r#""5m""#);
        "How long to wait for the next command, and for a reply to be taken. RFC 5321 section 4.5.3.2.7 \
        recommends at least five minutes; less is allowed here because nothing but a login happens before the turn."
    LIMIT_LOGIN = Limits."login_time" Duration Value(r#""5m""#);
        "The whole time from the connection to a successful AUTH, and again from there to the turn, so that a \
        peer that sends one octet every few minutes does not stay for ever."
    LIMIT_HANDSHAKE = Limits."handshake_time" Duration Value(r#""30s""#);
        "How long a TLS handshake may take."
    LIMIT_GREETING = Limits."greeting_time" Duration Value(r#""5m""#);
        "How long to wait after the turn for the customer's mail server to greet with 220 and to answer EHLO \
        (RFC 5321 section 4.5.3.2.1 recommends five minutes)."
    LIMIT_QUEUE = Limits."queue_time" Duration Value(r#""60s""#);
        "How long the mail server may take to say whether mail is waiting; after that the customer is told \
        451. At most five minutes, since some customers give up waiting for ATRN then."
    LIMIT_AUTH = Limits."auth_failures" Number Value("3");
        "Failed logins on one connection; after that many the next AUTH is told 421 and closed. At least 3 (RFC 4954 section 9)."
    LIMIT_BAD = Limits."bad_commands" Number Value("10");
        "Commands on one connection that are unknown, malformed or out of place; the connection is closed with \
        421 after that many."

    LIMIT_RELAY_IDLE = Limits."relay_idle_time" Duration Value(r#""20m""#);
        "How long nothing may flow either way through the relay before the connection is given up. At least fifteen minutes: \
        mail servers may wait ten for a reply (RFC 5321 section 4.5.3.2)."
    LIMIT_STOP = Limits."stop_time" Duration Value(r#""5m""#);
        "How long connections that go through the relay may go on after SIGTERM. Those that are with the mail server \
        itself do not need turnabout any more."
    LIMIT_LENT = Limits."lent_time" Duration Value(r#""10m""#);
        "Started by inetd in wait mode: how long nobody may be connected before turnabout exits, so that inetd listens \
        again and starts it for the next customer. No other start looks at it."

    POSTFIX_SERVICE = Postfix."service" Text Value(r#""odmr""#);
        "The name of the delivery service for on-demand domains, the first column of its line in master.cf and the \
        transport in transport_maps."
    POSTFIX_COMMANDS = Postfix."command_directory" Path Value(r#""/usr/sbin""#);
        "Where postconf, postqueue and postkick are."
    POSTFIX_CONFIG = Postfix."config_directory" Path Unset("Postfix's own default");
        "The configuration directory of the Postfix instance to use."
    POSTFIX_IDLE = Postfix."idle_time" Duration Value(r#""10s""#);
        "How long a turned connection over which nothing flows stays open once the queue for the granted \
        domains is empty, so that mail that arrives meanwhile still goes along."
    POSTFIX_TOTAL = Postfix."total_time" Duration Value(r#""1h""#);
        "The longest a turned connection stays with Postfix. What is left in the queue then waits for the next ATRN."

    EXIM_COMMAND = Exim."command" Path Value(r#""/usr/sbin/exim4""#);
        "The Exim program."
    EXIM_TRANSPORT = Exim."transport" Text Value(r#""odmr""#);
        "The name of the smtp transport for on-demand domains in Exim's configuration."
    EXIM_TOTAL = Exim."total_time" Duration Value(r#""1h""#);
        "The longest a turned connection stays with Exim. What is left in the queue then waits for the next ATRN."

    FETCH_HOSTNAME = Fetch."hostname" Text Unset("the fully qualified name of this machine, or its address as a literal");
        "The name to say EHLO with: a fully qualified name or an address literal such as \"[192.0.2.1]\"."
    FETCH_STATE = Fetch."state_directory" Path Value(r#""/var/lib/turnabout""#);
        "Where is kept what is worth to know the next time: which providers the kernel's TLS could not serve. It is made \
        when it is needed; nothing is lost with it."
    FETCH_CONTROL = Fetch."control" Text Value(r#""/run/turnabout/fetch/control.sock""#);
        "With fetch --daemon: the socket on which turnabout status asks it. Only root, the daemon's own user and members \
        of the socket's group are answered. Where it cannot be made the daemon goes on without it. \"none\" makes none."
    FETCH_METRICS = Fetch."metrics" Text Unset("no metrics on a port");
        "With fetch --daemon: as the key of the same name in [serve]."
    FETCH_METRICS_PUBLIC = Fetch."metrics_public" Switch Value("false");
        "Let metrics be an address that anybody may reach."
    FETCH_METRICS_FILE = Fetch."metrics_file" Path Unset("no file with metrics");
        "As the key of the same name in [serve]. A turnabout fetch that ends by itself writes into it how each provider fared, when \
        it last went well, and nothing else; what the file says of other providers stays."

    HOST = Provider."host" Text Required;
        "The provider's name or address. All its addresses are tried, IPv6 and IPv4."
    PORT = Provider."port" Number Value("366");
        "The provider's port. ODMR has 366; some manuals print 386 by mistake, and some providers believed them."
    TLS = Provider."tls" Text Value(r#""starttls""#);
        "\"starttls\": nothing is told to a provider that does not begin TLS when asked. \"implicit\": TLS from the first \
        octet, on a port that the provider names (set port). \"none\": no TLS, for lines that are protected \
        otherwise, such as a tunnel."
    CA_FILE = Provider."ca_file" Path Unset("the authorities that this machine trusts");
        "A file in PEM with the authorities to trust for this provider in place of those of the system. For a \
        self-signed certificate use fingerprint."
    FINGERPRINT = Provider."fingerprint" List Unset("any certificate that is valid for host");
        "The provider's certificate by its SHA-256, as \"sha256:...\"; more than one, while it changes. No other \
        certificate is taken then, and this one whatever its name, its dates and its authority. A refused certificate is \
        reported with its fingerprint, ready to paste."
    CERTIFICATE = Provider."certificate" Path Unset("none is shown");
        "A file in PEM with the customer's own certificate, for providers that know their customers by it (mechanism \
        EXTERNAL). The mechanisms that need a password may be used beside it, if there is one."
    KEY = Provider."key" Path Unset("must be given with certificate");
        "A file in PEM with the private key of certificate; one file may hold both."
    USER = Provider."user" Text Required;
        "The user name to authenticate with. What may be fetched depends on it alone."
    PASSWORD_FILE = Provider."password_file" Path Unset("password_command or certificate must be given");
        "A file whose first line is the password. It is refused if other users can read it."
    PASSWORD_COMMAND = Provider."password_command" List Unset("password_file or certificate must be given");
        "A program and its arguments that print the password as their first line; run without a shell, and \
        given one minute. Give either this or password_file."
    DOMAINS = Provider."domains" List Value("[]");
        "The domains to ask for. The empty list asks for all domains the provider has for this user (RFC 2645 \
        section 5.2.1). The provider sends nothing at all if one of them is not granted. Names have at least \
        two labels; internationalised names are written in their xn-- form. More than fits in one command \
        line of 512 octets is refused."
    MECHANISMS = Provider."mechanisms" List
        Value(r#"["EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN", "LOGIN"]"#);
        "SASL mechanisms that may be used. The strongest that the provider offers is taken; after a refusal no \
        weaker one is tried. EXTERNAL, the login by certificate, comes first and needs certificate. Each SCRAM stands \
        for its -PLUS form as well."
    PLAINTEXT = Provider."plaintext_without_tls" Switch Value("false");
        "With tls = \"none\": use PLAIN or LOGIN if the provider offers nothing better, although anybody on the way can \
        read the password."
    CONNECT_TIME = Provider."connect_time" Duration Value(r#""30s""#);
        "How long to try to connect to one address, and how long a TLS handshake may take."
    COMMAND_TIME = Provider."command_time" Duration Value(r#""5m""#);
        "How long to wait for the greeting and for each reply except that to ATRN."
    ATRN_TIME = Provider."atrn_time" Duration Value(r#""10m""#);
        "How long to wait for the reply to ATRN. Less than ten minutes is refused: RFC 2645 section 5.2.1 \
        demands at least that (rule R16)."
    HANDOFF = Provider."handoff" Text Value(r#""postfix-pass""#);
        "How the turned connection is given to this machine's mail server. \"postfix-pass\" passes it to a running \
        Postfix; \"exec\" starts a program with the connection on its standard input and output, as inetd does; \
        \"catch\" sends it to turnabout catch in another container; \"relay\" connects to a mail server that listens \
        somewhere, on this host or another."
    SOCKET = Provider."socket" Path Value(r#""/var/spool/postfix/private/odmr""#);
        "With postfix-pass: the socket of a service of type pass in Postfix's master.cf. It lies in a directory \
        that only root and Postfix's own user can enter. With catch, where it has no default: the socket of turnabout catch, \
        in a directory that both containers share and where only the two may write."
    RECEIVER_UID = Provider."receiver_uid" Number Unset("root, the user that runs turnabout, or the owner of the socket's directory");
        "With catch: the number of the user that runs turnabout catch. Nobody else is given a connection who listens on \
        the socket."
    COMMAND = Provider."command" List Unset("must be given with exec");
        "With exec: the program, by its absolute path, and its arguments, for example [\"/usr/sbin/exim4\", \"-bs\"]. \
        No shell is involved, except that one reads the settings of Courier's courieresmtpd. Postfix's sendmail -bs is \
        refused, since it takes whoever talks to it for \
        a local user and would relay anything."
    COMMAND_USER = Provider."command_user" Text Unset("the user that runs turnabout");
        "With exec: the user to run the program as."
    COMMAND_PEER = Provider."command_peer" Text Unset("told from the program's name");
        "With exec, for the relay: how the program learns the provider's address, since it cannot ask the kernel then. \
        \"exim\": by -oMa and -oMi behind its other arguments. \"environment\": by TCPREMOTEIP and its like (UCSPI), \
        as qmail-smtpd and its kin read them. Exim and Courier are known by their names. A program that can do neither is \
        not started: it would take the provider for somebody on this machine."
    RELAY_TO = Provider."relay_to" Text Unset("must be given with relay");
        "With relay: where the mail server listens, as \"127.0.0.1:24\", \"mail.example.org:24\" or \
        \"unix:/run/mail.sock\"; an IPv6 address stands in brackets. The port is one of its own, where it expects the PROXY \
        header and nobody else can connect; on this machine below 1024, lest any user listen there in its place."
    PROXY = Provider."proxy" Text Value(r#""v2""#);
        "With relay: the version of the PROXY header, \"v1\" or \"v2\", that tells the mail server the provider's \
        address. A mail server that greets without the header is refused before ATRN: it would take the provider for \
        this machine. \"none\" sends no header, and needs i_know."
    I_KNOW = Provider."i_know" Switch Value("false");
        "With relay and proxy = \"none\": true says that the mail server may take the provider for this machine. \
        A mail server that trusts this machine, as most do, relays anything for the provider then. With exec, relay and \
        catch: true says that the provider is reached at a loopback address, as at the end of a tunnel, which the mail \
        server is told, and that it relays for nobody there; turnabout catch takes it with --allow-loopback only."
    HANDOFF_TLS = Provider."handoff_tls" Text Value(r#""auto""#);
        "Who encrypts after the turn. \"kernel\": the mail server gets the TCP connection itself and the kernel encrypts; \
        a session that it cannot carry is refused. \"relay\": turnabout encrypts, and the mail server \
        gets a pipe to it. \"auto\": the kernel wherever it carries a session whole."
    INTERVAL = Provider."interval" Duration Value(r#""15m""#);
        "With fetch --daemon: how long after a fetch that went well to fetch again. At least a minute."
    JITTER = Provider."jitter" Duration Value(r#""1m""#);
        "With fetch --daemon: up to this much is added to each wait, by chance, so that not all customers of a provider \
        come at the same moment."
    RETRY_FIRST = Provider."retry_first" Duration Value(r#""1m""#);
        "With fetch --daemon: how long to wait after a fetch that failed. Each further failure doubles it, up to \
        retry_longest. At least a minute."
    RETRY_LONGEST = Provider."retry_longest" Duration Value(r#""1h""#);
        "With fetch --daemon: the longest wait after failures. What will not mend by itself, such as a wrong password, waits \
        this long from the first, or interval if that is longer: a password that is tried again and again may lock the \
        account."
    QUIET_HOURS = Provider."quiet_hours" List Value("[]");
        "With fetch --daemon: spans of the day in local time, such as \"22:00-06:00\", in which no fetch begins by itself. \
        One that is due then is made at the end, with the jitter that it had. SIGUSR1 and fetch --now are obeyed all the \
        same."
    HOOK_BEFORE = Provider."hook_before" List Unset("nothing runs");
        "A program by its absolute path, and its arguments, to run before the provider is dialled, for example to bring up \
        a line; no shell is involved. If it fails or takes longer than hook_time nobody is dialled, and the fetch has \
        failed with 75. What it is told is in turnabout-fetch(8)."
    HOOK_AFTER = Provider."hook_after" List Unset("nothing runs");
        "The same when the fetch has ended, well or not, and also if hook_before failed, so that a line is put down again: \
        how the fetch ended stands in its environment. That it fails is a warning in the log and changes nothing."
    HOOK_TIME = Provider."hook_time" Duration Value(r#""60s""#);
        "How long each of the two may take; then it is ended with everything it has started, unless that has left its \
        process group."
}
