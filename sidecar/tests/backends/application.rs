//! The application behind the server's sidecar, and what its client asks.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

/// How long the answer to a path with `slow` in it takes.
pub(crate) const SLOW: Duration = Duration::from_millis(1500);

/// Answers each request with the `traceparent` that it got, and with the status that the
/// path begins with.
pub(crate) fn serve(listener: TcpListener) {
    serve_slowly(listener, || thread::sleep(SLOW));
}

/// The same, but for a path with `slow` in it, whose answer waits until the test says so.
pub(crate) fn serve_when_told(listener: TcpListener) -> mpsc::Sender<()> {
    let (tell, told) = mpsc::channel();
    let told = Arc::new(Mutex::new(told));
    serve_slowly(listener, move || {
        // A test that has ended wants no answer any more, and waits for none.
        let _ = told.lock().expect("nobody panics").recv();
    });
    tell
}

fn serve_slowly(listener: TcpListener, wait: impl Fn() + Clone + Send + 'static) {
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let wait = wait.clone();
            thread::spawn(move || answer(&stream, wait));
        }
    });
}

fn answer(mut stream: &TcpStream, wait: impl Fn()) -> io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    while let Some(Ok(first)) = lines.next() {
        let status = first
            .split(['/', ' ', '?'])
            .nth(2)
            .unwrap_or_default()
            .to_owned();
        let mut parent = String::new();
        for line in lines.by_ref() {
            let line = line?;
            if let Some(value) = line.strip_prefix("traceparent: ") {
                value.clone_into(&mut parent);
            }
            if line.is_empty() {
                break;
            }
        }
        if first.contains("slow") {
            wait();
        }
        let length = parent.len();
        let answer = format!("HTTP/1.1 {status} -\r\nContent-Length: {length}\r\n\r\n{parent}");
        stream.write_all(answer.as_bytes())?;
    }
    Ok(())
}

/// Asks for a path over a connection that stays, and returns the status line.
pub(crate) fn ask(stream: &TcpStream, path: &str, fields: &str) -> io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: orders.shop\r\n{fields}\r\n");
    (&*stream).write_all(request.as_bytes())?;
    let mut reader = BufReader::new(stream);
    let (mut status, mut line, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut status)?;
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(value) = line.strip_prefix("Content-Length: ") {
            length = value.trim_end().parse().map_err(io::Error::other)?;
        }
    }
    reader.read_exact(&mut vec![0; length])?;
    Ok(status.trim_end().to_owned())
}
