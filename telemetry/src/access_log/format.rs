//! How a line looks.

use std::{fmt, str::FromStr, time::Duration};

use humantime::format_rfc3339_millis;

use super::{
    entry::Entry,
    escape::{self, put},
    field::{Field, Value},
};

/// What `text` stands for.
const TEXT: &str = concat!(
    r#"%{time} %{direction} %{client} %{dst} %{upstream} %{protocol} "%{method} %{path}" "#,
    "%{status} %{sent_bytes} %{received_bytes} %{duration_ms} %{reason} %{trace_id}",
);

/// How a line looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// An object with all fields that are known.
    Json,
    /// Fields and what is between them; `-` is one that is not known.
    Template(Vec<Part>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Literal(String),
    /// The field's value.
    Field(Field),
}

/// Why a format is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFormat {
    /// There is no such field.
    #[error("there is no field %{{{0}}}; there are {list}", list = names())]
    UnknownField(String),
    /// The `}` is missing.
    #[error("%{{{0} has no end; write %{{name}}")]
    Unclosed(String),
    /// A `%` is neither a field nor itself.
    #[error("a % is no field; write %{{name}} for a field and %% for a %")]
    Percent,
    /// Lines would break.
    #[error("it has a control character, and a line has none")]
    Control,
    /// All lines would be the same.
    #[error(
        "it has no field; use json, text, or a template such as '%{{time}} %{{path}} %{{status}}'"
    )]
    NoField,
}

fn names() -> String {
    Field::ALL.map(Field::name).join(", ")
}

impl Format {
    /// One line for people.
    #[must_use]
    pub fn text() -> Self {
        TEXT.parse().expect("its fields exist")
    }

    /// Appends a line.
    pub fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Json => json(entry, out),
            Self::Template(parts) => template(parts, entry, out),
        }
        out.push(b'\n');
    }
}

impl FromStr for Format {
    type Err = BadFormat;

    /// `json`, `text`, or a template.
    fn from_str(text: &str) -> Result<Self, BadFormat> {
        match text {
            "json" => return Ok(Self::Json),
            "text" => return Ok(Self::text()),
            _ => {}
        }
        if text.contains(char::is_control) {
            return Err(BadFormat::Control);
        }
        let (mut parts, mut literal, mut rest) = (Vec::new(), String::new(), text);
        while let Some(percent) = rest.find('%') {
            literal.push_str(&rest[..percent]);
            rest = &rest[percent + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                literal.push('%');
                rest = after;
                continue;
            }
            let after = rest.strip_prefix('{').ok_or(BadFormat::Percent)?;
            let unclosed = || BadFormat::Unclosed(after.to_owned());
            let (name, after) = after.split_once('}').ok_or_else(unclosed)?;
            let field = Field::of(name).ok_or_else(|| BadFormat::UnknownField(name.to_owned()))?;
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(Part::Field(field));
            rest = after;
        }
        literal.push_str(rest);
        if parts.is_empty() {
            return Err(BadFormat::NoField);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self::Template(parts))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Template(parts) = self else {
            return f.write_str("json");
        };
        for part in parts {
            match part {
                Part::Literal(text) => f.write_str(&text.replace('%', "%%"))?,
                Part::Field(field) => write!(f, "%{{{}}}", field.name())?,
            }
        }
        Ok(())
    }
}

fn template(parts: &[Part], entry: &Entry<'_>, out: &mut Vec<u8>) {
    for part in parts {
        let field = match part {
            Part::Literal(text) => {
                out.extend_from_slice(text.as_bytes());
                continue;
            }
            Part::Field(field) => field,
        };
        match field.value(entry) {
            // What is empty must not make the next field take its place.
            None | Some(Value::Text(b"")) => out.push(b'-'),
            Some(Value::Text(bytes)) => escape::text(bytes, out),
            Some(value) => value.plain(out),
        }
    }
}

fn json(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let known = Field::ALL.into_iter();
    let known = known.filter_map(|field| Some((field.name(), field.value(entry)?)));
    let mut before = b'{';
    for (name, value) in known {
        out.push(before);
        before = b',';
        put(out, format_args!("\"{name}\":"));
        match value {
            Value::Number(_) | Value::Duration(_) => value.plain(out),
            Value::Text(bytes) => {
                out.push(b'"');
                escape::json(bytes, out);
                out.push(b'"');
            }
            value => {
                out.push(b'"');
                value.plain(out);
                out.push(b'"');
            }
        }
    }
    out.push(b'}');
}

impl Value<'_> {
    /// Appends what needs no escapes.
    fn plain(self, out: &mut Vec<u8>) {
        match self {
            Value::Text(bytes) => out.extend_from_slice(bytes),
            Value::Word(word) => out.extend_from_slice(word.as_bytes()),
            Value::Number(number) => put(out, format_args!("{number}")),
            Value::Duration(took) => milliseconds(took, out),
            Value::Time(at) => put(out, format_args!("{}", format_rfc3339_millis(at))),
            Value::Addr(addr) => put(out, format_args!("{addr}")),
            Value::Id(id) => put(out, format_args!("{id}")),
        }
    }
}

fn milliseconds(took: Duration, out: &mut Vec<u8>) {
    let micros = took.as_micros();
    put(out, format_args!("{}.{:03}", micros / 1000, micros % 1000));
}

#[cfg(test)]
mod tests;
