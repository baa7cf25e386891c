//! What the client asks.

use std::{fmt, str::FromStr};

/// The scenarios that are measured if none is named.
pub(crate) const ALL: [Scenario; 4] = [
    Scenario::http1(1),
    Scenario::http1(50),
    Scenario::http1(500),
    Scenario::http2(50, 10),
];
/// Each connection at a fixed rate is a thread.
const CONNECTIONS_MAX: u32 = 5000;
/// nginx's default for the streams of a connection.
const STREAMS_MAX: u32 = 128;

/// The protocol on the wire, which is the same all the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Keep-alive, one request after the other.
    Http1,
    /// Without TLS, by prior knowledge.
    Http2,
}

/// How many ask at once, and by which protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    pub(crate) protocol: Protocol,
    pub(crate) connections: u32,
    /// Requests at once on each connection.
    pub(crate) streams: u32,
}

impl Scenario {
    const fn http1(connections: u32) -> Self {
        Self {
            protocol: Protocol::Http1,
            connections,
            streams: 1,
        }
    }

    const fn http2(connections: u32, streams: u32) -> Self {
        Self {
            protocol: Protocol::Http2,
            connections,
            streams,
        }
    }
}

/// A text that names no scenario.
#[derive(Debug)]
pub struct UnknownScenario;

impl fmt::Display for UnknownScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "expected http1-CONNECTIONS or http2-CONNECTIONSxSTREAMS, such as http1-50 or \
             http2-50x10, with at most {CONNECTIONS_MAX} connections and {STREAMS_MAX} streams each"
        )
    }
}

impl std::error::Error for UnknownScenario {}

impl FromStr for Scenario {
    type Err = UnknownScenario;

    fn from_str(text: &str) -> Result<Self, UnknownScenario> {
        let count = |text: &str, most: u32| {
            let parsed = text.parse().ok();
            parsed.filter(|count| (1..=most).contains(count))
        };
        let parsed = match text.split_once('-') {
            Some(("http1", connections)) => count(connections, CONNECTIONS_MAX).map(Self::http1),
            Some(("http2", rest)) => rest.split_once('x').and_then(|(connections, streams)| {
                let connections = count(connections, CONNECTIONS_MAX)?;
                Some(Self::http2(connections, count(streams, STREAMS_MAX)?))
            }),
            _ => None,
        };
        parsed.ok_or(UnknownScenario)
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.protocol {
            Protocol::Http1 => write!(f, "http1-{}", self.connections),
            Protocol::Http2 => write!(f, "http2-{}x{}", self.connections, self.streams),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_names_no_scenario() {
        for text in [
            "",
            "http1",
            "http1-",
            "http1-0",
            "http1-9999",
            "http2-50",
            "http2-50x0",
            "h3-1",
        ] {
            assert!(text.parse::<Scenario>().is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for scenario in ALL {
            let read: Scenario = scenario.to_string().parse().expect("its own name");
            assert_eq!(read, scenario);
        }
    }
}
