//! What may stand in a `Host` field (RFC 9112 section 3.2, RFC 3986 section 3.2), or in
//! `:authority` (RFC 9113 section 8.3.1): no user, whose name would make one host look like
//! another.

/// Whether it is `uri-host [ ":" port ]`, or empty, as it is in a request for what has
/// no authority.
pub(crate) fn is_valid(value: &[u8]) -> bool {
    if let Some(bracketed) = value.strip_prefix(b"[") {
        let Some(end) = bracketed.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, rest) = (&bracketed[..end], &bracketed[end + 1..]);
        let in_address = |byte: &u8| *byte == b':' || is_of_name(*byte);
        return !address.is_empty() && address.iter().all(in_address) && is_port(rest);
    }
    let end = value.iter().position(|byte| !is_of_name(*byte));
    is_port(&value[end.unwrap_or(value.len())..])
}

/// Whether both name the same, where `default_port` is meant if none is named.
pub(crate) fn are_same(one: &[u8], other: &[u8], default_port: Option<u16>) -> bool {
    let without_default = |host| without_port(host, default_port);
    without_default(one).eq_ignore_ascii_case(without_default(other))
}

/// The port that a scheme means if none is named.
pub(crate) fn default_port(scheme: &[u8]) -> Option<u16> {
    let is = |known: &[u8]| scheme.eq_ignore_ascii_case(known);
    match () {
        () if is(b"http") => Some(80),
        () if is(b"https") => Some(443),
        () => None,
    }
}

/// The scheme and the host, with its port, that a request's target names if it is a whole
/// URI (RFC 9112 section 3.2.2). Without a user.
pub(crate) fn in_target(target: &[u8]) -> Option<(&[u8], &[u8])> {
    // Nearly all others begin so.
    if target.starts_with(b"/") {
        return None;
    }
    let is_scheme = |byte: &&u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    let length = target.iter().take_while(is_scheme).count();
    let behind = target[length..].strip_prefix(b"://")?;
    let ends = |byte: &u8| matches!(byte, b'/' | b'?' | b'#');
    let authority = behind.split(ends).next()?;
    let host = authority.rsplit(|byte| *byte == b'@').next()?;
    Some((&target[..length], host))
}

/// A host without the port, if that is `default` or left out behind its colon.
fn without_port(host: &[u8], default: Option<u16>) -> &[u8] {
    let Some(colon) = host.iter().rposition(|byte| *byte == b':') else {
        return host;
    };
    let (name, port) = (&host[..colon], str::from_utf8(&host[colon + 1..]));
    match (port, default) {
        (Ok(""), Some(_)) => name,
        (Ok(port), Some(default)) if port.parse() == Ok(default) => name,
        _ => host,
    }
}

/// Nothing, or a colon and digits.
fn is_port(rest: &[u8]) -> bool {
    match rest {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// `unreserved`, `sub-delims`, and what begins an encoded byte.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_host() {
        for host in [
            " ",
            "a b",
            "a/b",
            "http://a",
            "user@a",
            "a:b",
            "a:80:80",
            "a:80 ",
            "[::1",
            "[]",
            "[::1]a",
            "[a/b]",
            "::1",
            "a?b",
            "a#b",
            "a\\b",
            "a\tb",
            "\u{fc}ber",
            "<a>",
            "{a}",
            "a\"b",
            "a|b",
            "a^b",
            "a`b",
        ] {
            assert!(!is_valid(host.as_bytes()), "{host:?}");
        }
    }

    #[test]
    fn the_same_host_may_be_written_in_more_ways_than_one() {
        let are_same = |one: &str, other: &str, port| {
            let (one, other) = (one.as_bytes(), other.as_bytes());
            super::are_same(one, other, port) && super::are_same(other, one, port)
        };
        for (one, other) in [
            ("a", "a"),
            ("a.example", "A.Example:80"),
            ("a:", "a"),
            ("[::1]:80", "[::1]"),
        ] {
            assert!(are_same(one, other, Some(80)), "{one} {other}");
        }
        for (one, other) in [
            ("a", "b"),
            ("a", ""),
            ("a:80", "a:81"),
            ("a:443", "a"),
            ("a:80:80", "a"),
            ("[::80]", "[::"),
            ("a.", "a"),
        ] {
            assert!(!are_same(one, other, Some(80)), "{one} {other}");
        }
        assert!(!are_same("a:80", "a", None), "a tunnel has no default");
    }

    #[test]
    fn takes_names_and_addresses_with_and_without_a_port() {
        for host in [
            "",
            "a",
            "A.example:80",
            "under_score.svc",
            "10.0.0.1",
            "10.0.0.1:65536",
            "a:",
            "[::1]",
            "[::1]:8080",
            "[fe80::1%25eth0]:80",
            "[v1.x]",
            "%C3%BC.example",
            "a.b.",
            "*",
        ] {
            assert!(is_valid(host.as_bytes()), "{host:?}");
        }
    }
}
