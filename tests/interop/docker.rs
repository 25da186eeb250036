//! The containers of contrib/docker as shipped, set up as the README says: a provider's pair and a customer's pair, over
//! a network of Docker's.
//!
//! A daemon of the test's own runs them where one can run (root, dockerd). Where none can, the same is shown across
//! the roots of the lab: turnabout in one, Postfix in another, its socket in a directory between them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::Duration;

use crate::lab::{Authority, Lab, Mail, Mta, body_of_lines, turnabout, wait_for};
use crate::readme::blocks;

const SOON: Duration = Duration::from_secs(60);

/// Enough that a sidecar can be killed in the midst of them, a second each.
const MANY: usize = 40;

fn contrib(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("contrib/docker")
        .join(file)
}

/// A daemon with nothing of this machine's; it ends with this value.
struct Docker {
    dir: tempfile::TempDir,
    process: Child,
    alive: Option<ChildStdin>,
}

impl Docker {
    /// None where none can run, and why.
    fn start() -> Result<Docker, String> {
        // Not in memory: images take some hundred megabytes.
        let mut builder = tempfile::Builder::new();
        let dir = builder.prefix("turnabout-docker-").tempdir().unwrap();
        let complaints = fs::File::create(dir.path().join("complaints")).unwrap();
        let mut process = Command::new(contrib("daemon"))
            .arg("run")
            .arg(dir.path().join("daemon"))
            .env("LAB_REMOVE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(complaints)
            .spawn()
            .unwrap();
        let alive = process.stdin.take();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut ready)
            .unwrap();
        let docker = Docker {
            dir,
            process,
            alive,
        };
        if ready == "ready\n" {
            return Ok(docker);
        }
        Err(fs::read_to_string(docker.dir.path().join("complaints")).unwrap())
    }

    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        let socket = self.dir.path().join("daemon/docker.sock");
        command
            .current_dir(self.site())
            .env("DOCKER_HOST", format!("unix://{}", socket.display()))
            // What the one who runs the test has set up for his own Docker.
            .env("DOCKER_CONFIG", self.dir.path().join("config"))
            .env("COMPOSE_PROJECT_NAME", "odmr")
            .stdin(Stdio::null());
        command
    }

    /// The copy of our files in which the operator works.
    fn copy(&self) -> PathBuf {
        self.dir.path().join("copy")
    }

    /// The directory with compose.yaml.
    fn site(&self) -> PathBuf {
        self.copy().join("contrib/docker")
    }

    fn docker(&self, arguments: &[&str]) -> String {
        checked(&self.command("docker").args(arguments).output().unwrap())
    }

    fn try_compose(&self, arguments: &[&str]) -> Output {
        let profiles = ["--profile", "customer", "--profile", "provider"];
        let mut command = self.command("docker-compose");
        command.args(profiles).args(arguments).output().unwrap()
    }

    fn compose(&self, arguments: &[&str]) -> String {
        checked(&self.try_compose(arguments))
    }

    /// A shell command in a container.
    fn sh(&self, service: &str, script: &str) -> String {
        self.docker(&["exec", &container(service), "sh", "-c", script])
    }

    /// Debian, which our own images are made from.
    fn import(&self) {
        let base = checked(
            &Command::new(contrib("daemon"))
                .arg("base")
                .output()
                .unwrap(),
        );
        let mut tar = Command::new("tar")
            .args(["-C", base.trim(), "-c", "."])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut import = self.command("docker");
        import.args(["import", "-", "turnabout-base"]);
        import.stdin(tar.stdout.take().unwrap());
        checked(&import.output().unwrap());
        assert!(tar.wait().unwrap().success());
    }

    fn waiting(&self) -> usize {
        self.sh("provider-mail", "postqueue -j | wc -l")
            .trim()
            .parse()
            .unwrap()
    }

    fn delivered(&self) -> usize {
        let list = "ls /home/alice/Maildir/new 2>/dev/null | wc -l";
        self.sh("customer-mail", list).trim().parse().unwrap()
    }

    fn healthy(&self, service: &str) {
        let format = "{{.State.Health.Status}}";
        wait_for(&format!("health of {service}"), SOON, || {
            let name = container(service);
            let state = self.docker(&["inspect", "-f", format, &name]);
            assert_ne!(state.trim(), "unhealthy", "{}", self.logs(service));
            (state.trim() == "healthy").then_some(())
        });
    }

    /// It has been started, and says that it is ready.
    fn serves(&self) {
        let format = "{{.State.StartedAt}}";
        let since = self.docker(&["inspect", "-f", format, &container("serve")]);
        wait_for("serve", SOON, || {
            let arguments = ["logs", "--since", since.trim(), &container("serve")];
            let output = self.command("docker").args(arguments).output().unwrap();
            let log = String::from_utf8_lossy(&output.stderr).into_owned();
            log.contains(" ready ").then_some(())
        });
    }

    fn logs(&self, service: &str) -> String {
        let output = self
            .command("docker")
            .args(["logs", &container(service)])
            .output();
        let output = output.unwrap();
        [output.stdout, output.stderr]
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .concat()
    }
}

