//! A provider with Exim.

use super::{ACCOUNTS, Site, shipped};

/// What any Exim has, around the shipped pieces.
fn configuration(site: &Site) -> String {
    let pieces =
        shipped("exim/provider.conf").replace("/etc/exim4/turnabout", &site.text("turnabout"));
    let piece = |from: &str, to: &str| {
        let (_, rest) = pieces.split_once(from).unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        rest.split_once(to)
            .map_or(rest, |(piece, _)| piece)
            .to_owned()
    };
    let main = piece("# --- main section", "# --- begin");
    let routers = piece("# --- begin routers", "# --- begin");
    let transports = piece("# --- begin transports", "# --- begin");
    let retry = piece("# --- begin retry", "# --- begin");
    format!(
        "primary_hostname = host.test
domainlist local_domains = @ : localhost
domainlist relay_to_domains = +odmr_domains
hostlist relay_from_hosts = <; 127.0.0.1 ; ::1
acl_smtp_rcpt = acl_check_rcpt
tls_advertise_hosts =
rfc1413_query_timeout = 0s
keep_environment =
{main}
begin acl
acl_check_rcpt:
  accept domains = +local_domains
  accept domains = +relay_to_domains
  accept hosts = +relay_from_hosts
  deny message = relay not permitted

begin routers
{routers}
elsewhere:
  driver = manualroute
  domains = ! +local_domains
  route_list = * 192.0.2.9
  transport = elsewhere

begin transports
{transports}
elsewhere:
  driver = smtp

begin retry
{retry}
* * F,2h,15m; G,16h,1h,1.5; F,4d,6h
"
    )
}

/// As the shipped files have it.
pub(super) fn right() -> Site {
    let site = Site::new();
    let exim = site.exim(&configuration(&site));
    site.write("turnabout", &shipped("exim/provider-turnabout"));
    site.certificate("own.pem", "odmr.host.test");
    let own = site.text("own.pem");
    let accounts = site.text("accounts.toml");
    site.write(
        "turnabout.toml",
        &format!(
            "[serve]\nhostname = \"odmr.host.test\"\ncertificate = [\"{own}\"]\nkey = [\"{own}\"]\naccounts = \"{accounts}\"\n\
             handoff = \"exim-continue\"\n[serve.exim]\ncommand = \"{exim}\"\n"
        ),
    );
    site.write("accounts.toml", ACCOUNTS);
    site.give("turnabout.toml", 61003);
    site.give("accounts.toml", 61003);
    site
}

const EXIM: &str = "exim.conf";

#[test]
fn a_provider_with_exim_as_shipped_is_right() {
    right().is_right();
}

#[test]
fn an_exim_without_the_transport_is_told_its_lines() {
    let site = right();
    site.edit(
        "turnabout.toml",
        "[serve.exim]\n",
        "[serve.exim]\ntransport = \"customers\"\n",
    );
    let found = site.check();
    assert_eq!(found.code, 78);
    found.has(
        "error",
        "there is no transport customers, so mail for the customers has no way out",
        "customers:\n  driver = smtp\n  port = 24\n  connection_max_messages = 0\n  hosts_try_fastopen =\n  # turnabout speaks TLS already.\n  hosts_avoid_tls = *",
    );
    found.has(
        "error",
        "mail for example.org goes by the router odmr and the transport odmr, not by customers, so it does not wait for \"alice\"",
        "example.org: 127.77.0.1",
    );
}

#[test]
fn tls_by_exim_itself_is_an_error() {
    let site = right();
    site.edit(EXIM, "  hosts_avoid_tls = *\n", "");
    site.has_error(
        "hosts_avoid_tls is not *, so Exim begins TLS on the turned connection, which has it already",
        "  hosts_avoid_tls = *",
    );
}

#[test]
fn a_limit_of_messages_on_one_connection_is_an_error() {
    let site = right();
    site.edit(EXIM, "  connection_max_messages = 0\n", "");
    site.has_error(
        "connection_max_messages is 500, and what comes after that has no connection any more",
        "  connection_max_messages = 0",
    );
}

#[test]
fn mail_that_is_not_held_is_an_error() {
    let site = right();
    site.edit(
        EXIM,
        "hold_domains = +odmr_domains\n",
        "hold_domains = held.test\n",
    );
    site.has_error(
        "hold_domains does not have example.org, example.com, so Exim tries that mail at arrival and in every queue run instead of waiting for the customer",
        "hold_domains = +odmr_domains : held.test",
    );
}

#[test]
fn a_router_that_sends_the_mail_elsewhere_is_an_error() {
    let site = right();
    // Another router stands first.
    let text = site.read(EXIM);
    let first = "first:\n  driver = manualroute\n  domains = example.com\n  route_list = * 192.0.2.7\n  transport = elsewhere\n\n";
    site.write(
        EXIM,
        &text.replace("begin routers\n", &format!("begin routers\n{first}")),
    );
    site.has_error(
        "mail for example.com goes by the router first and the transport elsewhere, not by odmr, so it does not wait for \"bob\"",
        "example.com: 127.77.0.2",
    );
}

