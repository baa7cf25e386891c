//! One downstream connection, request after request.

use std::{
    future::poll_fn,
    net::SocketAddr,
    rc::Rc,
    task::{Poll, ready},
    time::Duration,
};

use netting_telemetry::requests::DirectionRequests;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};

use super::{
    buffer::{lend_out, take_back},
    exchange::{Exchange, Outcome},
    pool::Pool,
    request::{self, Request},
    side::{Message, Side},
};
use crate::{
    access_log,
    addr::{ClientAddr, EndpointAddr, OriginalDst},
    connect::{self, ConnectError, Upstream},
    destination::{Chosen, InFlight},
    ejection,
    http::{
        fault::Fault,
        idle::{Waiter, Waiters, WaitsFor},
    },
    policy::{Failure, Tries},
    proxy::{Counted, Proxy},
    reason::Reason,
    relay::relay,
    stream::poll_write,
    view::InUse,
};

/// How long a client that was told that the connection ends may go on sending.
/// Closed at once, its last bytes would make the kernel send a reset, which can
/// overtake the answer.
const LINGER: Duration = Duration::from_secs(1);

/// What the HTTP/1 connections of one direction share on one thread.
#[derive(Clone, Debug)]
pub(crate) struct Http1 {
    pub(crate) pool: Rc<Pool>,
    pub(crate) waiters: Rc<Waiters>,
    pub(crate) requests: DirectionRequests,
    pub(crate) head_bytes_max: usize,
}

/// Where the requests of a connection go.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target<'r> {
    /// Each to an endpoint that is chosen for it.
    Balanced(&'r InUse),
    /// All to one address, over one connection that is the client's own.
    Fixed,
}

/// A downstream connection that speaks HTTP/1.
pub(crate) struct Session<'p> {
    pub(crate) proxy: &'p Proxy,
    pub(crate) target: Target<'p>,
    pub(crate) client: ClientAddr,
    pub(crate) dst: OriginalDst,
    downstream: Side,
    /// The client's own upstream connection, while it waits for a request.
    upstream: Option<Side>,
    waiter: Waiter,
}

/// What came of waiting for a request.
enum Next {
    Request(Request),
    /// It is refused.
    Refused(Reason),
    /// There will be none.
    Over(Reason),
    /// The client broke off.
    Broken,
}

/// What becomes of the connection after a request.
enum After {
    /// It waits for the next one.
    Next,
    /// It ends, and the client knows or is told so.
    Close(Reason),
    /// It ends at once.
    Reset(Reason),
    /// It becomes a tunnel.
    Tunnel(Side),
}

/// An upstream connection for one request.
struct Taken {
    side: Side,
    addr: SocketAddr,
    /// It has been open for a while, and may have been closed meanwhile.
    is_old: bool,
    /// Notes at its endpoint what comes of the request.
    in_flight: Option<InFlight>,
}

impl<'p> Session<'p> {
    /// A session over a connection that was accepted, and perhaps an upstream that
    /// is connected already.
    pub(crate) fn new(
        proxy: &'p Proxy,
        target: Target<'p>,
        (downstream, client, dst): (TcpStream, ClientAddr, OriginalDst),
        upstream: Option<Upstream>,
    ) -> Self {
        connect::tune(&downstream);
        let mut session = Self {
            proxy,
            target,
            client,
            dst,
            downstream: Side::new(downstream),
            upstream: None,
            waiter: proxy.http1.waiters.join(),
        };
        if let Some(upstream) = upstream {
            let (side, chosen) = session.side(upstream);
            match chosen {
                Some(chosen) => proxy.http1.pool.put(chosen.endpoint(), side),
                None => session.upstream = Some(side),
            }
        }
        session
    }

    /// Serves until the connection ends, and says why it did.
    pub(crate) async fn serve(mut self) -> Reason {
        loop {
            let mut head = lend_out();
            let request = match self.next_request(&mut head).await {
                Next::Request(request) => request,
                Next::Refused(reason) => {
                    take_back(head);
                    self.refuse(reason).await;
                    self.close().await;
                    return reason;
                }
                Next::Over(reason) => {
                    take_back(head);
                    self.finish();
                    return reason;
                }
                Next::Broken => return Reason::DownstreamReset,
            };
            match self.request(request, head).await {
                After::Next => {}
                After::Close(reason) => {
                    self.close().await;
                    return reason;
                }
                After::Reset(reason) => return reason,
                After::Tunnel(upstream) => return Box::pin(self.tunnel(upstream)).await,
            }
        }
    }

