//! Questions to backends that answer in JSON.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;

/// The answer to a GET, or nothing if it is no JSON.
pub(crate) fn json(port: u16, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
    let parameters: Vec<_> = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    let path = format!("{path}?{}", parameters.join("&"));
    let (_, body) = get(&format!("127.0.0.1:{port}"), &path)?;
    serde_json::from_str(&body).ok()
}

/// Head and body of the answer to a GET.
pub(crate) fn get(from: &str, path: &str) -> Option<(String, String)> {
    let mut stream = TcpStream::connect(from).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    // A HTTP/1.0 answer ends with its connection.
    assert!(!head.to_lowercase().contains("chunked"), "{head}");
    Some((head.to_owned(), body.to_owned()))
}

fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

/// The value of Prometheus' query language, of the first series that it finds and that has one.
pub(crate) fn promql(port: u16, query: &str) -> Option<f64> {
    let answer = json(port, "/api/v1/query", &[("query", query)])?;
    let result = answer.pointer("/data/result")?.as_array()?;
    let values = result.iter().filter_map(|series| {
        let value = series.pointer("/value/1")?.as_str()?;
        value.parse().ok()
    });
    // One without traffic has a rate of 0/0.
    values.reduce(|first: f64, other| if first.is_finite() { first } else { other })
}
