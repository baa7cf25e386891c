//! What must hold whatever bytes come: for cargo-fuzz (`fuzz/`), and for bounded runs
//! in the tests.

use std::{cell::RefCell, convert::Infallible, rc::Rc};

use http_body_util::{BodyExt as _, Empty};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    detect::{Detection, PREFIX_BYTES, detect},
    http1::fuzz::pass_on,
};

/// A request, as far as it matters where it ends: its method, and its body.
pub type Seen = (String, Vec<u8>);

/// What is decided of the first bytes stays so, whatever comes after them.
///
/// # Panics
/// If it doesn't.
pub fn detection(bytes: &[u8]) {
    let mut decided = None;
    for length in 0..=bytes.len().min(PREFIX_BYTES) {
        let prefix = &bytes[..length];
        match (detect(prefix), &decided) {
            (Detection::Is(protocol), None) => decided = Some(protocol),
            (Detection::Is(protocol), Some(before)) => assert_eq!(&protocol, before, "{prefix:?}"),
            (Detection::NeedMore, Some(before)) => panic!("no longer {before:?}: {prefix:?}"),
            (Detection::NeedMore, None) => {}
        }
    }
}

/// An application that reads what is passed on sees the requests that were seen before
/// they were passed on, and no others: fewer, if it understands less. The bytes come in
/// pieces of this size.
///
/// # Panics
/// If it sees another request.
pub fn http1(bytes: &[u8], piece: usize) {
    let (requests, passed_on) = pass_on(bytes, piece.max(1));
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.expect("a runtime needs nothing");
    let seen = runtime.block_on(read(&passed_on));
    assert!(
        requests.starts_with(&seen),
        "passed on: {requests:?}\nseen: {seen:?}\nin {:?}",
        String::from_utf8_lossy(&passed_on)
    );
}

/// The requests that another implementation sees in these bytes.
async fn read(bytes: &[u8]) -> Vec<Seen> {
    let (mut client, server) = tokio::io::duplex(1 << 16);
    let seen = Rc::new(RefCell::new(Vec::new()));
    let service = service_fn(|request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let method = request.method().to_string();
            if let Ok(body) = request.into_body().collect().await {
                let body = body.to_bytes().to_vec();
                seen.borrow_mut().push((method, body));
            }
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = hyper::StatusCode::NOT_FOUND;
            Ok::<_, Infallible>(response)
        }
    });
    let serve = http1::Builder::new()
        .half_close(true)
        .serve_connection(TokioIo::new(server), service);
    let talk = async {
        let _ = client.write_all(bytes).await;
        let _ = client.shutdown().await;
        let mut answers = Vec::new();
        let _ = client.read_to_end(&mut answers).await;
    };
    // What it does not understand, it says so and hangs up.
    let _ = tokio::join!(serve, talk);
    seen.take()
}
