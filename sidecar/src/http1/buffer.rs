//! Memory for what has been read and not yet passed on.
//!
//! Buffers are lent by their thread and go back to it when they are empty, so an
//! idle connection holds none, and a busy one costs no allocation.

use std::{cell::RefCell, mem};

/// Enough for nearly every head, and for a body's bytes to be worth a system call.
const BUFFER_BYTES: usize = 16 * 1024;
/// More than are ever in use at once by connections that aren't held up.
const SPARE_MAX: usize = 16;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static SPARE_OUT: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes that were read from a connection and not yet used.
#[derive(Debug, Default)]
pub(crate) struct Buffer {
    /// All of it is initialised; empty while there is nothing to hold.
    memory: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    /// What is held.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.end]
    }

    /// Whether nothing is held.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Lets go of the first bytes. With the last one the memory goes back.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        debug_assert!(self.start <= self.end, "only what is held can be used");
        if self.is_empty() {
            self.give_back();
        }
    }

    /// Room for more behind what is held; memory of a larger size if there is none.
    pub(crate) fn room(&mut self) -> &mut [u8] {
        if self.memory.is_empty() {
            let spare = SPARE.with_borrow_mut(Vec::pop);
            self.memory = spare.unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        }
        if self.end == self.memory.len() {
            self.memory.copy_within(self.start..self.end, 0);
            self.end -= mem::take(&mut self.start);
        }
        if self.end == self.memory.len() {
            let larger = self.memory.len() * 2;
            self.memory.resize(larger, 0);
        }
        &mut self.memory[self.end..]
    }

    /// Puts bytes behind what is held.
    pub(crate) fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = self.room();
            let (now, later) = bytes.split_at(bytes.len().min(room.len()));
            room[..now.len()].copy_from_slice(now);
            self.filled(now.len());
            bytes = later;
        }
    }

    /// So many bytes were put into the room.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end += count;
        if self.is_empty() {
            self.give_back();
        }
    }

    fn give_back(&mut self) {
        (self.start, self.end) = (0, 0);
        let memory = mem::take(&mut self.memory);
        if memory.len() == BUFFER_BYTES {
            keep(&SPARE, memory);
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// An empty vector for a head.
pub(crate) fn lend_out() -> Vec<u8> {
    SPARE_OUT.with_borrow_mut(Vec::pop).unwrap_or_default()
}

/// Takes a vector back.
pub(crate) fn take_back(mut out: Vec<u8>) {
    out.clear();
    if (1..=BUFFER_BYTES).contains(&out.capacity()) {
        keep(&SPARE_OUT, out);
    }
}

fn keep(spare: &'static std::thread::LocalKey<RefCell<Vec<Vec<u8>>>>, memory: Vec<u8>) {
    // A thread that ends has no use for it.
    let _ = spare.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < SPARE_MAX {
            spare.push(memory);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_no_memory_when_it_holds_nothing() {
        let mut buffer = Buffer::default();
        buffer.put(b"hello");
        buffer.consume(2);
        assert_eq!(buffer.bytes(), b"llo");
        buffer.consume(3);
        assert!(buffer.memory.is_empty());
        buffer.room();
        buffer.filled(0);
        assert!(buffer.memory.is_empty());
    }

    #[test]
    fn grows_when_it_is_full_and_keeps_what_it_holds() {
        let mut buffer = Buffer::default();
        let full = buffer.room().len();
        buffer.filled(full);
        buffer.consume(full - 3);
        buffer.put(&vec![7; full - 3]);
        assert_eq!(buffer.bytes().len(), full);
        buffer.put(b"more");
        assert_eq!(buffer.bytes().len(), full + 4);
        assert!(buffer.bytes().ends_with(b"\x07more"));
    }
}
