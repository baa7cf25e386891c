//! The application: a thread that serves all services until it is ended.

use std::{
    collections::HashSet, error::Error, net::TcpListener, pin::pin, sync::Arc, thread,
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet, time::sleep};

use super::service::Service;

/// How long it works on a request.
const WORK: Duration = Duration::from_millis(2);
/// After so many turns of its loop it has read what had come before: connections, then what
/// was said over them.
const TURNS: u32 = 8;

/// What it answers with.
pub(super) const BODY: &str = "the answer\n";
/// The header that names a request.
pub(super) const ID: &str = "x-id";
/// One of so many requests is refused the first time, where there is a word for that.
const REFUSED_OF: u64 = 20;

/// What the applications of all replicas have seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Requests that were begun, and not answered.
    begun: Mutex<HashSet<u64>>,
    /// Those that were not looked at.
    refused: Mutex<HashSet<u64>>,
}

/// An application that runs.
pub(super) struct App {
    told: watch::Sender<Told>,
    thread: Option<thread::JoinHandle<()>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// As by SIGTERM.
    Finish,
    /// As by SIGKILL.
    Die,
}

type IsTold = watch::Receiver<Told>;

impl Seen {
    /// Whether somebody began to work on a request, and nobody answered it.
    pub(super) fn has_begun(&self, id: u64) -> bool {
        self.begun.lock().contains(&id)
    }

    /// How many requests nobody looked at when they came first.
    pub(super) fn refused(&self) -> usize {
        self.refused.lock().len()
    }
}

impl App {
    /// Serves over these.
    pub(super) fn start(listeners: Vec<(Service, TcpListener)>, seen: Arc<Seen>) -> Self {
        let (told, mut is_told) = watch::channel(Told::Nothing);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(async {
                let mut serving = JoinSet::new();
                for (service, listener) in listeners {
                    let seen = Arc::clone(&seen);
                    serving.spawn(serve(service, listener, seen, is_told.clone()));
                }
                let told = is_told.wait_for(|told| *told != Told::Nothing).await;
                if told.is_ok_and(|told| *told == Told::Finish) {
                    serving.join_all().await;
                } else {
                    for _ in 0..TURNS {
                        sleep(Duration::from_millis(1)).await;
                    }
                }
            });
            // All connections are gone with it, whatever they were at.
            runtime.shutdown_background();
        });
        Self {
            told,
            thread: Some(thread),
        }
    }

    /// Ends it as a process that is killed. What had come to it, it has seen.
    pub(super) fn kill(self) {
        self.end(Told::Die);
    }

    /// Has it take no more, finish what it has, and end.
    pub(super) fn terminate(self) {
        self.end(Told::Finish);
    }

    fn end(mut self, how: Told) {
        self.told.send_replace(how);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
    }
}

async fn serve(service: Service, listener: TcpListener, seen: Arc<Seen>, mut told: IsTold) {
    let set = listener.set_nonblocking(true);
    set.expect("a socket can be set so");
    let listener = tokio::net::TcpListener::from_std(listener).expect("it is a listener");
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = is_to_finish(&mut told) => break,
        };
        if let Ok((stream, _)) = accepted {
            let (seen, told) = (Arc::clone(&seen), told.clone());
            connections.spawn(connection(service, TokioIo::new(stream), seen, told));
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    connections.join_all().await;
}

/// Waits for that.
async fn is_to_finish(told: &mut IsTold) {
    if told.wait_for(|told| *told == Told::Finish).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A connection that ends as it likes.
async fn connection(
    service: Service,
    stream: TokioIo<tokio::net::TcpStream>,
    seen: Arc<Seen>,
    mut told: IsTold,
) {
    let answers = service_fn(|request| answer(service, Arc::clone(&seen), request));
    if service.is_http2() {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let mut connection = pin!(server.serve_connection(stream, answers));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = is_to_finish(&mut told) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        let mut connection = pin!(server.serve_connection(stream, answers));
        tokio::select! {
            _ = connection.as_mut() => return,
            () = is_to_finish(&mut told) => connection.as_mut().graceful_shutdown(),
        }
        let _ = connection.await;
    }
}

type Answer = Result<Response<Full<Bytes>>, Box<dyn Error + Send + Sync>>;

/// Notes at once that it looks at the request, unless it refuses to.
fn answer(
    service: Service,
    seen: Arc<Seen>,
    request: Request<Incoming>,
) -> impl Future<Output = Answer> {
    let id = request.headers().get(ID).and_then(|id| id.to_str().ok());
    let id: u64 = id.and_then(|id| id.parse().ok()).expect("all have one");
    let is_one = service.is_http2() && id.is_multiple_of(REFUSED_OF);
    let is_refused = is_one && seen.refused.lock().insert(id);
    if !is_refused {
        seen.begun.lock().insert(id);
    }
    async move {
        if is_refused {
            return Err(h2::Error::from(h2::Reason::REFUSED_STREAM).into());
        }
        request.into_body().collect().await?;
        sleep(WORK).await;
        seen.begun.lock().remove(&id);
        Ok(Response::new(Full::from(BODY)))
    }
}
