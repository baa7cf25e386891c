//! What clients choose, so that it cannot pass for anything else: neither for another
//! line, nor for the end of a value, nor for orders to a terminal.

use std::io::Write as _;

/// What a terminal or a program that reads lines may act on.
fn acts(c: char) -> bool {
    // Line and paragraph separators, and what turns the direction of text.
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Between quotation marks of JSON. What is no UTF-8 becomes U+FFFD.
pub(crate) fn json(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                c if acts(c) => put(out, format_args!("\\u{:04x}", u32::from(c))),
                c => plain(c, out),
            }
        }
        if !chunk.invalid().is_empty() {
            plain(char::REPLACEMENT_CHARACTER, out);
        }
    }
}

/// In a line of text, perhaps between quotation marks: `\"`, `\\`, and bytes as `\x0a`.
pub(super) fn text(bytes: &[u8], out: &mut Vec<u8>) {
    let hex = |bytes: &[u8], out: &mut Vec<u8>| {
        for byte in bytes {
            put(out, format_args!("\\x{byte:02x}"));
        }
    };
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
                c if acts(c) => hex(c.encode_utf8(&mut [0; 4]).as_bytes(), out),
                c => plain(c, out),
            }
        }
        hex(chunk.invalid(), out);
    }
}

fn plain(c: char, out: &mut Vec<u8>) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends what is formatted.
pub(super) fn put(out: &mut Vec<u8>, written: std::fmt::Arguments<'_>) {
    out.write_fmt(written)
        .expect("a vector takes all that is written");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(bytes: &[u8]) -> (String, String) {
        let utf8 = |out: Vec<u8>| String::from_utf8(out).expect("it is UTF-8");
        let (mut as_json, mut as_text) = (Vec::new(), Vec::new());
        json(bytes, &mut as_json);
        text(bytes, &mut as_text);
        (utf8(as_json), utf8(as_text))
    }

    #[test]
    fn nothing_a_client_sends_begins_another_line_or_moves_a_cursor() {
        for c in (0..=0x10_ffff)
            .filter_map(char::from_u32)
            .filter(|c| acts(*c))
        {
            let (json, text) = both(c.to_string().as_bytes());
            assert!(!json.chars().any(acts) && !text.chars().any(acts), "{c:?}");
            assert!(json.starts_with('\\') && text.starts_with('\\'), "{c:?}");
        }
        for byte in 0x80..=0xff {
            let (json, text) = both(&[b'a', byte, b'b']);
            assert_eq!(
                (json.as_str(), text),
                ("a\u{fffd}b", format!("a\\x{byte:02x}b"))
            );
        }
    }

    #[test]
    fn a_value_does_not_end_before_its_end() {
        let (json, text) = both(br#"/" 200 "\"#);
        assert_eq!(
            (json.as_str(), text.as_str()),
            (r#"/\" 200 \"\\"#, r#"/\" 200 \"\\"#)
        );
        let (json, text) = both("/\r\n\t\u{1b}[2J\u{7f}\u{9b}\u{2028}\u{202e}".as_bytes());
        assert_eq!(json, r"/\r\n\t\u001b[2J\u007f\u009b\u2028\u202e");
        assert_eq!(
            text,
            r"/\x0d\x0a\x09\x1b[2J\x7f\xc2\x9b\xe2\x80\xa8\xe2\x80\xae"
        );
    }

    #[test]
    fn what_is_harmless_stays_as_it_is() {
        let harmless = "/caf\u{e9}/\u{1f980}?'`$(rm)%41;";
        assert_eq!(
            both(harmless.as_bytes()),
            (harmless.to_owned(), harmless.to_owned())
        );
    }
}
