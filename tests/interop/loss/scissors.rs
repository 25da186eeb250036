//! A proxy in the path of the connection that cuts it at a named line, or holds the line back.
//!
//! It reads the lines of a session over TLS because it is the other end of TLS for both sides.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use super::conversation::{Conversation, Side};
use super::end::{End, both_gone, readable};
use super::middle::Middle;
use crate::lab::{Host, Mode};

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

impl Plan {
    fn is_a_cut(&self) -> bool {
        !matches!(self.how, How::Hold)
    }
}

/// The proxy: connections to `listen` in the host's network go on to `provider`.
#[derive(Debug)]
pub struct Scissors {
    queue: Arc<Mutex<VecDeque<Arc<Connection>>>>,
}

impl Scissors {
    pub fn new(
        host: &Host,
        listen: &'static str,
        provider: &'static str,
        middle: Option<Middle>,
    ) -> Self {
        let middle = middle.map(Arc::new);
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
                    let middle = middle.clone();
                    std::thread::spawn(move || match TcpStream::connect(provider) {
                        Ok(provider) => connection.relay(customer, provider, middle.as_deref()),
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

    fn relay(&self, customer: TcpStream, provider: TcpStream, middle: Option<&Middle>) {
        for stream in [&customer, &provider] {
            stream.set_nodelay(true).unwrap();
        }
        let mut ends = [
            End::new(Side::Customer, customer),
            End::new(Side::Provider, provider),
        ];
        let mut going = match middle {
            Some(middle) if middle.mode == Mode::Implicit => self.handshake(&mut ends, middle),
            _ => Ok(()),
        };
        while going.is_ok() && ends.iter().any(|end| end.open) {
            for from in readable(&ends) {
                going = going.and_then(|()| self.pump(&mut ends, from, middle));
            }
        }
        if going.is_err() {
            for end in &ends {
                end.reset_at_close();
            }
        }
        drop(ends);
        self.set(|state| state.over = true);
    }

    /// Passes on what one end has sent; an error is for both.
    fn pump(&self, ends: &mut [End; 2], from: usize, middle: Option<&Middle>) -> Result<(), ()> {
        let lines = ends[from].lines()?;
        self.pass(ends, from, &lines)?;
        if let Some(middle) = middle
            && self.state.lock().unwrap().conversation.starts_tls()
        {
            self.handshake(ends, middle)?;
        }
        if !ends[from].open {
            ends[1 - from].shut_down();
        }
        Ok(())
    }

    fn pass(&self, ends: &mut [End; 2], from: usize, lines: &[Vec<u8>]) -> Result<(), ()> {
        // Lines that nothing is planned for go together, as they came.
        let (mut together, mut names) = (Vec::new(), Vec::new());
        for line in lines {
            let (name, plan) = self.hear(ends[from].side, line);
            let Some(plan) = plan else {
                together.extend_from_slice(line);
                names.push(name);
                continue;
            };
            self.pass_on(ends, from, &mut together, &mut names)?;
            let half = line.len() / 2;
            match plan.part {
                Part::Nothing => {}
                Part::Half if plan.is_a_cut() => ends[1 - from].write_torn(line)?,
                Part::Half => ends[1 - from].write(&line[..half])?,
                Part::All => ends[1 - from].write(line)?,
            }
            if plan.part == Part::All {
                self.let_pass(name.clone());
            }
            self.carry_out(&plan, ends)?;
            match plan.part {
                Part::Nothing => ends[1 - from].write(line)?,
                Part::Half => ends[1 - from].write(&line[half..])?,
                Part::All => continue,
            }
            self.let_pass(name);
        }
        self.pass_on(ends, from, &mut together, &mut names)
    }

    fn pass_on(
        &self,
        ends: &mut [End; 2],
        from: usize,
        octets: &mut Vec<u8>,
        names: &mut Vec<String>,
    ) -> Result<(), ()> {
        ends[1 - from].write(octets)?;
        octets.clear();
        names.drain(..).for_each(|name| self.let_pass(name));
        Ok(())
    }

    /// Does what is planned; an error is the end of the connection.
    fn carry_out(&self, plan: &Plan, ends: &[End; 2]) -> Result<(), ()> {
        self.set(|state| state.reached = true);
        match plan.how {
            How::Reset => Err(()),
            How::Silence(time) => {
                both_gone(ends, time);
                Err(())
            }
            How::Hold => {
                drop(self.wait(Duration::from_secs(60), |state| state.go_on));
                Ok(())
            }
        }
    }

    /// The handshakes with both sides; in a plan they are a line of the name `handshake`, which is half passed when the
    /// customer has begun, and whole when it believes that everything is well.
    fn handshake(&self, ends: &mut [End; 2], middle: &Middle) -> Result<(), ()> {
        let name = "handshake";
        let plan = self
            .state
            .lock()
            .unwrap()
            .plan
            .take_if(|plan| plan.line == name);
        let cut = |part: Part, ends: &[End; 2]| match &plan {
            Some(plan) if plan.part == part => self.carry_out(plan, ends),
            _ => Ok(()),
        };
        cut(Part::Nothing, ends)?;
        ends[0].wait_for_octets();
        cut(Part::Half, ends)?;
        ends[0].secure(middle.to_customer())?;
        cut(Part::All, ends)?;
        ends[1].secure(middle.to_provider())?;
        self.let_pass(name.to_owned());
        // What came together with the last words of a handshake.
        for from in [0, 1] {
            let lines = ends[from].decrypted()?;
            self.pass(ends, from, &lines)?;
        }
        Ok(())
    }
}
