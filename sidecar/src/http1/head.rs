//! A request's head as it is sent on: read once more for who wants to know, and changed
//! where it is.

use std::ops::Range;

use netting_telemetry::trace::{Begun, Field, Received, Tracer};

use crate::http::told::Told;

/// Begins the span of a request whose head this is, without a body yet, and tells the
/// upstream of it. Nothing, if its trace is not kept: the head stays as it is.
pub(super) fn begin(tracer: &Tracer, head: &mut Vec<u8>) -> Option<Box<Begun>> {
    let received = Received::of(fields(head).map(|field| field.of(head)));
    let begun = tracer.begin(&received)?;
    for (field, value) in begun.fields() {
        set(head, field, value.bytes());
    }
    if let Some(field) = begun.void() {
        remove(head, field);
    }
    // Few requests have one; the others are not to hold the memory for it.
    Some(Box::new(begun))
}

/// Tells the next upstream of the span of another try, where the one before was told of
/// the first: in as much room. Behind the head there may be the beginning of a body.
pub(super) fn tell_again(begun: &Begun, head: &mut [u8]) {
    for (field, value) in begun.fields() {
        let place = fields(head).find(|place| place.is(head, field));
        let as_long = |place: &Place| place.value.len() == value.bytes().len();
        if let Some(place) = place.filter(as_long) {
            head[place.value].copy_from_slice(value.bytes());
        }
    }
}

/// What a head says of its request.
pub(super) fn told(head: &[u8]) -> Told<'_> {
    let line = lines(head).next().unwrap_or_default();
    let mut words = head[line].split(|byte| *byte == b' ');
    let (method, target) = (words.next(), words.next());
    let mut told = Told {
        method: method.unwrap_or_default(),
        ..Told::of(target.unwrap_or_default())
    };
    told.trace = Received::of(fields(head).map(|field| field.of(head))).context();
    for field in fields(head) {
        let (name, value) = field.of(head);
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            4 if is("host") => told.authority = Some(value),
            10 if is("user-agent") => told.user_agent = Some(value),
            _ => {}
        }
    }
    told
}

/// Where in a head a field is.
struct Place {
    line: Range<usize>,
    name: Range<usize>,
    value: Range<usize>,
}

impl Place {
    fn of<'h>(&self, head: &'h [u8]) -> (&'h [u8], &'h [u8]) {
        (&head[self.name.clone()], &head[self.value.clone()])
    }

    fn is(&self, head: &[u8], field: Field) -> bool {
        Field::of(&head[self.name.clone()]) == Some(field)
    }
}

/// The lines of a head up to the empty one, without their ends.
fn lines(head: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let length = head[start..].windows(2).position(|end| end == b"\r\n")?;
        let line = start..start + length;
        start = line.end + 2;
        (length > 0).then_some(line)
    })
}

/// Its fields. Each line of them was written by ourselves: a name, a colon, a space, a
/// value.
fn fields(head: &[u8]) -> impl Iterator<Item = Place> {
    lines(head).skip(1).filter_map(move |line| {
        let colon = head[line.clone()].iter().position(|byte| *byte == b':')?;
        let name = line.start..line.start + colon;
        let value = (name.end + 2).min(line.end)..line.end;
        let line = line.start..line.end + 2;
        Some(Place { line, name, value })
    })
}

/// Makes a field have a value: where it is if it has as much room, and at the end
/// otherwise.
fn set(head: &mut Vec<u8>, field: Field, value: &[u8]) {
    let only = {
        let mut places = fields(head).filter(|place| place.is(head, field));
        let first = places.next();
        first.filter(|_| places.next().is_none())
    };
    if let Some(place) = only.filter(|place| place.value.len() == value.len()) {
        return head[place.value].copy_from_slice(value);
    }
    remove(head, field);
    add(head, field.name(), value);
}

/// Adds a field at the end, before the empty line.
pub(super) fn add(head: &mut Vec<u8>, name: &str, value: &[u8]) {
    head.truncate(head.len().saturating_sub(2));
    super::fields::line(name, value, head);
    head.extend_from_slice(b"\r\n");
}

