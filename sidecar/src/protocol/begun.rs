//! What a client said while its protocol was being found out.

use std::io;

use tokio::net::TcpStream;

use crate::detect::PREFIX_BYTES;

/// Bytes that were read from a client, of which the first ones may have been passed on
/// to the upstream as they were: as much of a request line as had come, or of HTTP/2's
/// preface. Both stay as they are however the rest is passed on, so whoever passes it
/// on leaves so many bytes out.
#[derive(Debug, Default)]
pub struct Begun {
    bytes: Vec<u8>,
    passed_on: usize,
}

impl Begun {
    /// All that was read.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How much of it the upstream has.
    #[must_use]
    pub fn passed_on(&self) -> usize {
        self.passed_on
    }

    /// What the upstream does not have.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.passed_on..]
    }

    /// All that was read, to be read again.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The same, for an upstream that has nothing of it.
    pub(super) fn anew(self) -> Self {
        Self {
            passed_on: 0,
            ..self
        }
    }

    pub(super) fn is_passed_on(&self) -> bool {
        self.rest().is_empty()
    }

    /// Reads once; 0 is the end.
    pub(super) async fn read(&mut self, client: &TcpStream) -> io::Result<usize> {
        loop {
            client.readable().await?;
            // No memory is taken before there is something for it.
            let room = PREFIX_BYTES.saturating_sub(self.bytes.len()).max(1);
            self.bytes.reserve_exact(room);
            match client.try_read_buf(&mut self.bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return read,
            }
        }
    }

    /// Sends what the upstream does not have, as far as it takes it.
    pub(super) fn pass_on(&mut self, upstream: &TcpStream) -> io::Result<()> {
        match upstream.try_write(self.rest()) {
            Ok(wrote) => self.passed_on += wrote,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
