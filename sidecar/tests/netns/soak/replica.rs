//! A replica of the application, which serves both protocols until it is killed.

use std::{net::TcpListener, thread, time::Duration};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::sync::oneshot;

use super::load::Speaks;
use crate::harness::pod::Pod;

/// Which of the replicas it is, from 0.
pub(crate) type Slot = usize;

/// How many there are.
pub(super) const SLOTS: Slot = 4;

/// How long it works on a request.
const WORK: Duration = Duration::from_millis(2);

/// What it answers with.
pub(super) const BODY: &str = "the answer\n";

/// A replica: a thread with its own runtime.
pub(super) struct Replica {
    life: Option<(oneshot::Sender<()>, thread::JoinHandle<()>)>,
}

impl Replica {
    /// Listens at the slot's addresses, in the peer's namespace.
    pub(super) fn start(pod: &Pod, slot: Slot) -> Self {
        let listeners = [Speaks::Http1, Speaks::Http2]
            .map(|speaks| (speaks, pod.peer_listen(speaks.endpoint(slot))));
        let (end, ended) = oneshot::channel();
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(async {
                for (speaks, listener) in listeners {
                    tokio::spawn(serve(speaks, listener));
                }
                let _ = ended.await;
            });
            // All connections are gone with it, whatever they were at.
            runtime.shutdown_background();
        });
        Self {
            life: Some((end, thread)),
        }
    }

    /// Ends it as a process that is killed.
    pub(super) fn kill(&mut self) {
        if let Some((end, thread)) = self.life.take() {
            let _ = end.send(());
            thread.join().expect("it does not panic");
        }
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(speaks: Speaks, listener: TcpListener) {
    let set = listener.set_nonblocking(true);
    set.expect("a socket can be set so");
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
    while let Ok((stream, _)) = listener.accept().await {
        let stream = TokioIo::new(stream);
        match speaks {
            Speaks::Http1 => {
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(stream, service_fn(answer)));
            }
            Speaks::Http2 => {
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                tokio::spawn(server.serve_connection(stream, service_fn(answer)));
            }
        }
    }
}

async fn answer(request: Request<Incoming>) -> hyper::Result<Response<Full<Bytes>>> {
    request.into_body().collect().await?;
    tokio::time::sleep(WORK).await;
    Ok(Response::new(Full::from(BODY)))
}
