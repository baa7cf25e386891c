//! The frames that come over a connection, but for those that say nothing.
//!
//! A DATA frame without data that ends nothing is legal, and some peers send one before the
//! trailers of each response (<https://github.com/jetty/jetty.project/issues/2454>). The
//! library counts them for as long as a connection lasts, and gives it up after a hundred,
//! with all streams that share it. So it does not get to see them, unless they are a flood.

/// What each frame begins with (RFC 9113 section 4.1).
const HEAD_BYTES: usize = 9;
/// Frames without data that come one after the other: more of them are a flood
/// (CVE-2019-9518), which the library ends. As many streams may well end at once.
const EMPTY_IN_A_ROW_MAX: u32 = 1024;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// How far one direction of a connection has been read.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// What is to come of the preface, or of a frame's payload.
    rest: usize,
    /// What has come of a head that is not whole. Nobody can do anything with it yet.
    begun: Vec<u8>,
    /// The frame is one of a header block, and not its last: nothing may come between them.
    is_in_block: bool,
    /// How many have been told.
    count: u64,
    empty_in_a_row: u32,
}

impl Frames {
    /// Behind a preface of so many bytes.
    pub(super) fn behind(preface: usize) -> Self {
        Self {
            rest: preface,
            ..Self::default()
        }
    }

    /// Whether a whole frame has come.
    pub(super) fn have_first(&self) -> bool {
        self.count > 1 || (self.count == 1 && self.rest == 0)
    }

    /// What came last and is not told yet: the next bytes to be sifted begin with it.
    pub(super) fn begun(&self) -> &[u8] {
        &self.begun
    }

    /// Moves what is to be told to the front of what came, and returns how much that is; all
    /// of it, if nothing more will come.
    pub(super) fn sift(&mut self, bytes: &mut [u8], is_last: bool) -> usize {
        self.begun.clear();
        if is_last {
            return bytes.len();
        }
        let (mut from, mut told) = (0, 0);
        while from < bytes.len() {
            let mut now = self.rest.min(bytes.len() - from);
            self.rest -= now;
            if now == 0 {
                let Some(head) = bytes[from..].first_chunk() else {
                    self.begun.extend_from_slice(&bytes[from..]);
                    break;
                };
                if !self.is_told(head) {
                    from += HEAD_BYTES;
                    continue;
                }
                now = HEAD_BYTES;
            }
            if told < from {
                bytes.copy_within(from..from + now, told);
            }
            from += now;
            told += now;
        }
        told
    }

    fn is_told(&mut self, head: &[u8; HEAD_BYTES]) -> bool {
        let [high, middle, low, kind, flags, stream @ ..] = *head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        // Those that break a rule besides are the library's to judge.
        let is_data = kind == DATA && flags & PADDED == 0 && stream != [0; 4];
        let is_empty = is_data && length == 0 && flags & END_STREAM == 0 && !self.is_in_block;
        if is_empty && self.empty_in_a_row < EMPTY_IN_A_ROW_MAX {
            self.empty_in_a_row += 1;
            return false;
        }
        if !is_empty {
            self.empty_in_a_row = 0;
        }
        let is_of_block = matches!(kind, HEADERS | PUSH_PROMISE | CONTINUATION);
        self.is_in_block = is_of_block && flags & END_HEADERS == 0;
        self.count += 1;
        self.rest = length as usize;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("a short frame");
        let head = [0, 0, length, kind, flags, 0, 0, 0, stream];
        [&head[..], payload].concat()
    }

    /// What is told of bytes that come in pieces of so many.
    fn told(mut frames: Frames, bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut told = Vec::new();
        for piece in bytes.chunks(piece) {
            let mut came = [frames.begun(), piece].concat();
            let length = frames.sift(&mut came, false);
            told.extend_from_slice(&came[..length]);
        }
        told
    }

    #[test]
    fn frames_without_data_are_left_out_wherever_they_are_cut() {
        let empty = frame(DATA, 0, 1, b"");
        let (data, block) = (frame(DATA, 0, 1, &empty), frame(HEADERS, 4, 3, b"block"));
        let end = frame(DATA, END_STREAM, 1, b"");
        let came = [b"PRI * ", &data[..], &empty, &empty, &block, &empty, &end].concat();
        let expected = [b"PRI * ", &data[..], &block, &end].concat();
        for piece in 1..=came.len() {
            let told = told(Frames::behind(6), &came, piece);
            assert_eq!(told, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn frames_without_data_that_break_a_rule_are_told() {
        let begun = frame(HEADERS, END_STREAM, 1, b"block");
        for (what, came) in [
            ("of no stream", frame(DATA, 0, 0, b"")),
            (
                "with padding that has no length",
                frame(DATA, PADDED, 1, b""),
            ),
            ("within a block", [begun, frame(DATA, 0, 1, b"")].concat()),
        ] {
            assert_eq!(told(Frames::default(), &came, 64), came, "{what}");
        }
    }

    #[test]
    fn a_flood_of_frames_without_data_is_told() {
        let (empty, ping) = (frame(DATA, 0, 1, b""), frame(6, 0, 0, &[0; 8]));
        let flood = empty.repeat(EMPTY_IN_A_ROW_MAX as usize + 1);
        let came = [&flood[..], &ping, &empty].concat();
        let expected = [&empty[..], &ping].concat();
        assert_eq!(told(Frames::default(), &came, 64), expected);
    }

    #[test]
    fn the_first_frame_is_known_when_all_of_it_has_come() {
        let settings = frame(4, 0, 0, &[0, 8, 0, 0, 0, 1]);
        let mut frames = Frames::default();
        for byte in &settings {
            assert!(!frames.have_first(), "{frames:?}");
            let mut came = [frames.begun(), &[*byte]].concat();
            frames.sift(&mut came, false);
        }
        assert!(frames.have_first());
        let mut next = [&settings[..], &settings[..10]].concat();
        let mut frames = Frames::default();
        frames.sift(&mut next, false);
        assert!(frames.have_first(), "and a part of the second");
    }
}