    async fn next_request(&mut self, head: &mut Vec<u8>) -> Next {
        let http = &self.proxy.http1;
        let tells_close = matches!(self.target, Target::Fixed);
        // Bytes that hold no whole head, as is known already.
        let mut searched = 0;
        loop {
            let bytes = self.downstream.buffer.bytes();
            if bytes.len() > searched && (searched == 0 || may_be_whole(bytes, searched)) {
                match request::parse(bytes, tells_close, head) {
                    Ok(Some(request)) if request.length > http.head_bytes_max => {
                        return Next::Refused(Reason::RequestHeadTooLarge);
                    }
                    Ok(Some(request)) => {
                        self.waiter.waits_for(WaitsFor::Nothing);
                        self.downstream.buffer.consume(request.length);
                        return Next::Request(request);
                    }
                    Ok(None) => {}
                    Err(reason) => return Next::Refused(reason),
                }
            }
            searched = bytes.len();
            if searched >= http.head_bytes_max {
                return Next::Refused(Reason::RequestHeadTooLarge);
            }
            match searched {
                0 => self.waiter.waits_for(WaitsFor::Request),
                _ if self.downstream.ended => return Next::Over(Reason::Finished),
                _ => self.waiter.waits_for(WaitsFor::Head),
            }
            if let Some(over) = self.more().await {
                return over;
            }
        }
    }

    /// Waits for more of a request, or a reason to wait no longer.
    async fn more(&mut self) -> Option<Next> {
        poll_fn(|cx| {
            if let Poll::Ready(read) = self.downstream.poll_fill(cx) {
                return Poll::Ready(match read {
                    Ok(0) => Some(Next::Over(Reason::Finished)),
                    Ok(_) => None,
                    Err(_) => Some(Next::Broken),
                });
            }
            // The application ends connections that it has waited on for long; what it
            // may say then is for nobody.
            let upstream = self.upstream.as_ref();
            if upstream.is_some_and(|side| side.stream.poll_read_ready(cx).is_ready()) {
                return Poll::Ready(Some(Next::Over(Reason::Finished)));
            }
            Poll::Ready(Some(match ready!(self.waiter.poll_over(cx)) {
                Reason::RequestHeadTimeout => Next::Refused(Reason::RequestHeadTimeout),
                reason => Next::Over(reason),
            }))
        })
        .await
    }

    /// One request, to the end of its response.
    async fn request(&mut self, request: Request, head: Vec<u8>) -> After {
        let begun = Instant::now();
        let mut upload = Message::new(head, request.body);
        let along = upload.take_along(&mut self.downstream);
        let mut ended = match along {
            Ok(()) => self.exchange(request, &mut upload).await,
            Err(_) => Ended::without_upstream(Outcome::Failed(Reason::RequestMalformed)),
        };
        let stays = request.keeps_alive && upload.body.is_over() && !self.is_draining();
        let (after, failed) = match ended.outcome {
            Outcome::Done {
                downstream_stays,
                upstream_stays,
            } => {
                ended.give_back(self, upstream_stays);
                let after = if downstream_stays {
                    After::Next
                } else {
                    After::Close(Reason::Finished)
                };
                (after, None)
            }
            Outcome::Tunnel => match ended.taken.take() {
                Some(taken) => (After::Tunnel(taken.side), None),
                None => (After::Close(Reason::Finished), None),
            },
            // Unwanted is what is tried again, and never the end.
            Outcome::Unanswered | Outcome::Unwanted => {
                let reason = Reason::UpstreamClosed;
                (self.fail(reason, &request, stays).await, Some(reason))
            }
            Outcome::Failed(reason) => {
                let stays = stays && reason != Reason::RequestMalformed;
                (self.fail(reason, &request, stays).await, Some(reason))
            }
            Outcome::BrokenOff(reason) => (After::Reset(reason), Some(reason)),
            // Not with a reset, which would take what is still on its way.
            Outcome::CutShort => {
                let reason = Reason::UpstreamClosed;
                (After::Close(reason), Some(reason))
            }
            Outcome::Abandoned => {
                let reason = Reason::DownstreamReset;
                (After::Reset(reason), Some(reason))
            }
        };
        self.note(&ended, &upload, failed, begun);
        take_back(upload.head);
        after
    }