fn remove(head: &mut Vec<u8>, field: Field) {
    loop {
        let place = fields(head).find(|place| place.is(head, field));
        let Some(place) = place else {
            return;
        };
        head.drain(place.line);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use netting_telemetry::{buffer::Buffer, trace::Sampler};

    use super::*;

    const W3C: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn tracer(ratio: &str) -> Tracer {
        let sampler = Sampler::ratio(ratio.parse().expect("it is a ratio"));
        Tracer::new(sampler, Arc::new(Buffer::new(1)))
    }

    /// Begins a span; in the head that goes on, `S` stands for it.
    fn begun(ratio: &str, head: &str) -> Option<String> {
        let mut head = head.as_bytes().to_vec();
        let begun = begin(&tracer(ratio), &mut head)?;
        let text = String::from_utf8(head).expect("it is text");
        let text = text.replace(&begun.span.to_string(), "S");
        Some(text.replace(&begun.trace.to_string(), "T"))
    }

    #[test]
    fn a_head_whose_trace_is_not_kept_stays_as_it_is() {
        for field in [
            "",
            "traceparent: malformed\r\n",
            "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00\r\n",
            "b3: 0\r\n",
        ] {
            let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{field}\r\n");
            let mut bytes = head.clone().into_bytes();
            assert!(begin(&tracer("0"), &mut bytes).is_none());
            assert_eq!(bytes, head.as_bytes());
        }
    }

    #[test]
    fn a_field_is_changed_where_it_is() {
        let head = format!("GET / HTTP/1.1\r\nTraceParent: {W3C}\r\nHost: a\r\n\r\n");
        let mut bytes = head.into_bytes();
        bytes.shrink_to_fit();
        let before = (bytes.as_ptr(), bytes.len());
        let begun = begin(&tracer("0"), &mut bytes).expect("it is sampled");
        assert_eq!((bytes.as_ptr(), bytes.len()), before, "nothing was moved");
        let head = String::from_utf8(bytes).expect("it is text");
        let expected = format!(
            "GET / HTTP/1.1\r\nTraceParent: 00-{}-{}-01\r\nHost: a\r\n\r\n",
            begun.trace, begun.span
        );
        assert_eq!(head, expected);
    }

    #[test]
    fn a_field_that_is_missing_is_added_behind_all_others() {
        let head = begun("1", "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        let expected = "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-T-S-01\r\n\r\n";
        assert_eq!(head.as_deref(), Some(expected));
        let head = begun("1", "GET / HTTP/1.0\r\n\r\n");
        let expected = "GET / HTTP/1.0\r\ntraceparent: 00-T-S-01\r\n\r\n";
        assert_eq!(head.as_deref(), Some(expected));
    }

    #[test]
    fn what_nobody_could_make_out_is_replaced() {
        let head = format!(
            "GET / HTTP/1.1\r\ntraceparent: {W3C}\r\nHost: a\r\ntraceparent: \r\ntracestate: a=1\r\n\r\n"
        );
        let expected = "GET / HTTP/1.1\r\nHost: a\r\ntraceparent: 00-T-S-01\r\n\r\n";
        assert_eq!(begun("1", &head).as_deref(), Some(expected));
    }

    #[test]
    fn a_decision_is_written_down_for_who_has_none() {
        let head = "GET / HTTP/1.1\r\nb3: 4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7\r\nHost: a\r\n\r\n";
        let expected = "GET / HTTP/1.1\r\nHost: a\r\nb3: T-S-1\r\n\r\n";
        assert_eq!(begun("1", head).as_deref(), Some(expected));
    }

    #[test]
    fn another_try_is_told_of_in_the_same_places() {
        let head = format!(
            "POST / HTTP/1.1\r\ntraceparent: {W3C}\r\nHost: a\r\nb3: 1\r\n\r\ntraceparent: {W3C}\r\n\r\n"
        );
        let (head, body) = head.split_at(head.find("\r\n\r\n").expect("it ends") + 4);
        let mut bytes = head.as_bytes().to_vec();
        let first = begin(&tracer("0"), &mut bytes).expect("it is sampled");
        bytes.extend_from_slice(body.as_bytes());
        let before = String::from_utf8(bytes.clone()).expect("it is text");
        let second = first.again();
        tell_again(&second, &mut bytes);
        let after = String::from_utf8(bytes).expect("it is text");
        let (first, second) = (first.span.to_string(), second.span.to_string());
        assert!(
            before.contains(&first) && !after.contains(&first),
            "{after}"
        );
        assert_eq!(after, before.replace(&first, &second));
    }

    #[test]
    fn a_body_that_resembles_a_head_is_none() {
        let head = b"POST /a?b=c HTTP/1.1\r\nUser-Agent: curl\r\nhost: b\r\nempty:\r\n\r\nhost: evil\r\n\r\n";
        let told = told(head);
        assert_eq!((told.method, told.path), (&b"POST"[..], &b"/a"[..]));
        assert_eq!(
            (told.authority, told.user_agent),
            (Some(&b"b"[..]), Some(&b"curl"[..]))
        );
    }
}
