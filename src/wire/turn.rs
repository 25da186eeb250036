//! Letting go: the connection leaves this program's hands, whole.

use super::stream::Stream;
use super::{Released, Wire, WireError};
use std::os::fd::OwnedFd;

impl Wire {
    /// Lets go of the socket, ready for a mail server: blocking, nothing taken from it.
    ///
    /// # Errors
    /// [`WireError::PartialLine`] when an unfinished line was taken, [`WireError::Broken`]
    /// when the socket refuses; the connection is closed then.
    pub async fn release(self) -> Result<Released, WireError> {
        if !self.reader.is_empty() {
            return Err(WireError::PartialLine);
        }
        let stream = match self.stream {
            Stream::Plain(stream) => stream,
            Stream::Tls(_) | Stream::Kernel(_) => {
                return Err(WireError::Tls(
                    "cannot hand over a connection under TLS".to_owned(),
                ));
            }
            Stream::Failed(_) | Stream::Gone => return Err(WireError::Closed),
        };
        let stream = stream.into_std()?;
        stream.set_nonblocking(false)?;
        // As the mail server would have it: its writes are parts of a message, not replies.
        stream.set_nodelay(false)?;
        Ok(Released::new(OwnedFd::from(stream), self.peer, self.local))
    }
}
