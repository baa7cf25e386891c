//! One request and its response.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    rc::Rc,
    task::Poll,
};

use bytes::Bytes;
use h2::{Reason as Code, RecvStream, SendStream, client::ResponseFuture, server::SendResponse};
use http::{
    HeaderMap, Method, Request, Response, StatusCode, Uri, Version, header, request, uri::Scheme,
};
use tokio::time::Instant;

use super::{
    pool::{Hold, Place},
    pump::{Stuck, pump},
    session::{Busy, Target},
};
use crate::{
    access_log,
    balance::Unit,
    connect::Upstream,
    destination::{Chosen, Destination, InFlight},
    ejection,
    http::fault::Fault,
    reason::Reason,
};

/// A request is sent so often at most, if it was provably not processed before.
const TRIES_MAX: usize = 3;
const GRPC_STATUS: &str = "grpc-status";

/// A stream of the downstream connection.
pub(super) struct Stream {
    session: Busy,
    respond: SendResponse<Bytes>,
    begun: Instant,
    status: Option<u16>,
    upstream: Option<SocketAddr>,
}

/// Bytes of bodies that were taken from their senders.
#[derive(Default)]
struct Passed {
    sent: Cell<u64>,
    received: Cell<u64>,
}

/// How a stream ended.
enum Ended {
    /// As the upstream wanted.
    Whole,
    /// There is no response, and the client is told so.
    Failed(Reason),
    /// Its other half was reset with this code, as this one is now.
    Reset(Code),
    /// The client reset it.
    Abandoned,
}

/// Why there is no response.
enum NoResponse {
    /// The upstream did not look at the request.
    Refused,
    /// The upstream reset the stream.
    Reset(Code),
    /// The upstream's connection is gone.
    Gone,
    /// The client reset the stream.
    Abandoned,
}

/// An upstream connection for one request.
struct Taken {
    hold: Hold,
    in_flight: Option<InFlight>,
    addr: SocketAddr,
}

impl Stream {
    pub(super) fn new(session: Busy, respond: SendResponse<Bytes>) -> Self {
        Self {
            session,
            respond,
            begun: Instant::now(),
            status: None,
            upstream: None,
        }
    }

    /// Passes the request on, and its response back.
    pub(super) async fn run(mut self, request: Request<RecvStream>) {
        let (mut head, mut body) = request.into_parts();
        let passed = Passed::default();
        let ended = match complete(&mut head) {
            Ok(()) => self.exchange(&head, &mut body, &passed).await,
            Err(reason) => Ended::Failed(reason),
        };
        let failed = match ended {
            Ended::Whole => None,
            Ended::Failed(reason) => {
                self.fail(reason, &head);
                Some(reason)
            }
            Ended::Reset(code) => {
                self.respond.send_reset(code);
                Some(Reason::UpstreamReset)
            }
            Ended::Abandoned => Some(Reason::DownstreamReset),
        };
        self.note(failed, &head, &passed);
    }

    async fn exchange(
        &mut self,
        head: &request::Parts,
        body: &mut RecvStream,
        passed: &Passed,
    ) -> Ended {
        let has_body = !body.is_end_stream();
        for left in (0..TRIES_MAX).rev() {
            let mut taken = match self.take().await {
                Ok(taken) => taken,
                Err(reason) => return Ended::Failed(reason),
            };
            self.upstream = Some(taken.addr);
            // A connection that takes no more streams was sent nothing.
            let Ok((mut response, sink)) = open(&taken.hold, head, !has_body).await else {
                taken.hold.is_over();
                continue;
            };
            let mut upload = Upload(None);
            if has_body {
                upload = Upload(Some(Box::pin(uploaded(body, sink, &passed.sent))));
            }
            let answer = answer(&mut response, &mut self.respond);
            match upload
                .beside(answer)
                .await
                .unwrap_or(Err(NoResponse::Abandoned))
            {
                Ok(response) => {
                    return self
                        .pass_back(response, upload, taken, &passed.received)
                        .await;
                }
                Err(NoResponse::Refused) if left > 0 && passed.sent.get() == 0 => {
                    record(&mut taken.in_flight, ejection::Outcome::Refused);
                    let requests = &self.session.proxy.http2.requests;
                    requests.retried(Reason::StreamRefused.as_str());
                }
                Err(NoResponse::Refused) => return Ended::Reset(Code::REFUSED_STREAM),
                Err(NoResponse::Reset(code)) => {
                    record(&mut taken.in_flight, ejection::Outcome::Reset);
                    return Ended::Reset(code);
                }
                Err(NoResponse::Gone) => {
                    taken.hold.is_over();
                    record(&mut taken.in_flight, ejection::Outcome::Reset);
                    return Ended::Failed(Reason::UpstreamClosed);
                }
                Err(NoResponse::Abandoned) => return Ended::Abandoned,
            }
        }
        Ended::Failed(Reason::UpstreamClosed)
    }

