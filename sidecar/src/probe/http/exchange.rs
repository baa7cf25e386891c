//! One request and its response, on the wire.

use std::future::{Future, pending};

use axum::{
    body::Bytes,
    http::{
        HeaderMap, HeaderValue, Request, Response, StatusCode, Uri,
        header::{CONNECTION, HOST, LOCATION, USER_AGENT},
        uri::{Authority, Scheme as UriScheme},
    },
};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{Failure, Hop, Occasion};

/// As much of a body as the kubelet reads.
const BODY_BYTES_MAX: usize = 10 * 1024;

/// What a probe sees of a response.
#[derive(Debug)]
pub(super) struct Received {
    pub(super) status: StatusCode,
    pub(super) location: Option<HeaderValue>,
    /// Its beginning.
    pub(super) body: Bytes,
}

/// # Errors
/// If the answer is not HTTP/1.
pub(super) async fn http1<S>(stream: S, hop: &Hop, occasion: Occasion) -> Result<Received, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = conn::http1::Builder::new()
        // As Go writes them, for servers that are not as indifferent as they should be.
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(Failure::Http)?;
    let response = sender.send_request(hop.http1_request());
    received(response, connection, occasion).await
}

/// # Errors
/// If the answer is not HTTP/2.
pub(super) async fn http2<S>(stream: S, hop: &Hop, occasion: Occasion) -> Result<Received, Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) =
        conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(Failure::Http)?;
    let response = sender.send_request(hop.http2_request()?);
    received(response, connection, occasion).await
}

/// Reads what the kubelet would, while the connection is driven.
async fn received<C>(
    response: impl Future<Output = hyper::Result<Response<Incoming>>>,
    connection: C,
    occasion: Occasion,
) -> Result<Received, Failure>
where
    C: Future<Output = hyper::Result<()>>,
{
    let received = async {
        let (head, body) = response.await.map_err(Failure::Http)?.into_parts();
        let body = match beginning(body).await {
            (_, Some(error)) if !occasion.is_hook() => return Err(Failure::Http(error)),
            (body, _) => body,
        };
        Ok(Received {
            status: head.status,
            location: head.headers.get(LOCATION).cloned(),
            body,
        })
    };
    let driven = async {
        // Its error is the response's too. Its end is not: there may be more to read.
        let _ = connection.await;
        pending().await
    };
    tokio::select! {
        received = received => received,
        never = driven => never,
    }
}

/// As much of the body as the kubelet reads, and what kept it from ending well.
async fn beginning(mut body: Incoming) -> (Bytes, Option<hyper::Error>) {
    let mut read = Vec::new();
    while read.len() < BODY_BYTES_MAX {
        match body.frame().await {
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                read.extend_from_slice(&data);
            }
            Some(Err(error)) => return (read.into(), Some(error)),
            None => break,
        }
    }
    read.truncate(BODY_BYTES_MAX);
    (read.into(), None)
}

impl Hop {
    /// The host as the probe chose it, or the address.
    fn host(&self) -> Result<HeaderValue, Failure> {
        match self.headers.get(HOST).filter(|host| !host.is_empty()) {
            Some(host) => Ok(host.clone()),
            None => HeaderValue::try_from(&self.authority)
                .map_err(|_| Failure::Redirect(self.authority.clone())),
        }
    }

    fn http1_request(&self) -> Request<Empty<Bytes>> {
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        if let Ok(host) = self.host() {
            headers.insert(HOST, host);
        }
        if let Some(agent) = self.headers.get(USER_AGENT) {
            headers.insert(USER_AGENT, agent.clone());
        }
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        for (name, value) in &self.headers {
            if ![HOST, USER_AGENT].contains(name) {
                headers.append(name, value.clone());
            }
        }
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = Uri::from(self.path.clone());
        *request.headers_mut() = headers;
        request
    }

    /// # Errors
    /// If the probe's host cannot be that of a URL.
    fn http2_request(&self) -> Result<Request<Empty<Bytes>>, Failure> {
        let host = self.host()?;
        let no_host = || Failure::Redirect(String::from_utf8_lossy(host.as_bytes()).into_owned());
        let authority = Authority::try_from(host.as_bytes()).map_err(|_| no_host())?;
        let uri = Uri::builder()
            .scheme(UriScheme::HTTPS)
            .authority(authority)
            .path_and_query(self.path.clone());
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri.build().map_err(|_| no_host())?;
        *request.headers_mut() = self.headers.clone();
        request.headers_mut().remove(HOST);
        Ok(request)
    }
}
