//! One side of the proxy: a socket, TLS on it or not, and lines.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::Connection;
use socket2::SockRef;

use super::conversation::Side;

/// `POLLRDHUP`: the peer has closed, although what it said before is not read (poll(2)).
const HUNG_UP: PollFlags = PollFlags::from_bits_retain(0x2000);

/// One side's socket, and the line that is not yet complete.
#[derive(Debug)]
pub struct End {
    pub side: Side,
    pub open: bool,
    stream: TcpStream,
    tls: Option<Connection>,
    partial: Vec<u8>,
}

impl End {
    pub fn new(side: Side, stream: TcpStream) -> Self {
        Self {
            side,
            open: true,
            stream,
            tls: None,
            partial: Vec::new(),
        }
    }

    /// Does a handshake; from then on everything is under TLS.
    pub fn secure(&mut self, mut tls: Connection) -> Result<(), ()> {
        tls.complete_io(&mut self.stream).map_err(drop)?;
        self.tls = Some(tls);
        Ok(())
    }

    /// The lines that have come in.
    pub fn lines(&mut self) -> Result<Vec<Vec<u8>>, ()> {
        let mut buffer = [0; 16 * 1024];
        let read = self.stream.read(&mut buffer).map_err(drop)?;
        self.open = read > 0;
        let Some(tls) = &mut self.tls else {
            self.partial.extend_from_slice(&buffer[..read]);
            return Ok(self.whole_lines());
        };
        let mut records = &buffer[..read];
        let mut octets = Vec::new();
        while !records.is_empty() {
            tls.read_tls(&mut records).map_err(drop)?;
            let state = tls.process_new_packets().map_err(drop)?;
            self.open &= !state.peer_has_closed();
            // At the end of what is there it says WouldBlock.
            let _so_far = tls.reader().read_to_end(&mut octets);
        }
        self.partial.extend_from_slice(&octets);
        self.flush()?;
        Ok(self.whole_lines())
    }

    /// The lines that have been decrypted already.
    pub fn decrypted(&mut self) -> Result<Vec<Vec<u8>>, ()> {
        if let Some(tls) = &mut self.tls {
            let _so_far = tls.reader().read_to_end(&mut self.partial);
        }
        self.flush()?;
        Ok(self.whole_lines())
    }

    fn whole_lines(&mut self) -> Vec<Vec<u8>> {
        let whole = match self.partial.iter().rposition(|&byte| byte == b'\n') {
            _ if !self.open => self.partial.len(),
            Some(last) => last + 1,
            None => 0,
        };
        let rest = self.partial.split_off(whole);
        let lines = std::mem::replace(&mut self.partial, rest);
        lines
            .split_inclusive(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    }

    pub fn write(&mut self, octets: &[u8]) -> Result<(), ()> {
        match &mut self.tls {
            None => self.stream.write_all(octets).map_err(drop),
            Some(tls) => {
                tls.writer().write_all(octets).map_err(drop)?;
                self.flush()
            }
        }
    }

    /// Half of a line; under TLS half of it as a record, then half the record that holds the rest.
    pub fn write_torn(&mut self, line: &[u8]) -> Result<(), ()> {
        let (first, rest) = line.split_at(line.len() / 2);
        self.write(first)?;
        if let Some(tls) = &mut self.tls {
            let mut record = Vec::new();
            tls.writer().write_all(rest).map_err(drop)?;
            tls.write_tls(&mut record).map_err(drop)?;
            self.stream
                .write_all(&record[..record.len() / 2])
                .map_err(drop)?;
        }
        Ok(())
    }

    /// Nothing more will be written; under TLS that is said.
    pub fn shut_down(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _gone = self.flush();
        }
        let _gone = self.stream.shutdown(Shutdown::Write);
    }

    fn flush(&mut self) -> Result<(), ()> {
        let Some(tls) = &mut self.tls else {
            return Ok(());
        };
        while tls.wants_write() {
            tls.write_tls(&mut self.stream).map_err(drop)?;
        }
        Ok(())
    }

    /// Waits, without reading, until the other side has said something.
    pub fn wait_for_octets(&self) {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::POLLIN)];
        let _count = poll(&mut fds, PollTimeout::from(30_000_u16));
    }

    /// When it is closed the kernel will send RST instead of FIN; what the peer has not yet got is lost.
    pub fn reset_at_close(&self) {
        let _set = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }
}

/// Waits a moment for either end to say something.
pub fn readable(ends: &[End; 2]) -> Vec<usize> {
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
pub fn both_gone(ends: &[End; 2], time: Duration) {
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
