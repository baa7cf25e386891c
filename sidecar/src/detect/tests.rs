use super::*;

const OPAQUE: Detection = Detection::Is(Protocol::Opaque);
const HTTP1: Detection = Detection::Is(Protocol::Http1);

/// A client's hello for a name, in records of at most so many bytes.
pub(crate) fn hello(name: Option<&str>, record_bytes: usize) -> Vec<u8> {
    let mut extensions = vec![0x00, 0x17, 0, 0]; // extended_master_secret
    if let Some(name) = name {
        let length = u16::try_from(name.len()).expect("a short name");
        extensions.extend_from_slice(&[0, 0]);
        extensions.extend_from_slice(&(length + 5).to_be_bytes());
        extensions.extend_from_slice(&(length + 3).to_be_bytes());
        extensions.push(0);
        extensions.extend_from_slice(&length.to_be_bytes());
        extensions.extend_from_slice(name.as_bytes());
    }
    let mut body = vec![3, 3];
    body.extend_from_slice(&[7; 32]);
    body.extend_from_slice(&[0, 0, 2, 0x13, 0x01, 1, 0]);
    let length = u16::try_from(extensions.len()).expect("few extensions");
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(&extensions);
    let mut message = vec![1, 0];
    let length = u16::try_from(body.len()).expect("a short hello");
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(&body);
    let records = message.chunks(record_bytes).flat_map(|part| {
        let length = u16::try_from(part.len()).expect("a short record");
        let [high, low] = length.to_be_bytes();
        [&[22, 3, 1, high, low], part].concat()
    });
    records.collect()
}

#[test]
fn what_looks_like_a_method_is_not_http_yet() {
    for line in [
        "EHLO mail.example.com\r\n",
        "QUIT\r\n",
        "PING\r\n",
        "SET key value\r\n",
        "CONNECT {\"verbose\":false}\r\n",
        "CONNECT\naccept-version:1.2\n\n\0",
        "GET /\r\n",
        "GET / HTTP/2.0\r\n",
        "GET / HTTP/1.1x\r\n",
        "GET / http/1.1\r\n",
        "get / HTTP/1.1\r\n",
        " GET / HTTP/1.1\r\n",
        "SSH-2.0-OpenSSH_9.9\r\n",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZ / HTTP/1.1\r\n",
        "hello",
        "*1\r\n$4\r\nPING\r\n",
        "\0\0\0\x08\x04\x52\x16\x2f",
        "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        assert_eq!(detect(line.as_bytes()), OPAQUE, "{line:?}");
    }
}

#[test]
fn what_is_no_hello_is_opaque() {
    for bytes in [
        &[22, 2, 0, 0, 5, 1][..],
        &[22, 3, 1, 0, 0],
        &[22, 3, 1, 0xff, 0xff],
        &[22, 3, 1, 0, 5, 2],
        &[21, 3, 1, 0, 2, 2, 40],
        &[0x80, 0x2e, 1, 3, 1],
    ] {
        assert_eq!(detect(bytes), OPAQUE, "{bytes:?}");
    }
}

#[test]
fn says_when_it_needs_more() {
    let hello = hello(Some("example.com"), 9);
    for whole in [
        &b"GET / HTTP/1.1\r"[..],
        HTTP2_PREFACE,
        b"M-SEARCH * HTTP/1.1\r",
        &hello,
    ] {
        for length in 0..whole.len() {
            assert_eq!(detect(&whole[..length]), Detection::NeedMore, "{length}");
        }
        assert!(matches!(detect(whole), Detection::Is(_)), "{whole:?}");
    }
}

#[test]
fn knows_http_by_its_request_line() {
    for line in [
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.0\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n",
        "CONNECT example.com:443 HTTP/1.1\r\n",
        "GET http://example.com/a HTTP/1.1\r\n",
        "VERSION-CONTROL /a HTTP/1.1\r\n",
        "X_OWN /a HTTP/1.1\r\n",
        "GET /a b HTTP/1.1\r\n",
        "P / HTTP/1.1\r\n",
        "PRI / HTTP/1.1\r\n",
    ] {
        assert_eq!(detect(line.as_bytes()), HTTP1, "{line:?}");
    }
}

