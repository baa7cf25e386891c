//! How many values a JSON text has, counted before any memory is spent on them: an
//! object of a few bytes takes hundreds once it is read.

/// Counts what separates values or begins new ones, outside of strings: never less than
/// there are values, less one, and at most twice as many.
pub(super) fn count(text: &[u8]) -> usize {
    let mut count = 0;
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => skip_string(&mut bytes),
            b',' | b':' | b'[' | b'{' => count += 1,
            _ => {}
        }
    }
    count
}

fn skip_string(bytes: &mut std::slice::Iter<'_, u8>) {
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => return,
            b'\\' => drop(bytes.next()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_count_once_whatever_is_in_them() {
        for (text, expected) in [
            ("", 0),
            ("1", 0),
            (r#""[,:{""#, 0),
            (r#""\\",[1]"#, 2),
            (r#""\",[,""#, 0),
            (r#""\\\",[,""#, 0),
            ("\"never closed [[[", 0),
            ("[1,2,3]", 3),
            (r#"{"a":{"b":[]},"c":1}"#, 7),
            ("[[[[", 4),
        ] {
            assert_eq!(count(text.as_bytes()), expected, "{text}");
        }
    }
}
