//! Which series and labels an expression of PromQL names. Whether it is one is asked of
//! Prometheus itself, beside the other backends.

use std::{collections::BTreeSet, iter::Peekable, str::Chars};

/// What an expression is about.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expression {
    /// Each selector of series.
    pub(crate) selectors: Vec<Selector>,
    /// Labels in `by`, `on`, `group_left` and the like.
    pub(crate) grouping: BTreeSet<String>,
}

/// `name{label="value"}`, or `{__name__=~"one|another"}`, which has several names.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) names: Vec<String>,
    pub(crate) labels: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

const BEFORE_LABELS: [&str; 6] = [
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
];
const NO_SERIES: [&str; 16] = [
    "and", "avg", "bool", "bottomk", "count", "group", "inf", "max", "min", "nan", "offset", "or",
    "quantile", "sum", "topk", "unless",
];

pub(crate) fn parse(text: &str) -> Expression {
    let tokens = tokens(text);
    let mut rest = tokens.iter().peekable();
    let mut expression = Expression::default();
    while let Some(token) = rest.next() {
        match token {
            Token::Word(word)
                if BEFORE_LABELS.contains(&word.as_str())
                    && rest.next_if_eq(&&Token::Sign('(')).is_some() =>
            {
                expression.grouping.extend(words_until(')', &mut rest));
            }
            Token::Word(word) if is_series(word) && rest.peek() != Some(&&Token::Sign('(')) => {
                let mut selector = Selector {
                    names: vec![word.clone()],
                    ..Selector::default()
                };
                if rest.next_if_eq(&&Token::Sign('{')).is_some() {
                    selector.labels = words_until('}', &mut rest);
                }
                expression.selectors.push(selector);
            }
            Token::Sign('{') => {
                let names = match (rest.next(), rest.next(), rest.next(), rest.next()) {
                    (Some(Token::Word(label)), _, _, Some(Token::Text(names)))
                        if label == "__name__" =>
                    {
                        names.split('|').map(str::to_owned).collect()
                    }
                    other => panic!("no name of a metric: {other:?} in {text}"),
                };
                let labels = words_until('}', &mut rest);
                expression.selectors.push(Selector { names, labels });
            }
            _ => {}
        }
    }
    expression
}

fn is_series(word: &str) -> bool {
    let first = word.chars().next().expect("a word is not empty");
    let is_word_of_the_language = NO_SERIES.contains(&word) || BEFORE_LABELS.contains(&word);
    !first.is_ascii_digit() && first != '$' && !is_word_of_the_language
}

fn words_until<'t>(end: char, rest: &mut impl Iterator<Item = &'t Token>) -> Vec<String> {
    rest.take_while(|token| **token != Token::Sign(end))
        .filter_map(|token| match token {
            Token::Word(word) => Some(word.clone()),
            _ => None,
        })
        .collect()
}

fn tokens(text: &str) -> Vec<Token> {
    let mut chars = text.chars().peekable();
    let mut tokens = Vec::new();
    while let Some(&next) = chars.peek() {
        if is_of_word(next) {
            tokens.push(Token::Word(word(&mut chars)));
            continue;
        }
        chars.next();
        match next {
            '"' => tokens.push(Token::Text(quoted(&mut chars))),
            // How far back: no names in there.
            '[' => assert!(chars.any(|char| char == ']'), "[ without ] in {text}"),
            ' ' | '\n' => {}
            sign => tokens.push(Token::Sign(sign)),
        }
    }
    tokens
}

fn is_of_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || "_:$.".contains(char)
}

fn word(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(char) = chars.next_if(|char| is_of_word(*char)) {
        word.push(char);
    }
    word
}

fn quoted(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut text = String::new();
    while let Some(char) = chars.next() {
        match char {
            '"' => return text,
            '\\' => text.extend(chars.next()),
            char => text.push(char),
        }
    }
    panic!("a quotation without end: {text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(names: &[&str], labels: &[&str]) -> Selector {
        let owned = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect();
        Selector {
            names: owned(names),
            labels: owned(labels),
        }
    }

    #[test]
    fn every_name_in_an_expression_is_seen() {
        let expression = parse(
            "1 - (sum by (le, a) (rate(one_total{b=~\"c|d\", e!=\"\\\"f{g}\"}[5m]))\n\
             / ignoring (h) group_left () two offset 10m > 0.5) or vector(0) unless on (i) three",
        );
        let selectors = [
            selector(&["one_total"], &["b", "e"]),
            selector(&["two"], &[]),
            selector(&["three"], &[]),
        ];
        assert_eq!(expression.selectors, selectors);
        let grouping: Vec<_> = expression.grouping.iter().map(String::as_str).collect();
        assert_eq!(grouping, ["a", "h", "i", "le"]);
    }

    #[test]
    fn a_selector_may_have_several_names() {
        let expression = parse("{__name__=~\"one|two\", a=\"$b\"}");
        assert_eq!(expression.selectors, [selector(&["one", "two"], &["a"])]);
    }
}
