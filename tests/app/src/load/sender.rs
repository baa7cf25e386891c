//! One request: its connection, its retries, its outcome.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Method, Response};
use tokio::time::Instant;

use crate::client::exchange::{HttpConnection, read_body, request};
use crate::client::failure::{Failure, FailureKind};
use crate::client::names::Names;
use crate::client::{connect, deadline_in};
use crate::http::POD_HEADER;
use crate::load::recorder::Answer;
use crate::load::{Books, LoadArgs};

/// The pause before connecting again; doubled each time up to [`RETRY_PAUSE_MAX`].
const RETRY_PAUSE_MIN: Duration = Duration::from_millis(5);
/// Long enough to not hammer a server that comes up, short enough to meet it soon.
const RETRY_PAUSE_MAX: Duration = Duration::from_millis(100);

pub(super) struct Sender {
    args: LoadArgs,
    names: Names,
    /// Kept-alive connections, the most recently used last. There are never more than requests
    /// were in flight at once.
    idle: Mutex<Vec<HttpConnection>>,
    pub(super) books: Books,
}

impl Sender {
    pub(super) fn new(args: LoadArgs, books: Books) -> Self {
        Self {
            args,
            names: Names::default(),
            idle: Mutex::default(),
            books,
        }
    }

    /// Sends one request and reads its answer to the end, within the timeout.
    pub(super) async fn send(&self) -> Result<Answer, Failure> {
        let deadline = deadline_in(self.args.timeout);
        let (connection, response) = self.head(deadline).await?;
        let header = |name: &str| {
            let value = response.headers().get(name)?;
            value.to_str().ok().map(str::to_owned)
        };
        let answer = Answer {
            status: response.status(),
            pod: header(POD_HEADER),
            proxy_status: header("proxy-status"),
        };
        read_body(response.into_body(), deadline, |_| {}).await?;
        if !self.args.new_connection_per_request {
            self.idle().push(connection);
        }
        Ok(answer)
    }

    /// The head of the answer, and the connection it came on.
    async fn head(
        &self,
        deadline: Instant,
    ) -> Result<(HttpConnection, Response<Incoming>), Failure> {
        while let Some(mut connection) = self.reusable().await {
            match self.ask(&mut connection, deadline).await {
                Ok(response) => return Ok((connection, response)),
                Err(failure) if self.args.retry_connect && failure.kind == FailureKind::Reset => {
                    self.books.open().retried_stale();
                }
                Err(failure) => return Err(failure),
            }
        }
        let mut connection = self.open(deadline).await?;
        let response = self.ask(&mut connection, deadline).await?;
        Ok((connection, response))
    }

    async fn ask(
        &self,
        connection: &mut HttpConnection,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Failure> {
        let request = request(Method::GET, &self.args.url)?;
        connection.send(request, deadline).await
    }

    async fn reusable(&self) -> Option<HttpConnection> {
        loop {
            let mut connection = self.idle().pop()?;
            if connection.is_reusable().await {
                return Some(connection);
            }
        }
    }

    async fn open(&self, deadline: Instant) -> Result<HttpConnection, Failure> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            match connect(&self.names, &self.args.url.target, deadline).await {
                Ok(stream) => {
                    self.books.open().connected();
                    return HttpConnection::new(stream).await;
                }
                Err(failure) if self.may_retry(&failure, deadline, pause) => {
                    self.books.open().retried_connect();
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    fn may_retry(&self, failure: &Failure, deadline: Instant, pause: Duration) -> bool {
        let not_reached = matches!(failure.kind, FailureKind::Connect | FailureKind::Resolve);
        self.args.retry_connect && not_reached && Instant::now() + pause < deadline
    }

    fn idle(&self) -> MutexGuard<'_, Vec<HttpConnection>> {
        self.idle
            .lock()
            .expect("no holder of the idle connections panics")
    }
}
