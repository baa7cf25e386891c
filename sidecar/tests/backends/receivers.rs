//! Receivers of spans and lines, in a network namespace.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use serde_json::Value;

use crate::{backends::Otlp, harness::namespace::Namespace, process::until};

/// What came by `grpc` or `http` in this list, once there are so many.
pub(crate) fn received(otlp: &Otlp, by: &str, list: &str, count: usize) -> Vec<Value> {
    until(&format!("{count} {list} by {by}"), || {
        let list = otlp.received(by)[list].as_array()?.clone();
        (list.len() >= count).then_some(list)
    })
}

/// A receiver of Zipkin's spans.
#[derive(Clone, Default)]
pub(crate) struct Zipkin(Arc<Mutex<Vec<Value>>>);

impl Zipkin {
    pub(crate) fn start(node: &Namespace, at: SocketAddr) -> Self {
        let (listener, zipkin) = (node.listen(at), Self::default());
        let receiver = zipkin.clone();
        thread::spawn(move || receiver.serve(&listener));
        zipkin
    }

    fn serve(&self, listener: &TcpListener) {
        while let Ok((stream, _)) = listener.accept() {
            let receiver = self.clone();
            thread::spawn(move || while receiver.answer(&stream).is_some() {});
        }
    }

    /// Takes one request.
    fn answer(&self, mut stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        let (mut length, mut line) = (0, String::new());
        let mut first = String::new();
        reader.read_line(&mut first).ok().filter(|read| *read > 0)?;
        assert!(first.starts_with("POST /api/v2/spans HTTP/1.1"), "{first}");
        loop {
            line.clear();
            reader.read_line(&mut line).ok()?;
            let line = line.trim_end().to_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().ok()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let spans: Vec<Value> = serde_json::from_slice(&body).expect("it is a list in JSON");
        self.0.lock().expect("nobody panics").extend(spans);
        let answer = b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).ok()
    }

    /// All spans, once there are so many.
    pub(crate) fn received(&self, count: usize) -> Vec<Value> {
        until(&format!("{count} spans as Zipkin has them"), || {
            let spans = self.0.lock().expect("nobody panics");
            (spans.len() >= count).then(|| spans.clone())
        })
    }
}