fn container(service: &str) -> String {
    format!("odmr_{service}_1")
}

fn checked(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{complaint}");
    said
}

impl Drop for Docker {
    fn drop(&mut self) {
        if std::thread::panicking() && self.alive.is_some() {
            for service in ["provider-mail", "serve", "customer-mail", "fetch"] {
                let log = self.logs(service);
                let lines: Vec<&str> = log.lines().collect();
                let last = &lines[lines.len().saturating_sub(40)..];
                eprintln!("---- {service}\n{}", last.join("\n"));
            }
        }
        drop(self.alive.take());
        self.process.wait().ok();
    }
}

/// Does as the README says, for the provider and then for the customer, on a copy of our files.
fn set_up(docker: &Docker) {
    let copy = docker.copy();
    fs::create_dir(&copy).unwrap();
    let ours = concat!(env!("CARGO_MANIFEST_DIR"), "/contrib");
    checked(
        &Command::new("cp")
            .arg("-r")
            .arg(ours)
            .arg(&copy)
            .output()
            .unwrap(),
    );
    docker.import();

    let authority = Authority::new();
    let pair = authority.issue(&["provider-mail", "odmr.example.net"]);
    let live = docker.dir.path().join("live/odmr.example.net");
    fs::create_dir_all(&live).unwrap();
    fs::write(live.join("fullchain.pem"), &pair.certificate).unwrap();
    fs::write(live.join("privkey.pem"), &pair.key).unwrap();
    fs::write(
        docker.site().join("customer/ca.pem"),
        &authority.certificate,
    )
    .unwrap();
    // In this network the provider has its container's name.
    let config = docker.site().join("customer/turnabout.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("\"odmr.example.net\""));
    let text = text.replace("\"odmr.example.net\"", "\"provider-mail\"");
    let text = format!("{text}ca_file = \"/etc/turnabout/ca.pem\"\n");
    fs::write(&config, text).unwrap();

    // What is built already, and Debian's older name of compose.
    let programs = docker.dir.path().join("programs");
    fs::create_dir(&programs).unwrap();
    let built = turnabout();
    for (name, script) in [
        (
            "cargo",
            format!(
                "mkdir -p target/release && cp {built} target/release/turnabout"
            ),
        ),
        (
            "docker",
            "if [ \"$1\" = compose ]; then shift; exec docker-compose \"$@\"; fi\nexec /usr/bin/docker \"$@\"".to_owned(),
        ),
    ] {
        let path = programs.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let blocks = blocks("Docker sidecar");
    let [at_provider, at_customer] = blocks.as_slice() else {
        panic!("{} blocks in Docker sidecar", blocks.len());
    };
    let here = live.parent().unwrap().display().to_string();
    let as_written = |block: &str| {
        let block = block.replace("/etc/letsencrypt/live", &here);
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", programs.display());
        let mut shell = docker.command("sh");
        shell.args(["-e", "-c", &block]).current_dir(docker.copy());
        shell.env("PATH", path).env("BASE", "turnabout-base");
        let mut shell = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        shell
            .stdin
            .take()
            .unwrap()
            .write_all(b"wonderland\n")
            .unwrap();
        checked(&shell.wait_with_output().unwrap());
    };
    as_written(at_provider);
    docker.serves();
    // No mail yet, which is a good end as well.
    as_written(at_customer);
}

/// No capability, no set-user-ID, nothing to write but its own directory; and it says itself that it serves.
fn serve_may_do_nothing_but_its_work(docker: &Docker) {
    docker.healthy("serve");
    let facts = docker.sh("serve", "grep -E '^(NoNewPrivs|Cap...)' /proc/1/status; touch /etc/x /var/x 2>&1; ls -ld /run/turnabout/serve");
    assert!(facts.contains("NoNewPrivs:\t1\n"), "{facts}");
    let capabilities: Vec<&str> = facts
        .lines()
        .filter(|line| line.starts_with("Cap"))
        .collect();
    assert_eq!(capabilities.len(), 5, "{facts}");
    assert!(
        capabilities
            .iter()
            .all(|line| line.ends_with("\t0000000000000000")),
        "{facts}"
    );
    assert_eq!(facts.matches("Read-only file system").count(), 2, "{facts}");
    assert!(facts.contains("drwxr-x---"), "{facts}");
    let log = docker.logs("serve");
    assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
}

/// Puts so many messages into the provider's queue.
fn submit(docker: &Docker, name: &str, count: usize) {
    let script = format!(
        "for n in $(seq {count}); do printf 'Subject: {name}-%s-\\n\\nThis is it.\\n' $n | sendmail -f sender@example.edu alice@example.org & \
         [ $((n % 8)) != 0 ] || wait; done; wait"
    );
    let before = docker.waiting();
    docker.sh("provider-mail", &script);
    wait_for("messages in the queue", SOON, || {
        (docker.waiting() == before + count).then_some(())
    });
}

