//! One downstream connection, request after request.

use std::{
    future::{Future as _, poll_fn},
    pin::pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, ready},
};

use netting_telemetry::{trace::Begun as Span, traffic::Traffic};
use tokio::time::{Instant, sleep_until};

use super::{
    buffer::{lend_out, take_back},
    linger::Linger,
    pool::Pool,
    request::{self, Request},
    side::Side,
    turn::After,
    upstream::Taken,
};
use crate::{
    addr::{ClientAddr, OriginalDst},
    connect::Upstream,
    destination::Destination,
    http::idle::{Waiter, Waiters, WaitsFor},
    protocol::Begun,
    proxy::{Accepted, Counted, Proxy, relay_while_there},
    reason::Reason,
    stream::{finish_but_the_other, poll_heard, write_all},
    view::InUse,
};

/// What the HTTP/1 connections of one direction share on one thread.
#[derive(Clone, Debug)]
pub(crate) struct Http1 {
    pub(crate) pool: Rc<Pool>,
    pub(crate) waiters: Rc<Waiters>,
    pub(crate) head_bytes_max: usize,
}

/// Where the requests of a connection go.
#[derive(Debug)]
pub(crate) enum Target {
    /// Each to an endpoint that is chosen for it.
    Balanced(InUse),
    /// As if it were fixed, until it is known what there is to choose from.
    Undecided(InUse),
    /// All to one address, over one connection that is the client's own.
    Fixed,
}

impl Target {
    /// What is known now of what there is to choose from.
    pub(crate) fn current(&self) -> Option<Arc<Destination>> {
        match self {
            Target::Balanced(used) => used.current(),
            Target::Undecided(_) | Target::Fixed => None,
        }
    }

    /// Whether all goes over one connection that is the client's own, and ends with it.
    pub(crate) fn has_own_upstream(&self) -> bool {
        !matches!(self, Target::Balanced(_))
    }
}

/// A downstream connection that speaks HTTP/1.
pub(crate) struct Session<'p> {
    pub(crate) proxy: &'p Proxy,
    pub(crate) target: Target,
    pub(crate) client: ClientAddr,
    pub(crate) dst: OriginalDst,
    pub(crate) traffic: Traffic,
    pub(super) downstream: Side,
    /// The client's own upstream connection, while it waits for a request.
    pub(super) upstream: Option<Side>,
    /// The connection that has the beginning of the first request already.
    pub(super) begun: Option<Box<Taken>>,
    /// Of the request under way, if its trace is kept, and of its last try.
    pub(super) span: Option<Box<Span>>,
    pub(super) waiter: Waiter,
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

impl<'p> Session<'p> {
    /// A session over a connection that was accepted, and perhaps an upstream that
    /// is connected already, and knows how the first request begins.
    pub(crate) fn new(
        proxy: &'p Proxy,
        target: Target,
        accepted: Accepted,
        (upstream, begun): (Option<Upstream>, Begun),
    ) -> Self {
        let mut session = Self {
            proxy,
            target,
            client: accepted.client,
            dst: accepted.dst,
            traffic: accepted.traffic,
            downstream: Side::new(accepted.downstream),
            upstream: None,
            begun: None,
            span: None,
            waiter: proxy.http1.waiters.join(),
        };
        session.downstream.buffer.put(begun.bytes());
        if begun.passed_on() > 0 {
            session.begun = upstream.map(|upstream| {
                let taken = session.taken(upstream);
                Box::new(taken.having(begun.passed_on()))
            });
        } else if let Some(upstream) = upstream {
            let (side, chosen) = session.side(upstream);
            match chosen {
                Some(chosen) => session.keep(chosen.endpoint(), side),
                None => session.upstream = Some(side),
            }
        }
        session
    }