    async fn pass_back(
        &mut self,
        response: Response<RecvStream>,
        mut upload: Upload<'_>,
        mut taken: Taken,
        received: &Cell<u64>,
    ) -> Ended {
        let (head, mut body) = response.into_parts();
        self.status = Some(head.status.as_u16());
        let outcome = outcome_of(&head.headers)
            .unwrap_or_else(|| ejection::Outcome::of_status(head.status.as_u16()));
        record(&mut taken.in_flight, outcome);
        let ends = body.is_end_stream();
        let head = Response::from_parts(head, ());
        let Ok(mut sink) = self.respond.send_response(head, ends) else {
            return Ended::Abandoned;
        };
        if ends {
            return Ended::Whole;
        }
        match upload.beside(pump(&mut body, &mut sink, received)).await {
            Some(Ok(trailers)) => {
                if let Some(outcome) = trailers.as_ref().and_then(outcome_of)
                    && outcome != ejection::Outcome::Success
                {
                    record(&mut taken.in_flight, outcome);
                }
                Ended::Whole
            }
            Some(Err(Stuck::Source(error))) => {
                record(&mut taken.in_flight, ejection::Outcome::Reset);
                Ended::Reset(error.reason().unwrap_or(Code::INTERNAL_ERROR))
            }
            Some(Err(Stuck::Sink)) | None => Ended::Abandoned,
        }
    }

    /// Takes a connection to an endpoint that is chosen for this request.
    async fn take(&self) -> Result<Taken, Reason> {
        let proxy = &self.session.proxy;
        let known = match &self.session.target {
            Target::Balanced(used) => used.current(),
            Target::Fixed(place) => return self.take_own(Rc::clone(place)).await,
        };
        let choose = |known: &Destination| known.choose(Unit::Request, &[], Instant::now());
        let Some((chosen, known)) = known.and_then(|known| Some((choose(&known)?, known))) else {
            // Its last endpoint has gone: the destination says so in its own way.
            return self.take_own(Rc::default()).await;
        };
        let place = proxy.http2.pool.at(chosen.endpoint());
        if let Some(hold) = place.take() {
            return Ok(Taken::of(hold, chosen));
        }
        let _alone = place.connecting.lock().await;
        if let Some(hold) = place.take() {
            return Ok(Taken::of(hold, chosen));
        }
        let connected = proxy
            .connector
            .endpoint(&known, Unit::Request, chosen)
            .await;
        let mut upstream = connected.map_err(|error| error.reason)?;
        let chosen = upstream.chosen.take();
        // It may be another one than was chosen first.
        let place = match &chosen {
            Some(chosen) => proxy.http2.pool.at(chosen.endpoint()),
            None => Rc::clone(&place),
        };
        self.add(&place, upstream, chosen).await
    }

    /// Takes a connection to where the client was going.
    async fn take_own(&self, place: Rc<Place>) -> Result<Taken, Reason> {
        let dst = self.session.dst;
        let own = |hold| Taken {
            hold,
            in_flight: None,
            addr: dst.0,
        };
        if let Some(hold) = place.take() {
            return Ok(own(hold));
        }
        let _alone = place.connecting.lock().await;
        if let Some(hold) = place.take() {
            return Ok(own(hold));
        }
        let connected = self.session.proxy.connector.original(dst).await;
        let upstream = connected.map_err(|error| error.reason)?;
        self.add(&place, upstream, None).await
    }

    async fn add(
        &self,
        place: &Rc<Place>,
        upstream: Upstream,
        chosen: Option<Chosen>,
    ) -> Result<Taken, Reason> {
        let proxy = &self.session.proxy;
        proxy.connected(&upstream);
        let addr = upstream.addr;
        let added = place.add(upstream.stream, proxy.http2.pool.limits()).await;
        Ok(Taken {
            hold: added.map_err(|_| Reason::UpstreamClosed)?,
            in_flight: chosen.map(|chosen| chosen.begin(Instant::now())),
            addr,
        })
    }

    /// Answers in the application's place.
    fn fail(&mut self, reason: Reason, head: &request::Parts) {
        let fault = Fault::of(reason);
        let text = if head.method == Method::HEAD {
            String::new()
        } else {
            fault.text()
        };
        let response = if is_grpc(&head.headers) {
            Response::builder()
                .status(StatusCode::OK)
                .header(header::CONTENT_TYPE, "application/grpc")
                .header(GRPC_STATUS, fault.grpc_status())
                .header("grpc-message", format!("netting: {reason}"))
        } else {
            Response::builder()
                .status(fault.status)
                .header(header::CONTENT_TYPE, "text/plain")
        };
        let ends = is_grpc(&head.headers) || text.is_empty();
        let response = response.header("proxy-status", fault.proxy_status());
        let response = response.body(()).expect("all of it is plain text");
        self.status = Some(response.status().as_u16());
        // A client that has gone needs no answer.
        if let Ok(mut sink) = self.respond.send_response(response, ends)
            && !ends
        {
            let _ = sink.send_data(text.into(), true);
        }
    }

