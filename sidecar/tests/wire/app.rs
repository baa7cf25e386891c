//! Applications behind the sidecar.

use std::{
    convert::Infallible,
    io::{self, Read as _, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// Remembers every byte that it gets, and answers each connection once: after the
/// first empty line.
#[derive(Clone, Default)]
pub(crate) struct Recorder {
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Recorder {
    /// Serves until the test's process ends.
    pub(crate) fn serve(listener: TcpListener) -> Self {
        let recorder = Self::default();
        let serving = recorder.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let recorder = serving.clone();
                thread::spawn(move || recorder.listen(stream));
            }
        });
        recorder
    }

    /// What was heard since this was last asked.
    pub(crate) fn take_heard(&self) -> Vec<u8> {
        std::mem::take(&mut *self.heard.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn listen(&self, mut stream: std::net::TcpStream) -> io::Result<()> {
        let (mut own, mut answered) = (Vec::new(), false);
        let mut block = [0; 4096];
        loop {
            let read = stream.read(&mut block)?;
            if read == 0 {
                return Ok(());
            }
            own.extend_from_slice(&block[..read]);
            let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.extend_from_slice(&block[..read]);
            drop(heard);
            if !answered && own.windows(4).any(|end| end == b"\r\n\r\n") {
                answered = true;
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")?;
            }
        }
    }
}

/// Serves HTTP/2 until the test's process ends: takes each request to its end, and
/// answers with 200 and how many bytes its body had.
pub(crate) fn serve_http2(listener: TcpListener) {
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime can be built");
        runtime.block_on(async move {
            listener
                .set_nonblocking(true)
                .expect("a socket can be set so");
            let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                tokio::spawn(connection);
            }
        });
    });
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let size = match request.into_body().collect().await {
        Ok(body) => body.to_bytes().len(),
        // The client has gone, and the answer with it.
        Err(_) => 0,
    };
    Ok(Response::new(Full::from(size.to_string())))
}
