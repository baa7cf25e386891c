//! Lists of ports and port ranges: `80,8000-8010`.

use std::{fmt, str::FromStr};

/// A port, or a range of ports with both of its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// Why an item of a list of ports does not parse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAPort {
    /// Neither a number from 1 to 65535, nor two of them.
    #[error("is not a port")]
    Number,
    /// `80-70`.
    #[error("is a range that ends before it begins")]
    Backwards,
}

impl From<u16> for PortRange {
    fn from(port: u16) -> Self {
        Self {
            first: port,
            last: port,
        }
    }
}

impl PortRange {
    /// Whether a port is in it.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }
}

impl FromStr for PortRange {
    type Err = NotAPort;

    fn from_str(text: &str) -> Result<Self, NotAPort> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(NotAPort::Backwards);
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// `parse::<u16>` alone would take a sign.
fn port(text: &str) -> Result<u16, NotAPort> {
    let text = text.trim();
    match text.parse() {
        Ok(port) if port > 0 && text.starts_with(|c: char| c.is_ascii_digit()) => Ok(port),
        _ => Err(NotAPort::Number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_port() {
        for text in [
            "", "0", "65536", "99999", "-1", "+80", "http", "1-", "-", "1-2-3", "0-9", "8 0",
        ] {
            assert_eq!(text.parse::<PortRange>(), Err(NotAPort::Number), "{text:?}");
        }
        assert_eq!("80-70".parse::<PortRange>(), Err(NotAPort::Backwards));
    }

    #[test]
    fn takes_ports_and_ranges() {
        for (text, written) in [
            ("1", "1"),
            ("65535", "65535"),
            ("80 - 90", "80-90"),
            ("7-7", "7"),
        ] {
            let range: PortRange = text.parse().expect("it is a port or a range");
            assert_eq!(range.to_string(), written);
        }
    }
}
