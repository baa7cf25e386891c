//! An HTTP/1.1 server that answers each path with fixed bytes, and remembers the
//! requests as they came.

use std::{
    io::{self, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use crate::message::Message;

/// What was asked so far.
#[derive(Clone, Default)]
pub(crate) struct Origin {
    requests: Arc<Mutex<Vec<Message>>>,
}

/// An answer, and whether the connection ends with it.
struct Answer {
    bytes: Vec<u8>,
    closes: bool,
}

impl Origin {
    /// Serves until the test's process ends.
    pub(crate) fn serve(listener: TcpListener) -> Self {
        let origin = Self::default();
        let serving = origin.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let origin = serving.clone();
                thread::spawn(move || origin.converse(stream));
            }
        });
        origin
    }

    /// The requests since it was last asked, in the order in which they ended.
    pub(crate) fn take_requests(&self) -> Vec<Message> {
        std::mem::take(&mut *self.requests.lock().expect("nobody panics holding it"))
    }

    fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        while let Some(mut request) = Message::read_head(&mut reader)? {
            if request.header("expect") == Some("100-continue") {
                if request.start.contains(" /refuses-to-continue ") {
                    self.requests.lock().expect("nobody panics").push(request);
                    return stream.write_all(
                        b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
                    );
                }
                stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
            }
            request.read_body(&mut reader)?;
            let answer = answer(&request);
            let closes = answer.closes
                || request.header("connection") == Some("close")
                || (request.start.ends_with("HTTP/1.0")
                    && request.header("connection") != Some("keep-alive"));
            self.requests.lock().expect("nobody panics").push(request);
            stream.write_all(&answer.bytes)?;
            if closes {
                stream.shutdown(std::net::Shutdown::Write)?;
                reader.read_to_end(&mut Vec::new())?;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// The answer to a request, by its path.
fn answer(request: &Message) -> Answer {
    let path = request.start.split(' ').nth(1).unwrap_or_default();
    let path = path.split('?').next().unwrap_or_default();
    let bytes: Vec<u8> = match path {
        "/no-content" => "HTTP/1.1 204 No Content\r\nX-Odd-CASE: kept\r\n\r\n".into(),
        "/not-modified" => {
            "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nContent-Length: 500\r\n\r\n".into()
        }
        "/chunked" => concat!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "5\r\nfirst\r\n1;name=value\r\n,\r\n00a\r\n and more\n\r\n0\r\n\r\n"
        )
        .into(),
        "/trailers" => concat!(
            "HTTP/1.1 200 OK\r\nTrailer: X-Checksum\r\nTransfer-Encoding: chunked\r\n\r\n",
            "4\r\nbody\r\n0\r\nX-Checksum: abc\r\nX-Other: def\r\n\r\n"
        )
        .into(),
        "/early-hints" => concat!(
            "HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        )
        .into(),
        "/until-the-end" => "HTTP/1.1 200 OK\r\nX-Length: none\r\n\r\nall of it\n".into(),
        "/closes" => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast".into(),
        "/http10" => "HTTP/1.0 200 OK\r\nServer: old\r\n\r\nold\n".into(),
        "/odd-status" => "HTTP/1.1 299 Rather Fine, Thanks\r\nContent-Length: 0\r\n\r\n".into(),
        "/error" => {
            "HTTP/1.1 503 Try Later\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\nlater".into()
        }
        "/truncated" => "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this".into(),
        "/truncated-chunks" => concat!(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "9\r\nonly this\r\n"
        )
        .into(),
        "/twice-set" => concat!(
            "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nX-Between: b\r\nset-cookie: c=2\r\n",
            "Content-Length: 0\r\n\r\n"
        )
        .into(),
        "/large-headers" => format!(
            "HTTP/1.1 200 OK\r\nX-Large: {}\r\nContent-Length: 2\r\n\r\nok",
            "v".repeat(12_000)
        )
        .into(),
        "/large" => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n".to_vec();
            bytes.extend((0..3_000_000_u32).map(|at| b'a' + (at % 23) as u8));
            bytes
        }
        _ => format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{}",
            path.len(),
            if request.start.starts_with("HEAD ") {
                ""
            } else {
                path
            }
        )
        .into(),
    };
    Answer {
        bytes,
        closes: [
            "/until-the-end",
            "/closes",
            "/http10",
            "/truncated",
            "/truncated-chunks",
        ]
        .contains(&path),
    }
}
