//! What encoders make of a snapshot.

use bytes::Bytes;

use super::queue::Batch;

/// A snapshot in the words of one protocol.
#[derive(Debug, Default)]
pub(crate) struct Encoded {
    /// In the order in which they are sent.
    pub(crate) batches: Vec<Batch>,
    /// How many data points fit into none.
    pub(crate) too_long: u64,
}

/// Puts lines together, into datagrams or bodies of a bounded length.
pub(crate) struct Packer {
    bytes_max: usize,
    /// Whether the last line of a batch ends as the others do.
    last_ends: bool,
    open: Vec<u8>,
    items: u64,
    encoded: Encoded,
}

impl Packer {
    /// Of datagrams, whose lines are between each other's line breaks.
    pub(crate) fn datagrams(bytes_max: usize) -> Self {
        Self {
            bytes_max,
            last_ends: false,
            open: Vec::new(),
            items: 0,
            encoded: Encoded::default(),
        }
    }

    /// Of bodies, whose every line has a line break.
    pub(crate) fn bodies(bytes_max: usize) -> Self {
        Self {
            last_ends: true,
            ..Self::datagrams(bytes_max)
        }
    }

    /// Adds a line, which has no line break.
    pub(crate) fn line(&mut self, line: &str) {
        let end = usize::from(self.last_ends);
        if line.len() + end > self.bytes_max {
            self.encoded.too_long += 1;
            return;
        }
        let between = usize::from(!self.open.is_empty() && !self.last_ends);
        if self.open.len() + between + line.len() + end > self.bytes_max {
            self.close();
        }
        if !self.open.is_empty() && !self.last_ends {
            self.open.push(b'\n');
        }
        self.open.extend_from_slice(line.as_bytes());
        if self.last_ends {
            self.open.push(b'\n');
        }
        self.items += 1;
    }

    /// All that was added.
    pub(crate) fn finish(mut self) -> Encoded {
        self.close();
        self.encoded
    }

    fn close(&mut self) {
        if self.items > 0 {
            let body = Bytes::from(std::mem::take(&mut self.open));
            let items = std::mem::take(&mut self.items);
            self.encoded.batches.push(Batch { body, items });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(packer: Packer) -> Vec<(String, u64)> {
        let batches = packer.finish().batches.into_iter();
        let text = |batch: Batch| {
            let text = String::from_utf8(batch.body.to_vec()).expect("text");
            (text, batch.items)
        };
        batches.map(text).collect()
    }

    #[test]
    fn a_line_that_is_too_long_is_counted() {
        let mut packer = Packer::datagrams(3);
        packer.line("abcd");
        packer.line("abc");
        assert_eq!(packer.encoded.too_long, 1);
        assert_eq!(bodies(packer), [("abc".to_owned(), 1)]);
        let mut packer = Packer::bodies(3);
        packer.line("abc");
        assert_eq!(packer.finish().too_long, 1);
    }

    #[test]
    fn datagrams_are_filled_to_their_last_byte() {
        let mut packer = Packer::datagrams(7);
        for line in ["abc", "def", "g", "h", "ijkl"] {
            packer.line(line);
        }
        let expected = [("abc\ndef", 2), ("g\nh", 2), ("ijkl", 1)];
        let expected = expected.map(|(text, items)| (text.to_owned(), items));
        assert_eq!(bodies(packer), expected);
    }

    #[test]
    fn every_line_of_a_body_ends() {
        let mut packer = Packer::bodies(8);
        for line in ["abc", "def", "g"] {
            packer.line(line);
        }
        let expected = [("abc\ndef\n", 2), ("g\n", 1)];
        let expected = expected.map(|(text, items)| (text.to_owned(), items));
        assert_eq!(bodies(packer), expected);
    }
}