    /// Takes an upstream and exchanges messages with it: once more with a fresh one,
    /// if the first had been closed meanwhile, and at others as far as the service's
    /// policy says.
    async fn exchange(&mut self, request: Request, upload: &mut Message) -> Ended {
        let known = match self.target {
            Target::Balanced(used) => used.current(),
            Target::Fixed => None,
        };
        let mut tries = match Tries::begin(known, request.is_idempotent, Instant::now()) {
            Ok(tries) => tries,
            Err(reason) => return Ended::without_upstream(Outcome::Failed(reason)),
        };
        let http = &self.proxy.http1;
        let mut fresh = false;
        loop {
            let until = tries.until(Instant::now());
            let mut taken = match self.take(&tries, fresh, until).await {
                Ok(taken) => taken,
                Err(error) => {
                    let (client, dst, cause) = (self.client, self.dst, &error.source);
                    tracing::debug!(%client, %dst, %error, %cause, "no upstream for a request");
                    // Of this try, nothing was sent.
                    let at = EndpointAddr(error.addr);
                    if tries.again(Failure::Connect, at, true, Instant::now()) {
                        http.requests.retried(error.reason.as_str());
                        continue;
                    }
                    return Ended::without_upstream(Outcome::Failed(error.reason));
                }
            };
            let together = matches!(self.target, Target::Fixed);
            let sides = (&mut self.downstream, &mut taken.side);
            let mut exchange = Exchange::new(http, request, upload, sides, together);
            exchange.in_flight = taken.in_flight.as_mut();
            exchange.tries = Some(&mut tries);
            let outcome = exchange.run(until).await;
            let status = exchange.response.map(|response| response.status);
            let received = exchange.received();
            drop(exchange);
            let is_stale = outcome == Outcome::Unanswered && taken.is_old;
            if let (Outcome::Unanswered, false, Some(in_flight)) =
                (outcome, is_stale, &mut taken.in_flight)
            {
                in_flight.record(ejection::Outcome::Reset, Instant::now());
            }
            let again = if is_stale {
                Some(Reason::UpstreamClosed)
            } else {
                taken.again(outcome, &mut tries, upload.can_be_repeated())
            };
            if let Some(reason) = again {
                http.requests.retried(reason.as_str());
                upload.repeat();
                // What was pooled at the same time may be as stale.
                fresh |= is_stale;
                if reason != Reason::ResponseTimeout {
                    taken.side.stream.finish();
                }
                continue;
            }
            return Ended {
                outcome,
                status,
                received,
                upstream: Some(taken.addr),
                taken: Some(taken),
            };
        }
    }

    async fn take(
        &mut self,
        tries: &Tries,
        fresh: bool,
        until: Option<Instant>,
    ) -> Result<Taken, ConnectError> {
        let connector = &self.proxy.connector;
        let Some(chosen) = tries.choose(Instant::now()) else {
            // The client's own connection, or a service whose last endpoint has gone.
            if let Some(side) = self.upstream.take() {
                return Ok(Taken {
                    side,
                    addr: self.dst.0,
                    is_old: true,
                    in_flight: None,
                });
            }
            let upstream = connector.original(self.dst).await?;
            return Ok(self.taken(upstream));
        };
        let pool = &self.proxy.http1.pool;
        let addr = chosen.addr();
        let pooled = if fresh { None } else { pool.take(addr) };
        if let Some(side) = pooled {
            return Ok(Taken {
                side,
                addr: addr.0,
                is_old: true,
                in_flight: Some(chosen.begin(Instant::now())),
            });
        }
        let upstream = connector.one(chosen, until).await?;
        Ok(self.taken(upstream))
    }

    fn taken(&self, upstream: Upstream) -> Taken {
        let addr = upstream.addr;
        let (side, chosen) = self.side(upstream);
        Taken {
            side,
            addr,
            is_old: false,
            in_flight: chosen.map(|chosen| chosen.begin(Instant::now())),
        }
    }

    fn side(&self, upstream: Upstream) -> (Side, Option<Chosen>) {
        self.proxy.connected(&upstream);
        connect::tune(&upstream.stream);
        (Side::new(upstream.stream), upstream.chosen)
    }

    fn is_draining(&self) -> bool {
        self.proxy.http1.waiters.is_draining()
    }

    /// Answers in the application's place.
    async fn fail(&mut self, reason: Reason, request: &Request, stays: bool) -> After {
        let mut out = lend_out();
        Fault::of(reason).write_http1(request.is_head, stays, &mut out);
        let sent = send(&self.downstream, &out).await;
        take_back(out);
        match (sent, stays) {
            (false, _) => After::Reset(Reason::DownstreamReset),
            (true, true) => After::Next,
            (true, false) => After::Close(reason),
        }
    }

    /// Answers what is no request.
    async fn refuse(&mut self, reason: Reason) {
        let http = &self.proxy.http1;
        let fault = Fault::of(reason);
        http.requests.failed(reason.as_str());
        http.requests.ended(Some(fault.status), Duration::ZERO);
        let client = self.client;
        tracing::debug!(%client, %reason, "refused a request");
        let mut out = lend_out();
        fault.write_http1(false, false, &mut out);
        send(&self.downstream, &out).await;
        take_back(out);
    }

