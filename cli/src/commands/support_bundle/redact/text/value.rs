//! Where a value ends: with its quotes or brackets, or else where nothing of it can be left.

use super::{Span, is_name};

/// What values and words stand between.
pub(super) const QUOTES: [char; 3] = ['"', '\'', '`'];

/// A value that a text begins with, unless it is empty. One of `Authorization` has the name
/// of a scheme before it.
pub(super) fn value(text: &str, may_have_scheme: bool) -> Option<Span> {
    if let Some(kept) = reference(text) {
        return Some(Span { kept, hidden: 0 });
    }
    let found = quoted(text).or_else(|| bracketed(text));
    let found = found.unwrap_or_else(|| Span {
        kept: 0,
        hidden: unquoted(text, may_have_scheme),
    });
    (found.hidden > 0).then_some(found)
}

/// The length of `$(secret:NAME/KEY)`, or `$(VARIABLE)`: that names a credential, and is none.
pub(super) fn reference(text: &str) -> Option<usize> {
    let named = text.strip_prefix("$(")?;
    let end = named.find(')')?;
    let is_of_it = |c: char| is_name(c) || ":/".contains(c);
    let is_whole = named[..end].chars().all(is_of_it) && is_over(&named[end + 1..]);
    is_whole.then_some("$(".len() + end + 1)
}

/// The end of a word that begins in no quotes: before a space, or before a quote that is
/// around more than the word.
pub(super) fn word_end(text: &str) -> usize {
    let is_end = |(at, c): &(usize, char)| {
        c.is_whitespace() || (QUOTES.contains(c) && is_over(&text[at + c.len_utf8()..]))
    };
    let end = text.char_indices().find(is_end);
    let word = &text[..end.map_or(text.len(), |(at, _)| at)];
    word.trim_end_matches('\\').len()
}

/// Whether something may have ended before this.
fn is_over(after: &str) -> bool {
    let next = after.chars().next();
    next.is_none_or(|c| c.is_whitespace() || "\\,;:)]}".contains(c))
}

/// Between quotes: until one that is escaped as the first one is, or to the end.
fn quoted(text: &str) -> Option<Span> {
    let from_quote = text.trim_start_matches('\\');
    let slashes = text.len() - from_quote.len();
    let quote = from_quote.chars().next().filter(|c| QUOTES.contains(c))?;
    let inside = &from_quote[quote.len_utf8()..];
    Some(Span {
        kept: slashes + quote.len_utf8(),
        hidden: closing(inside, quote, slashes).unwrap_or(inside.len()),
    })
}

/// Where a quote closes what one with so many backslashes has opened. Each level of escaping
/// doubles backslashes and adds one to a quote, so that a text which was escaped n times
/// has 2^n - 1 before its own quotes, and a multiple of 2^(n+1) more after its own backslashes.
fn closing(inside: &str, quote: char, slashes: usize) -> Option<usize> {
    let mut run = 0;
    let mut chars = inside.char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        let closes = c == quote && run % (2 * (slashes + 1)) == slashes;
        // YAML and SQL write a quote twice.
        let is_doubled = slashes == 0 && chars.peek().is_some_and(|(_, next)| *next == quote);
        if closes && is_doubled {
            chars.next();
        } else if closes {
            return Some(at - slashes);
        }
        run = if c == '\\' { run + 1 } else { 0 };
    }
    None
}

/// Between brackets, if nothing follows them directly: a list, or an object.
fn bracketed(text: &str) -> Option<Span> {
    let (open, close) = match text.chars().next()? {
        '[' => ('[', ']'),
        '{' => ('{', '}'),
        _ => return None,
    };
    let mut depth = 0_usize;
    let end = text.char_indices().find(|(_, c)| {
        depth += usize::from(*c == open);
        depth -= usize::from(*c == close);
        depth == 0
    });
    let end = end.map_or(text.len(), |(at, _)| at);
    let after = text.get(end + 1..).unwrap_or_default();
    is_over(after).then_some(Span {
        kept: 1,
        hidden: end - 1,
    })
}

/// To the end of the word, or of the next one if the first is a scheme; but not into another
/// assignment (`password=…&user=me`).
fn unquoted(text: &str, may_have_scheme: bool) -> usize {
    let word = &text[..word_end(text)];
    let is_scheme = may_have_scheme && word.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    if is_scheme {
        let next = text[word.len()..].trim_start();
        return text.len() - next.len() + unquoted(next, false);
    }
    let parts = |(at, c): &(usize, char)| "&,;".contains(*c) && begins_another(&word[at + 1..]);
    let end = word.char_indices().find(parts);
    end.map_or(word.len(), |(at, _)| at)
}

/// Whether nothing comes, or another name with its value.
fn begins_another(after: &str) -> bool {
    let after = after.trim_start_matches(QUOTES);
    let end = after.find(|c| !is_name(c)).unwrap_or(after.len());
    let sign = after[end..].trim_start_matches(QUOTES);
    after.is_empty() || (end > 0 && sign.starts_with(['=', ':']))
}