#[test]
fn another_next_hop_than_the_accounts_is_an_error() {
    let site = right();
    site.edit("turnabout", "127.77.0.2", "127.77.0.3");
    site.has_error(
        "mail for example.com goes to 127.77.0.3, but the account of \"bob\" has the next hop [127.77.0.2]:24, so Exim does not find it for the customer's connection",
        "example.com: 127.77.0.2",
    );
}

#[test]
fn a_domain_that_is_not_in_the_table_is_an_error() {
    let site = right();
    site.edit("turnabout", "example.com: 127.77.0.2\n", "");
    let found = site.check();
    assert_eq!(found.code, 78);
    found.has(
        "error",
        "mail for example.com goes by the router elsewhere and the transport elsewhere, not by odmr, so it does not wait for \"bob\"",
        "example.com: 127.77.0.2",
    );
    found.has(
        "error",
        "it refuses mail for example.com: \"550 relay not permitted\"",
        "domainlist relay_to_domains = +odmr_domains",
    );
}

#[test]
fn a_retry_rule_that_gives_up_is_an_error_and_so_is_none() {
    let site = right();
    let rule = "*@+odmr_domains  *  F,365d,1s";
    site.edit(EXIM, rule, "");
    site.has_error(
        "the rule for example.org (*  *  F,2h,15m; G,16h,1h,1.5; F,4d,6h) gives up too soon: what has waited longer than that for its customer is returned to the sender when he calls",
        rule,
    );
    site.edit(EXIM, "* * F,2h,15m; G,16h,1h,1.5; F,4d,6h", "");
    let found = site.check();
    found.has(
        "error",
        "there is no rule for example.org, and without one the first failure returns the mail to its sender",
        rule,
    );
}

#[test]
fn a_slow_retry_rule_is_a_warning() {
    let site = right();
    site.edit(EXIM, "F,365d,1s", "F,365d,2h");
    site.has_warning(
        "the rule for example.org begins with a long interval, so mail that a customer has put off may not be tried when he calls again",
        "*@+odmr_domains  *  F,365d,1s",
    );
}

#[test]
fn an_open_relay_is_an_error() {
    let site = right();
    site.edit(EXIM, "  deny message = relay not permitted", "  accept");
    site.has_error(
        "it relays for anybody: \"250 Accepted\" to a recipient that is not here",
        "deny message = relay not permitted",
    );
}

#[test]
fn two_next_hops_at_one_address_are_an_error() {
    let site = right();
    site.edit("accounts.toml", "[127.77.0.2]:24", "[127.77.0.1]:2526");
    site.fails_with("Exim knows a next hop by its address alone");
}

/// Where systemd would find units, in a check.
const UNITS: &str = "for each in /etc/systemd/system /run/systemd; do mkdir -p $each; mount -t tmpfs tmpfs $each; done
mkdir /run/systemd/system /etc/systemd/system/multi-user.target.wants
cp \"$1/turnabout-serve.service\" /run/systemd/system
if [ -e \"$1/enabled\" ]; then ln -s /x /etc/systemd/system/multi-user.target.wants/turnabout-serve.service; fi
if [ -e \"$1/exim.conf.unit\" ]; then
    mkdir /etc/systemd/system/turnabout-serve.service.d
    cp \"$1/exim.conf.unit\" /etc/systemd/system/turnabout-serve.service.d/exim.conf
fi
";

#[test]
fn a_unit_that_forbids_exim_its_privilege_is_an_error_once_it_is_in_use() {
    let site = right();
    let unit = "[Service]\nExecStart=/usr/sbin/turnabout serve\nNoNewPrivileges=yes\n";
    site.write("turnabout-serve.service", unit);
    site.write("before", UNITS);
    let sentence = "NoNewPrivileges is inherited by the mail server that turnabout starts, whose set-user-ID programs do not work then (systemctl edit turnabout-serve.service)";
    site.has_warning(sentence, "[Service]\nNoNewPrivileges=no");
    site.write("enabled", "");
    site.has_error(sentence, "[Service]\nNoNewPrivileges=no");
    site.write("exim.conf.unit", "[Service]\nNoNewPrivileges=no\n");
    site.is_right();
    // systemd's own words for the same: filters, for a process that it makes another user.
    let filters = "[Service]\nNoNewPrivileges=no\nUser=Debian-exim\nProtectClock=yes\nSystemCallFilter=@system-service\n";
    site.write("exim.conf.unit", filters);
    site.has_error(
        "User= with SystemCallFilter=, ProtectClock= implies NoNewPrivileges for systemd before 255, which is inherited by the mail server that turnabout starts, whose set-user-ID programs do not work then (systemctl edit turnabout-serve.service)",
        "[Service]\nNoNewPrivileges=no\nSystemCallFilter=\nProtectClock=no",
    );
    let off = "[Service]\nSystemCallFilter=\nProtectClock=no\n";
    site.write("exim.conf.unit", &format!("{filters}{off}"));
    site.is_right();
    // As root it is the service that becomes another user, and by itself.
    let itself = "ExecStart=\nExecStart=!/usr/sbin/turnabout serve\n";
    site.write("exim.conf.unit", &format!("{filters}{itself}"));
    site.is_right();
}