/// Fetches until nothing is left.
fn fetch_all(docker: &Docker) {
    wait_for("an empty queue", Duration::from_secs(120), || {
        // The provider may not have noticed the end of the last session yet.
        docker.try_compose(&["run", "--rm", "-T", "fetch"]);
        (docker.waiting() == 0).then_some(())
    });
}

/// How often each message has come.
fn copies(docker: &Docker) -> BTreeMap<String, usize> {
    let list = docker.sh(
        "customer-mail",
        "cat /home/alice/Maildir/new/* | grep ^Subject:",
    );
    let mut copies = BTreeMap::new();
    for subject in list.lines() {
        *copies.entry(subject.to_owned()).or_default() += 1;
    }
    copies
}

/// Rules: C9, R29, C7
#[test]
fn the_containers_as_shipped_deliver_and_lose_nothing_when_a_sidecar_is_killed() {
    let docker = match Docker::start() {
        Ok(docker) => docker,
        Err(why) => {
            println!("no Docker daemon can run here, so this is across roots of the lab: {why}");
            return across_roots();
        }
    };
    println!("with a Docker daemon");
    set_up(&docker);
    docker.healthy("customer-mail");
    docker.serves();
    serve_may_do_nothing_but_its_work(&docker);
    docker.sh("customer-mail", "useradd -m alice");

    // All goes well.
    submit(&docker, "first", 20);
    let said = docker.try_compose(&["run", "--rm", "-T", "fetch"]);
    assert!(said.status.success(), "{said:?}");
    wait_for("mail", SOON, || (docker.delivered() == 20).then_some(()));
    assert_eq!(docker.waiting(), 0);
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let address = docker.docker(&["inspect", "-f", format, &container("provider-mail")]);
    let log = docker.logs("customer-mail");
    let peer = format!("[{}]", address.trim());
    let seen: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("odmr/smtpd") && line.contains(": connect from"))
        .collect();
    assert!(
        !seen.is_empty() && seen.iter().all(|line| line.contains(&peer)),
        "{peer}: {seen:?}"
    );

    let mut sent = 20;
    for victim in ["fetch", "serve"] {
        submit(&docker, victim, MANY);
        let before = docker.delivered();
        let slow = "postconf -e 'smtpd_data_restrictions = sleep 1' && postfix reload";
        docker.sh("customer-mail", slow);
        docker.compose(&["up", "-d", "--no-build", "fetch"]);
        wait_for("the transfer", SOON, || {
            (docker.delivered() > before + 2).then_some(())
        });
        docker.docker(&["kill", &container(victim)]);
        let left = docker.waiting();
        println!("{victim} killed with {left} messages to go");
        assert!(left > 0, "the transfer was over before {victim} was killed");
        let quick = "postconf -X smtpd_data_restrictions && postfix reload";
        docker.sh("customer-mail", quick);
        docker.compose(&["up", "-d", "--no-build", "serve"]);
        docker.serves();
        fetch_all(&docker);
        sent += MANY;
    }
    let copies = wait_for("all messages", SOON, || {
        let copies = copies(&docker);
        (copies.len() >= sent).then_some(copies)
    });
    assert_eq!(copies.len(), sent);
    // One for each that was killed: its 250 may have been on the way.
    let twice = copies.values().filter(|count| **count > 1).count();
    assert!(twice <= 2, "{copies:?}");
    println!("{sent} messages, {twice} of them twice");
    docker.healthy("serve");
}

/// The customer's sidecar in a root of its own, and the provider's turnabout, each killed in the transfer.
fn across_roots() {
    let mut lab = Lab::new();
    let provider = lab.provider(Mta::Postfix);
    let mail = lab.customer(Mta::Postfix);
    let sidecar = lab.stranger();
    for file in ["turnabout.toml", "password"] {
        let inside = format!("/etc/turnabout/{file}");
        fs::copy(mail.path(&inside), sidecar.path(&inside)).unwrap();
        fs::remove_file(mail.path(&inside)).unwrap();
    }
    let socket = mail.path("/var/spool/postfix/private/odmr");
    let quoted = format!("\"{}\"", socket.display());
    sidecar.set("providers.isp", &[("socket", &quoted)]);
    let mut all = Vec::new();
    for victim in ["nobody", "fetch", "serve"] {
        let sent: Vec<Mail> = (0..150)
            .map(|number| {
                let name = format!("{victim}-{number}");
                Mail::new(&["alice@example.org"], &name, &body_of_lines(10))
            })
            .collect();
        provider.submit(&sent);
        let before = all.len();
        all.extend(sent);
        let mut serve = provider.serve();
        let mut fetch = sidecar.start_fetch();
        wait_for("the transfer", SOON, || {
            (mail.inbox_count("alice") > before + 2).then_some(())
        });
        match victim {
            "fetch" => fetch.kill(),
            "serve" => serve.kill(),
            _ => {}
        }
        // Their mail servers have the connection.
        mail.wait_inbox("alice", all.len(), SOON);
        provider.wait_empty_queue(SOON);
    }
    Mail::assert_delivered(&all, &mail.inbox("alice"));
}

#[test]
fn the_roots_of_the_lab_do_what_the_containers_do() {
    across_roots();
}