    /// Serves until the connection ends, and says why it did.
    pub(crate) async fn serve(&mut self) -> Reason {
        loop {
            let mut head = lend_out();
            let request = match self.next_request(&mut head).await {
                Next::Request(request) => request,
                Next::Refused(reason) => {
                    take_back(head);
                    return match self.target {
                        Target::Undecided(_) => Box::pin(self.pass_on(reason)).await,
                        _ => Box::pin(self.refuse(reason)).await,
                    };
                }
                Next::Over(reason) => {
                    take_back(head);
                    self.finish();
                    return reason;
                }
                Next::Broken => return Reason::DownstreamReset,
            };
            match self.request(&request, head).await {
                After::Next => {}
                After::Close(reason) => return Box::pin(self.close(reason)).await,
                After::Reset(reason) => return reason,
                After::Tunnel(taken) => return Box::pin(self.tunnel(taken)).await,
            }
        }
    }

    /// Chooses from now on, if what there is to choose from has become known.
    pub(super) fn decide(&mut self) {
        if let Target::Undecided(used) = &self.target
            && let Some(known) = used.known_since()
        {
            self.traffic = known.traffic(&self.proxy.peers, self.dst);
            self.target = Target::Balanced(used.clone());
        }
    }

    async fn next_request(&mut self, head: &mut Vec<u8>) -> Next {
        let http = &self.proxy.http1;
        let tells_close = self.target.has_own_upstream();
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
                        self.waiter.waits_for(WaitsFor::Sides);
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
            // may say then is for nobody. A request that has begun goes over another.
            let idle = self.downstream.buffer.is_empty();
            let upstream = self.upstream.as_ref().filter(|_| idle);
            if upstream.is_some_and(|side| poll_heard(&side.stream, cx).is_ready()) {
                return Poll::Ready(Some(Next::Over(Reason::Finished)));
            }
            Poll::Ready(Some(match ready!(self.waiter.poll_over(cx)) {
                Reason::RequestHeadTimeout => Next::Refused(Reason::RequestHeadTimeout),
                reason => Next::Over(reason),
            }))
        })
        .await
    }

    /// Relays what both sides say from now on.
    pub(super) async fn tunnel(&mut self, mut taken: Box<Taken>) -> Reason {
        let traffic = taken.traffic(&self.traffic).clone();
        let upstream = &mut taken.side;
        if !self.downstream.pass_on(upstream).await {
            return Reason::UpstreamReset;
        }
        if !upstream.pass_on(&self.downstream).await {
            return Reason::DownstreamReset;
        }
        let (downstream, upstream) = (&mut self.downstream.stream, &mut upstream.stream);
        let (sides, counted) = ((&**downstream, &**upstream), Counted::new(&traffic));
        let reason = relay_while_there(sides, &counted, &self.waiter, || false).await;
        finish_but_the_other(reason, downstream, upstream);
        reason
    }

    /// Ends the connection so that the client gets all that it was sent.
    pub(super) async fn close(&mut self, reason: Reason) -> Reason {
        self.downstream.end();
        let mut linger = Linger::begin(Instant::now());
        let mut over = pin!(sleep_until(linger.until()));
        poll_fn(|cx| {
            while !self.downstream.ended {
                let held = self.downstream.buffer.bytes().len();
                self.downstream.buffer.consume(held);
                match self.downstream.poll_fill(cx) {
                    Poll::Ready(Ok(_))
                        if linger.heard(Instant::now(), self.waiter.is_draining()) => {}
                    Poll::Ready(_) => break,
                    Poll::Pending => {
                        if over.deadline() != linger.until() {
                            over.as_mut().reset(linger.until());
                        }
                        return over.as_mut().poll(cx);
                    }
                }
            }
            Poll::Ready(())
        })
        .await;
        self.finish();
        reason
    }

    fn finish(&mut self) {
        self.downstream.stream.finish();
        if let Some(upstream) = &mut self.upstream {
            upstream.stream.finish();
        }
    }
}

/// Whether the end of a head may be among the bytes from `searched` on.
fn may_be_whole(bytes: &[u8], searched: usize) -> bool {
    let new = &bytes[searched.saturating_sub(3)..];
    let ends = |window: &[u8]| window.ends_with(b"\n\n") || window.ends_with(b"\n\r\n");
    (1..=new.len()).any(|end| ends(&new[..end]))
}

/// Sends all of it, and tells whether that went well.
pub(super) async fn send(side: &Side, bytes: &[u8]) -> bool {
    write_all(&side.stream, bytes).await.is_ok()
}
