//! A proxy in the path of the connection that cuts it at a named line, or holds the line back.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use socket2::SockRef;

use super::conversation::{Conversation, Side};
use crate::lab::Host;

/// `POLLRDHUP`: the peer has closed, although what it said before is not read (poll(2)).
const HUNG_UP: PollFlags = PollFlags::from_bits_retain(0x2000);

/// How much of the line still passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Nothing,
    Half,
    All,
}

/// What happens there.
#[derive(Debug, Clone, Copy)]
pub enum How {
    /// Both sides get a reset.
    Reset,
    /// Both sides hear nothing any more, for so long; then, if they are still there, a reset.
    Silence(Duration),
    /// Nothing passes until `go_on`.
    Hold,
}

/// Where to do what.
#[derive(Debug, Clone)]
pub struct Plan {
    pub line: String,
    pub part: Part,
    pub how: How,
}

/// The proxy: connections to `listen` in the host's network go on to `provider`.
#[derive(Debug)]
pub struct Scissors {
    queue: Arc<Mutex<VecDeque<Arc<Connection>>>>,
}

impl Scissors {
    pub fn new(host: &Host, listen: &'static str, provider: &'static str) -> Self {
        let queue = Arc::new(Mutex::new(VecDeque::<Arc<Connection>>::new()));
        let coming = Arc::downgrade(&queue);
        host.inside(|| {
            let listener = std::net::TcpListener::bind(listen).unwrap();
            listener.set_nonblocking(true).unwrap();
            // A thread stays in the network of the thread that made it. It ends with the proxy.
            std::thread::spawn(move || {
                while let Some(queue) = coming.upgrade() {
                    let Ok((customer, _)) = listener.accept() else {
                        std::thread::sleep(Duration::from_millis(3));
                        continue;
                    };
                    customer.set_nonblocking(false).unwrap();
                    let connection = queue.lock().unwrap().pop_front().unwrap_or_default();
                    std::thread::spawn(move || match TcpStream::connect(provider) {
                        Ok(provider) => connection.relay(customer, provider),
                        Err(_) => connection.set(|state| state.over = true),
                    });
                }
            });
        });
        Self { queue }
    }

    /// What to do with the next connection, and a look at it.
    pub fn next(&self, plan: Option<Plan>) -> Arc<Connection> {
        let connection = Arc::new(Connection::default());
        connection.set(|state| state.plan = plan);
        self.queue
            .lock()
            .unwrap()
            .push_back(Arc::clone(&connection));
        connection
    }
}

/// One connection through the proxy.
#[derive(Debug, Default)]
pub struct Connection {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    conversation: Conversation,
    names: Vec<String>,
    plan: Option<Plan>,
    reached: bool,
    go_on: bool,
    over: bool,
}

impl Connection {
    /// Waits until the plan has been carried out; false if the connection ended before.
    pub fn reached(&self, limit: Duration) -> bool {
        self.wait(limit, |state| state.reached || state.over)
            .reached
    }

    /// Waits for the end of the connection.
    pub fn over(&self, limit: Duration) {
        let state = self.wait(limit, |state| state.over);
        assert!(
            state.over,
            "the connection did not end; its last lines: {:?}",
            state.names.iter().rev().take(5).collect::<Vec<_>>()
        );
    }

    pub fn is_over(&self) -> bool {
        self.state.lock().unwrap().over
    }

    /// Waits until a line of this name has passed.
    pub fn passed(&self, name: &str, limit: Duration) {
        let state = self.wait(limit, |state| {
            state.over || state.names.iter().any(|known| known == name)
        });
        assert!(
            state.names.iter().any(|known| known == name),
            "no {name} in this connection: {:?}",
            state.names
        );
    }

    /// Lets a line pass that was held back.
    pub fn go_on(&self) {
        self.set(|state| state.go_on = true);
    }

    /// The message whose final reply may be on the way.
    pub fn doubt(&self) -> Option<String> {
        self.state
            .lock()
            .unwrap()
            .conversation
            .doubt()
            .map(str::to_owned)
    }

    /// The names of all lines so far.
    pub fn names(&self) -> Vec<String> {
        self.state.lock().unwrap().names.clone()
    }

