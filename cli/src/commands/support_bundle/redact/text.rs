//! Credentials in text: in logs, messages, and values of annotations. Nothing says where one
//! ends that stands in no quotes, so what may belong to it goes with it.

mod value;

use super::REDACTED;
use value::{QUOTES, reference, value, word_end};

/// What the name of a credential ends in, however it is written (`X-Auth-Token`, `clientSecret`).
const ENDINGS: [&str; 12] = [
    "token",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "authorization",
    "bearer",
    "signature",
    "sig",
    "credential",
    "credentials",
];
/// What its last word is, where other words end like it (`DB_PASS`, and not `bypass`).
const LAST_WORDS: [&str; 2] = ["pass", "auth"];
/// What goes before a credential in plain text.
const SCHEMES: [&str; 2] = ["bearer", "basic"];
/// What follows the `@` in the name of an image, which is no host then.
const DIGESTS: [&str; 2] = ["@sha256:", "@sha512:"];

/// The same text without credentials: what is assigned to a telling name (`token=…`,
/// `x-api-key: …`), userinfo of URLs, `Bearer …`, JWTs, and private keys.
pub(in super::super) fn text(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut in_key = false;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches('\n');
        let key_line = line.contains("PRIVATE KEY-----");
        if key_line && line.contains("-----BEGIN") {
            in_key = !line.contains("-----END");
            clean += REDACTED;
        } else if in_key {
            in_key = !(key_line && line.contains("-----END"));
            continue;
        } else {
            self::line(line, &mut clean);
        }
        clean += &whole[line.len()..];
    }
    clean
}

/// The beginning of a text: so many bytes that may be seen, then so many that may not.
#[derive(Clone, Copy)]
struct Span {
    kept: usize,
    hidden: usize,
}

fn line(line: &str, clean: &mut String) {
    let mut at = 0;
    while let Some(first) = line[at..].chars().next() {
        let (before, rest) = line.split_at(at);
        let plain = Span {
            kept: first.len_utf8(),
            hidden: 0,
        };
        let Span { kept, hidden } = span(before, first, rest).unwrap_or(plain);
        *clean += &rest[..kept];
        if hidden > 0 {
            *clean += REDACTED;
        }
        at += kept + hidden;
    }
}

/// What is to be done with the beginning of `rest`, if anything is.
fn span(before: &str, first: char, rest: &str) -> Option<Span> {
    match first {
        '$' => reference(rest).map(|kept| Span { kept, hidden: 0 }),
        ':' if rest.starts_with("://") => user_info(rest),
        ':' | '=' => assigned(before, first, rest),
        _ if before.ends_with(char::is_alphanumeric) => None,
        _ => web_token(rest)
            .or_else(|| by_scheme(rest))
            .or_else(|| login(rest)),
    }
}

/// `://user:password@host`. A password with a slash, which should be encoded, and is not
/// always, looks like the end of the host.
fn user_info(rest: &str) -> Option<Span> {
    let kept = "://".len();
    let hidden = before_at(&rest[kept..])?;
    let word = &rest[kept..];
    let host = word.split(['/', '?', '#']).next().unwrap_or_default();
    host.contains([':', '@']).then_some(Span { kept, hidden })
}

/// `user:password@`, as databases have it without a scheme.
fn login(rest: &str) -> Option<Span> {
    let user = rest.find(|c: char| !(c.is_alphanumeric() || "._%+-".contains(c)))?;
    let after = &rest[user..];
    let is_login = user > 0 && after.starts_with(':') && !after.starts_with("://");
    let hidden = is_login.then(|| before_at(rest)).flatten()?;
    Some(Span { kept: 0, hidden })
}

/// How much of the first word stands before its last `@`.
fn before_at(text: &str) -> Option<usize> {
    let word = &text[..word_end(text)];
    let digest = DIGESTS.iter().filter_map(|digest| word.find(digest)).min();
    let at = word[..digest.unwrap_or(word.len())].rfind('@')?;
    (at > 0).then_some(at)
}

/// A JSON Web Token (RFC 7519): its header is an object, which begins like this in Base64.
fn web_token(rest: &str) -> Option<Span> {
    let is_of_it = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let hidden = rest.find(|c| !is_of_it(c)).unwrap_or(rest.len());
    let is_one = rest.starts_with("eyJ") && rest[..hidden].matches('.').count() >= 2;
    is_one.then_some(Span { kept: 0, hidden })
}

/// `Bearer …`.
fn by_scheme(rest: &str) -> Option<Span> {
    let end = rest.find(char::is_whitespace)?;
    let is_scheme = SCHEMES
        .iter()
        .any(|scheme| scheme.eq_ignore_ascii_case(&rest[..end]));
    let credential = rest[end..].trim_start();
    let kept = rest.len() - credential.len();
    let hidden = word_end(credential);
    (is_scheme && hidden > 0).then_some(Span { kept, hidden })
}

/// What is assigned by the sign that `rest` begins with.
fn assigned(before: &str, sign: char, rest: &str) -> Option<Span> {
    // Of a path in Rust.
    if rest.starts_with("::") || before.ends_with(':') {
        return None;
    }
    let name = before.trim_end_matches([' ', '\\', ']']);
    let name = name.trim_end_matches(QUOTES).trim_end_matches('\\');
    let name = name.rsplit(|c: char| !is_name(c)).next()?;
    let name = name.to_ascii_lowercase();
    if !is_telling(&name, sign) {
        return None;
    }
    let assigned = rest.trim_start_matches(['=', ':', '>', ' ', '\t']);
    let value = value(assigned, name.ends_with("authorization"))?;
    let kept = rest.len() - assigned.len() + value.kept;
    Some(Span { kept, ..value })
}

/// Whether what a name stands for is nobody's business. Each `key` is said to have some
/// value, most of which are harmless; those of others, and of queries, are not.
fn is_telling(name: &str, sign: char) -> bool {
    let last_word = name.rsplit(['-', '_', '.']).next().unwrap_or_default();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
        || LAST_WORDS.contains(&last_word)
        || (name.ends_with("key") && (sign == '=' || name != "key"))
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || "._-".contains(c)
}

#[cfg(test)]
mod tests;