    fn note(&self, failed: Option<Reason>, head: &request::Parts, passed: &Passed) {
        let (proxy, took) = (&self.session.proxy, self.begun.elapsed());
        let (sent, received) = (passed.sent.get(), passed.received.get());
        proxy.metrics.sent.inc_by(sent);
        proxy.metrics.received.inc_by(received);
        proxy.http2.requests.ended(self.status, took);
        if let Some(reason) = failed {
            proxy.http2.requests.failed(reason.as_str());
        }
        let has_failed = failed.is_some() || self.status.is_none_or(|status| status >= 500);
        if !proxy.access_log.wants(has_failed) {
            return;
        }
        proxy.access_log.request(&access_log::Request {
            direction: proxy.direction.as_str(),
            client: self.session.client,
            dst: self.session.dst.0,
            upstream: self.upstream,
            protocol: "http2",
            line: format!("{} {}", head.method, head.uri.path()).as_bytes(),
            status: self.status,
            sent,
            received,
            took,
            reason: failed,
        });
    }
}

impl Taken {
    fn of(hold: Hold, chosen: Chosen) -> Self {
        Self {
            hold,
            addr: chosen.addr().0,
            in_flight: Some(chosen.begin(Instant::now())),
        }
    }
}

impl NoResponse {
    fn of(error: &h2::Error) -> Self {
        let by_upstream = error.is_remote();
        match error.reason() {
            // Streams behind the last one that a GOAWAY names were not looked at
            // (RFC 9113 section 6.8).
            _ if by_upstream && error.is_go_away() => NoResponse::Refused,
            Some(Code::REFUSED_STREAM) if by_upstream => NoResponse::Refused,
            Some(code) if by_upstream && error.is_reset() => NoResponse::Reset(code),
            _ => NoResponse::Gone,
        }
    }
}

/// A request's body, on its way beside whatever else is waited for.
struct Upload<'u>(Option<Uploading<'u>>);

type Uploading<'u> = Pin<Box<dyn Future<Output = Result<(), Stuck>> + 'u>>;

impl Upload<'_> {
    /// Waits for something else. Nothing, if the client resets the stream.
    async fn beside<T>(&mut self, other: impl Future<Output = T>) -> Option<T> {
        let mut other = pin!(other);
        poll_fn(|cx| {
            if let Some(upload) = &mut self.0
                && let Poll::Ready(uploaded) = upload.as_mut().poll(cx)
            {
                self.0 = None;
                if let Err(Stuck::Source(_)) = uploaded {
                    return Poll::Ready(None);
                }
            }
            other.as_mut().poll(cx).map(Some)
        })
        .await
    }
}

async fn uploaded(
    body: &mut RecvStream,
    mut sink: SendStream<Bytes>,
    sent: &Cell<u64>,
) -> Result<(), Stuck> {
    pump(body, &mut sink, sent).await.map(drop)
}

/// Sends the request's head.
async fn open(
    hold: &Hold,
    head: &request::Parts,
    ends: bool,
) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
    let mut requests = hold.requests();
    poll_fn(|cx| requests.poll_ready(cx)).await?;
    requests.send_request(Request::from_parts(head.clone(), ()), ends)
}

/// Waits for the response, and passes interim ones on.
async fn answer(
    response: &mut ResponseFuture,
    respond: &mut SendResponse<Bytes>,
) -> Result<Response<RecvStream>, NoResponse> {
    poll_fn(|cx| {
        if respond.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(NoResponse::Abandoned));
        }
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            // A client that has gone is noticed above.
            let _ = respond.send_informational(interim);
        }
        let answered = Pin::new(&mut *response).poll(cx);
        answered.map_err(|error| NoResponse::of(&error))
    })
    .await
}

/// Writes down what HTTP/2 lets a client leave out, and a request cannot be sent
/// without: an authority may be in `host` instead (RFC 9113 section 8.3.1).
fn complete(head: &mut request::Parts) -> Result<(), Reason> {
    head.version = Version::HTTP_2;
    if head.uri.authority().is_some() {
        return Ok(());
    }
    let host = head.headers.get(header::HOST).map(|host| host.as_bytes());
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    let uri = Uri::builder()
        .scheme(Scheme::HTTP)
        .authority(host.unwrap_or_default())
        .path_and_query(target);
    head.uri = uri.build().map_err(|_| Reason::RequestMalformed)?;
    Ok(())
}

fn record(in_flight: &mut Option<InFlight>, outcome: ejection::Outcome) {
    if let Some(in_flight) = in_flight {
        in_flight.record(outcome, Instant::now());
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// What a gRPC call says of itself, in its trailers or in a head without a body.
fn outcome_of(headers: &HeaderMap) -> Option<ejection::Outcome> {
    let code = headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()?;
    Some(ejection::Outcome::of_grpc_status(code))
}