    fn wait(&self, limit: Duration, until: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let state = self.state.lock().unwrap();
        self.changed
            .wait_timeout_while(state, limit, |state| !until(state))
            .unwrap()
            .0
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Names the line; if the plan is about it, what to do.
    fn hear(&self, side: Side, line: &[u8]) -> (String, Option<Plan>) {
        let mut state = self.state.lock().unwrap();
        let name = state.conversation.name(side, line);
        let plan = state.plan.take_if(|plan| plan.line == name);
        (name, plan)
    }

    fn let_pass(&self, name: String) {
        self.set(|state| {
            state.conversation.passed(&name);
            state.names.push(name);
        });
    }

    fn relay(&self, customer: TcpStream, provider: TcpStream) {
        for stream in [&customer, &provider] {
            stream.set_nodelay(true).unwrap();
        }
        let mut ends = [
            End::new(Side::Customer, customer),
            End::new(Side::Provider, provider),
        ];
        let mut going = Ok(());
        while going.is_ok() && ends.iter().any(|end| end.open) {
            for from in readable(&ends) {
                going = going.and_then(|()| self.pump(&mut ends, from));
            }
        }
        if going.is_err() {
            for end in &ends {
                reset_at_close(&end.stream);
            }
        }
        drop(ends);
        self.set(|state| state.over = true);
    }

    /// Passes on what one end has sent; an error is for both.
    fn pump(&self, ends: &mut [End; 2], from: usize) -> Result<(), ()> {
        let lines = ends[from].lines()?;
        let (side, to) = (ends[from].side, &ends[1 - from].stream);
        for line in lines {
            let (name, plan) = self.hear(side, &line);
            let Some(plan) = plan else {
                write(to, &line)?;
                self.let_pass(name);
                continue;
            };
            let pass = match plan.part {
                Part::Nothing => 0,
                Part::Half => line.len() / 2,
                Part::All => line.len(),
            };
            write(to, &line[..pass])?;
            if plan.part == Part::All {
                self.let_pass(name.clone());
            }
            self.set(|state| state.reached = true);
            match plan.how {
                How::Reset => return Err(()),
                How::Silence(time) => {
                    both_gone(ends, time);
                    return Err(());
                }
                How::Hold => {
                    drop(self.wait(Duration::from_secs(60), |state| state.go_on));
                    write(to, &line[pass..])?;
                    if plan.part != Part::All {
                        self.let_pass(name);
                    }
                }
            }
        }
        if !ends[from].open {
            let _gone = ends[1 - from].stream.shutdown(Shutdown::Write);
        }
        Ok(())
    }
}

/// One side's socket, and the line that is not yet complete.
#[derive(Debug)]
struct End {
    side: Side,
    stream: TcpStream,
    partial: Vec<u8>,
    open: bool,
}

impl End {
    fn new(side: Side, stream: TcpStream) -> Self {
        Self {
            side,
            stream,
            partial: Vec::new(),
            open: true,
        }
    }

    /// The lines that have come in.
    fn lines(&mut self) -> Result<Vec<Vec<u8>>, ()> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).map_err(drop)?;
        self.open = read > 0;
        self.partial.extend_from_slice(&buffer[..read]);
        let whole = match self.partial.iter().rposition(|&byte| byte == b'\n') {
            _ if !self.open => self.partial.len(),
            Some(last) => last + 1,
            None => 0,
        };
        let rest = self.partial.split_off(whole);
        let lines = std::mem::replace(&mut self.partial, rest);
        Ok(lines
            .split_inclusive(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect())
    }
}

fn write(mut to: &TcpStream, bytes: &[u8]) -> Result<(), ()> {
    to.write_all(bytes).map_err(drop)
}

/// Waits a moment for either end to say something.
fn readable(ends: &[End; 2]) -> Vec<usize> {
    let open: Vec<usize> = (0..2).filter(|&index| ends[index].open).collect();
    let mut fds: Vec<PollFd<'_>> = open
        .iter()
        .map(|&index| PollFd::new(ends[index].stream.as_fd(), PollFlags::POLLIN))
        .collect();
    let _count = poll(&mut fds, PollTimeout::from(200_u8));
    open.iter()
        .zip(&fds)
        .filter(|(_, fd)| fd.any().unwrap_or(false))
        .map(|(&index, _)| index)
        .collect()
}

/// Waits, without reading, until both ends have closed or the time is over.
fn both_gone(ends: &[End; 2], time: Duration) {
    let start = Instant::now();
    while start.elapsed() < time {
        let mut fds = [0, 1].map(|index| PollFd::new(ends[index].stream.as_fd(), HUNG_UP));
        let _count = poll(&mut fds, PollTimeout::ZERO);
        if fds.iter().all(|fd| fd.any().unwrap_or(false)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// When it is closed the kernel will send RST instead of FIN; what the peer has not yet got is lost.
fn reset_at_close(stream: &TcpStream) {
    let _set = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
