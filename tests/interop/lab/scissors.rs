//! A proxy in the path that cuts the connection after so many bytes of one direction.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::SockRef;

/// Which stream is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    FromCustomer,
    FromProvider,
}

/// How the connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// Both sides get a reset.
    Reset,
    /// Both sides hear nothing any more.
    Silence,
}

/// Where and how to cut.
#[derive(Debug, Clone, Copy)]
pub struct Cut {
    pub direction: Direction,
    /// Bytes that still pass.
    pub after: usize,
    pub how: How,
}

/// What went through before the cut.
#[derive(Debug, Default, Clone)]
pub struct Passed {
    /// Bytes that the customer sent and this proxy read, passed on or not.
    pub customer_sent: Vec<u8>,
    /// Bytes of them that were passed on.
    pub customer_passed: usize,
    pub provider_sent: Vec<u8>,
    pub provider_passed: usize,
}

/// One proxied connection.
#[derive(Debug)]
pub struct Scissors {
    passed: Arc<Mutex<Passed>>,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scissors {
    /// Takes the next customer of `listener`, connects it to `provider` and cuts as told; `None` never cuts.
    pub fn next(listener: TcpListener, provider: impl FnOnce() -> TcpStream + Send + 'static, cut: Option<Cut>) -> Self {
        let passed = Arc::new(Mutex::new(Passed::default()));
        let done = Arc::new(AtomicBool::new(false));
        let thread = {
            let (passed, done) = (passed.clone(), done.clone());
            std::thread::spawn(move || {
                listener.set_nonblocking(true).unwrap();
                let customer = loop {
                    match listener.accept() {
                        Ok((stream, _)) => break stream,
                        Err(_) if done.load(Ordering::SeqCst) => return,
                        Err(_) => std::thread::sleep(Duration::from_millis(2)),
                    }
                };
                customer.set_nonblocking(false).unwrap();
                relay(&customer, &provider(), cut, &passed, &done);
            })
        };
        Self { passed, done, thread: Some(thread) }
    }

    /// What has passed so far.
    pub fn passed(&self) -> Passed {
        self.passed.lock().unwrap().clone()
    }

    /// Ends the connection, if it is still there, and says what passed.
    pub fn finish(mut self) -> Passed {
        self.stop();
        self.passed()
    }

    fn stop(&mut self) {
        self.done.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _joined = thread.join();
        }
    }
}

impl Drop for Scissors {
    fn drop(&mut self) {
        self.stop();
    }
}

fn relay(customer: &TcpStream, provider: &TcpStream, cut: Option<Cut>, passed: &Mutex<Passed>, done: &AtomicBool) {
    let silent = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| pump(customer, provider, Direction::FromCustomer, cut, passed, &silent, done));
        scope.spawn(|| pump(provider, customer, Direction::FromProvider, cut, passed, &silent, done));
    });
}

fn pump(
    from: &TcpStream,
    to: &TcpStream,
    direction: Direction,
    cut: Option<Cut>,
    passed: &Mutex<Passed>,
    silent: &AtomicBool,
    done: &AtomicBool,
) {
    let cut = cut.filter(|cut| cut.direction == direction);
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut buffer = vec![0; 16 * 1024];
    let mut count = 0;
    loop {
        if done.load(Ordering::SeqCst) {
            return;
        }
        let read = match (&*from).read(&mut buffer) {
            Ok(0) => {
                if !silent.load(Ordering::SeqCst) {
                    let _gone = to.shutdown(Shutdown::Write);
                }
                return;
            }
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => {
                if !silent.load(Ordering::SeqCst) {
                    reset_at_close(to);
                    done.store(true, Ordering::SeqCst);
                }
                return;
            }
        };
        let mut pass = read;
        if let Some(cut) = cut {
            pass = pass.min(cut.after.saturating_sub(count));
        }
        let mut through = pass;
        if silent.load(Ordering::SeqCst) || (&*to).write_all(&buffer[..pass]).is_err() {
            through = 0;
        }
        count += through;
        note(passed, direction, &buffer[..read], through);
        if let Some(cut) = cut
            && count >= cut.after
        {
            match cut.how {
                How::Reset => {
                    reset_at_close(from);
                    reset_at_close(to);
                    done.store(true, Ordering::SeqCst);
                    return;
                }
                How::Silence => silent.store(true, Ordering::SeqCst),
            }
        }
    }
}

fn note(passed: &Mutex<Passed>, direction: Direction, bytes: &[u8], through: usize) {
    let mut passed = passed.lock().unwrap();
    match direction {
        Direction::FromCustomer => {
            passed.customer_sent.extend_from_slice(bytes);
            passed.customer_passed += through;
        }
        Direction::FromProvider => {
            passed.provider_sent.extend_from_slice(bytes);
            passed.provider_passed += through;
        }
    }
}

/// When it is closed the kernel will send RST instead of FIN; what was not yet read is lost.
fn reset_at_close(stream: &TcpStream) {
    let _set = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