/// The begin of a line that is longer than what is looked at.
fn long(begin: &str, end: &str) -> Vec<u8> {
    let room = PREFIX_BYTES - begin.len() - end.len();
    format!("{begin}{}{end}", "a".repeat(room)).into_bytes()
}

#[test]
fn a_very_long_line_of_another_protocol_is_not_http() {
    for (begin, end) in [
        ("ERROR {\"message\":\"", ""),
        ("ERROR /var/log/app is full: ", ""),
        ("SET key ", ""),
        ("SET ", ""),
        ("SET /key", " value"),
        ("SET http://a/", " HTTP/1.1 is what it is"),
        ("GET ", " HTTP/1.1"),
        ("GET //", " http"),
        ("GET http:", ""),
        ("GET ://", ""),
        ("GET ?", ""),
        ("CONNECT {\"jwt\":\"", ""),
        // No host has such a name.
        ("CONNECT ", ":443"),
    ] {
        let line = long(begin, end);
        assert_eq!(detect(&line), OPAQUE, "{begin} … {end}");
        assert_eq!(detect(&line[..PREFIX_BYTES - 1]), Detection::NeedMore);
    }
}

#[test]
fn knows_a_very_long_request_line_by_its_target() {
    for (begin, end) in [
        ("GET /", ""),
        ("GET //", ""),
        ("GET /?q=http://", ""),
        ("GET http://example.com/", ""),
        ("GET HTTPS://example.com/", ""),
        ("GET coap+tcp://example.com/", ""),
        ("M-SEARCH /", " "),
        ("GET /", " HTTP/1."),
        ("GET /", " HTTP/1.0"),
    ] {
        let line = long(begin, end);
        assert_eq!(detect(&line), HTTP1, "{begin} … {end}");
        assert_eq!(detect(&line[..PREFIX_BYTES - 1]), Detection::NeedMore);
    }
}

#[test]
fn a_line_that_ends_as_a_request_does_is_one_whatever_it_asks_for() {
    for target in ["?q", "a", "example.com/a", "{}", "/caf\u{e9}", "*x"] {
        let line = format!("GET {target} HTTP/1.1\r\n");
        assert_eq!(detect(line.as_bytes()), HTTP1, "{target:?}");
    }
}

#[test]
fn knows_http2_by_its_preface() {
    let preface = [HTTP2_PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
    assert_eq!(detect(&preface), Detection::Is(Protocol::Http2));
}

#[test]
fn finds_the_name_in_a_hello_over_any_number_of_records() {
    for record_bytes in [1, 2, 5, 40, 1000] {
        let hello = hello(Some("Example.COM"), record_bytes);
        let name = Some("example.com".to_owned());
        assert_eq!(detect(&hello), Detection::Is(Protocol::Tls(name)));
    }
    assert_eq!(
        detect(&hello(None, 1000)),
        Detection::Is(Protocol::Tls(None))
    );
}

#[test]
fn a_name_that_is_none_is_left_out() {
    for name in ["", "a\nb", "ex ample"] {
        let hello = hello(Some(name), 1000);
        assert_eq!(
            detect(&hello),
            Detection::Is(Protocol::Tls(None)),
            "{name:?}"
        );
    }
}

#[test]
fn any_bytes_are_decided_or_need_more() {
    let mut random = fastrand::Rng::with_seed(4);
    let seeds = [hello(Some("example.com"), 20), HTTP2_PREFACE.to_vec()];
    for round in 0..20_000 {
        let mut bytes = seeds[round % seeds.len()].clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = random.u8(..);
        }
        bytes.truncate(random.usize(..=bytes.len()));
        // What is decided once stays so, whatever comes after.
        if let Detection::Is(protocol) = detect(&bytes) {
            bytes.push(random.u8(..));
            assert_eq!(detect(&bytes), Detection::Is(protocol), "{bytes:?}");
        }
    }
}