    fn note(&self, ended: &Ended, upload: &Message, failed: Option<Reason>, begun: Instant) {
        let (proxy, took) = (self.proxy, begun.elapsed());
        let status = match ended.outcome {
            Outcome::Failed(reason) => Some(Fault::of(reason).status),
            Outcome::Unanswered => Some(Fault::of(Reason::UpstreamClosed).status),
            _ => ended.status,
        };
        proxy.metrics.sent.inc_by(upload.passed);
        proxy.metrics.received.inc_by(ended.received);
        proxy.http1.requests.ended(status, took);
        if let Some(reason) = failed {
            proxy.http1.requests.failed(reason.as_str());
        }
        let has_failed = failed.is_some() || status.is_none_or(|status| status >= 500);
        if !proxy.access_log.wants(has_failed) {
            return;
        }
        proxy.access_log.request(&access_log::Request {
            direction: proxy.direction.as_str(),
            client: self.client,
            dst: self.dst.0,
            upstream: ended.upstream,
            protocol: "http1",
            line: first_line(&upload.head),
            status,
            sent: upload.passed,
            received: ended.received,
            took,
            reason: failed,
        });
    }

    /// Relays what both sides say from now on.
    async fn tunnel(self, upstream: Side) -> Reason {
        let early = send(&upstream, self.downstream.buffer.bytes()).await;
        let late = send(&self.downstream, upstream.buffer.bytes()).await;
        if !early || !late {
            return Reason::UpstreamReset;
        }
        let (downstream, upstream) = (self.downstream.stream, upstream.stream);
        let reason = relay(&downstream, &upstream, &Counted::new(&self.proxy.metrics)).await;
        match reason {
            Reason::DownstreamReset => downstream.finish(),
            Reason::UpstreamReset => upstream.finish(),
            _ => {
                downstream.finish();
                upstream.finish();
            }
        }
        reason
    }

    /// Ends the connection so that the client gets all that it was sent.
    async fn close(mut self) {
        self.downstream.end();
        if self.downstream.ended {
            return self.finish();
        }
        let discard = poll_fn(|cx| {
            loop {
                let held = self.downstream.buffer.bytes().len();
                self.downstream.buffer.consume(held);
                match ready!(self.downstream.poll_fill(cx)) {
                    Ok(0) | Err(_) => return Poll::Ready(()),
                    Ok(_) => {}
                }
            }
        });
        let _ = timeout(LINGER, discard).await;
        self.finish();
    }

    fn finish(self) {
        self.downstream.stream.finish();
        if let Some(upstream) = self.upstream {
            upstream.stream.finish();
        }
    }
}

impl Taken {
    /// Why the request is tried again, if it is.
    fn again(&self, outcome: Outcome, tries: &mut Tries, replayable: bool) -> Option<Reason> {
        let (failure, reason) = match outcome {
            // It was granted when the response's head came.
            Outcome::Unwanted => return Some(Reason::ResponseUnwanted),
            Outcome::Unanswered => (Failure::Reset, Reason::UpstreamClosed),
            Outcome::Failed(reason @ Reason::ResponseTimeout) => (Failure::TimedOut, reason),
            _ => return None,
        };
        let at = EndpointAddr(self.addr);
        let granted = tries.again(failure, at, replayable, Instant::now());
        granted.then_some(reason)
    }
}

/// What came of a request.
struct Ended {
    outcome: Outcome,
    status: Option<u16>,
    received: u64,
    upstream: Option<SocketAddr>,
    taken: Option<Taken>,
}

impl Ended {
    fn without_upstream(outcome: Outcome) -> Self {
        Self {
            outcome,
            status: None,
            received: 0,
            upstream: None,
            taken: None,
        }
    }

    /// Lets the upstream connection wait for another request, or ends it.
    fn give_back(&mut self, session: &mut Session<'_>, stays: bool) {
        let Some(taken) = self.taken.take() else {
            return;
        };
        match taken.in_flight {
            _ if !stays => taken.side.stream.finish(),
            Some(request) => session.proxy.http1.pool.put(request.endpoint(), taken.side),
            None => session.upstream = Some(taken.side),
        }
    }
}

/// Whether the end of a head may be among the bytes from `searched` on.
fn may_be_whole(bytes: &[u8], searched: usize) -> bool {
    let new = &bytes[searched.saturating_sub(3)..];
    let ends = |window: &[u8]| window.ends_with(b"\n\n") || window.ends_with(b"\n\r\n");
    (1..=new.len()).any(|end| ends(&new[..end]))
}

fn first_line(head: &[u8]) -> &[u8] {
    let end = head.iter().position(|byte| *byte == b'\r');
    &head[..end.unwrap_or(head.len())]
}

/// Sends all of it, and tells whether that went well.
async fn send(side: &Side, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match poll_fn(|cx| poll_write(&side.stream, cx, bytes)).await {
            Ok(wrote) => bytes = &bytes[wrote..],
            Err(_) => return false,
        }
    }
    true
}
