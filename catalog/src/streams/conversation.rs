//! The task of one stream: hears, waits and speaks for its session.

use std::{sync::Arc, time::Duration};

use netting_proto::{
    since,
    v1::{self, stream_request::Kind as Request, stream_response::Kind as Message},
};
use netting_runtime::{Drain, Slot};
use netting_telemetry::{catalog::CatalogMetrics, trace::Tracer};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use tonic::{Code, Status, Streaming};

use super::asked::Asked;
use crate::{
    objects::Key,
    publisher::{Mailbox, Publisher},
    session::{Fault, Session, Terms},
};

/// Silent for so many heartbeat intervals, a sidecar counts as gone.
const SILENT_INTERVALS: u32 = 3;
/// How long answers wait for the index to be filled for the first time. After
/// that, another replica may know more.
const SYNC_WAIT: Duration = Duration::from_secs(10);
/// How long a stream that ends waits for room to say why.
const GOODBYE_WAIT: Duration = Duration::from_secs(1);

/// The longest name of a Kubernetes object.
const NAME_BYTES_MAX: usize = 253;

pub(super) struct Conversation {
    publisher: Arc<Publisher>,
    mailbox: Arc<Mailbox>,
    session: Session,
    metrics: CatalogMetrics,
    tracer: Option<Tracer>,
    /// What is being answered, if anybody looks at that.
    asked: Option<Asked>,
    heartbeat_interval: Duration,
    drain: Drain,
    responses: mpsc::Sender<Result<v1::StreamResponse, Status>>,
    /// As many subscriptions as the gauge was told of.
    counted: i64,
    /// The sidecar's own, once it has said so.
    pod: Option<Key>,
    /// The sidecar's node, once it has said which.
    node: Option<String>,
    /// Something was ignored before: one warning is enough for a stream.
    warned: bool,
}

/// Why a stream ended.
#[derive(Debug)]
enum Ended {
    /// The sidecar closed it, or is gone.
    BySidecar,
    /// What the sidecar sent could not be read.
    Unreadable(Status),
    Fault(Fault),
    Silent(Duration),
    NotSynced,
    Draining,
    GaveWay,
}

impl Conversation {
    pub(super) fn new(
        publisher: Arc<Publisher>,
        metrics: CatalogMetrics,
        terms: Terms,
        drain: Drain,
        responses: mpsc::Sender<Result<v1::StreamResponse, Status>>,
    ) -> Self {
        metrics.streams_opened.inc();
        metrics.streams.inc();
        Self {
            mailbox: publisher.reader(),
            publisher,
            session: Session::new(terms),
            metrics,
            tracer: None,
            asked: None,
            heartbeat_interval: Duration::from_millis(terms.heartbeat_interval_ms.into()),
            drain,
            responses,
            counted: 0,
            pod: None,
            node: None,
            warned: false,
        }
    }

    pub(super) fn traced(mut self, tracer: Option<Tracer>) -> Self {
        self.tracer = tracer;
        self
    }

    /// Until it ends, or its slot is another's.
    pub(super) async fn run(mut self, mut requests: Streaming<v1::StreamRequest>, slot: Slot) {
        let ended = tokio::select! {
            ended = self.converse(&mut requests) => ended,
            () = slot.holder().revoked() => Ended::GaveWay,
        };
        // Who waits for it has no part in the goodbye.
        drop(slot);
        let reason = ended.as_str();
        self.metrics.stream_closed(reason);
        if let Some(asked) = self.asked.take() {
            asked.end(Some(reason));
        }
        let status = ended.status();
        let cause = status.as_ref().map(Status::message).unwrap_or_default();
        tracing::info!(reason, cause, "stream ended");
        if let Some(status) = status {
            let said = self.responses.send(Err(status));
            // A sidecar that doesn't read won't miss it.
            let _ = timeout(GOODBYE_WAIT, said).await;
        }
    }

    async fn converse(&mut self, requests: &mut Streaming<v1::StreamRequest>) -> Ended {
        let responses = self.responses.clone();
        let drain = self.drain.clone();
        let mut synced = self.publisher.synced();
        let opened = Instant::now();
        let (mut heard, mut said) = (opened, opened);
        let silence = self.heartbeat_interval * SILENT_INTERVALS;
        loop {
            let is_synced = *synced.borrow_and_update();
            let due = self.session.has_due(is_synced);
            let waiting = !is_synced && self.session.owes_answers();
            tokio::select! {
                request = requests.message() => {
                    heard = Instant::now();
                    if let Err(ended) = self.hear(request) {
                        return ended;
                    }
                }
                () = self.mailbox.marked() => {
                    for addr in self.mailbox.take() {
                        self.session.changed(addr);
                    }
                    if self.mailbox.take_ended() {
                        self.session.application_ended();
                    }
                }
                room = responses.reserve(), if due => match room {
                    Ok(room) => if let Some(message) = self.speak(is_synced) {
                        room.send(Ok(message));
                        said = Instant::now();
                    },
                    Err(_) => return Ended::BySidecar,
                },
                () = sleep_until(said + self.heartbeat_interval), if !due => self.session.beat(),
                () = sleep_until(heard + silence) => return Ended::Silent(silence),
                _ = synced.changed(), if !is_synced => {}
                () = sleep_until(opened + SYNC_WAIT), if waiting => return Ended::NotSynced,
                () = drain.started() => return Ended::Draining,
                () = responses.closed() => return Ended::BySidecar,
            }
        }
    }

    fn hear(&mut self, request: Result<Option<v1::StreamRequest>, Status>) -> Result<(), Ended> {
        let request = request.map_err(Ended::Unreadable)?;
        let request = request.ok_or(Ended::BySidecar)?;
        let subscriptions = match &request.kind {
            Some(Request::Subscribe(subscribe)) => subscribe.subscriptions.len(),
            _ => 0,
        };
        let heard = self.session.hear(request).map_err(Ended::Fault)?;
        if let Some(hello) = heard.hello {
            let span = tracing::Span::current();
            span.record("namespace", name(&hello.namespace));
            span.record("pod", name(&hello.pod));
            let (version, node) = (name(&hello.version), name(&hello.node));
            tracing::info!(version, node, "stream opened");
            self.node = Some(node.to_owned()).filter(|node| !node.is_empty());
            let pod = Key::new(name(&hello.namespace), name(&hello.pod));
            self.publisher.attach(&self.mailbox, &pod);
            self.pod = Some(pod);
        }
        if !heard.unfollowed.is_empty() {
            self.publisher.unfollow(&self.mailbox, heard.unfollowed);
        }
        if let Some(first) = heard.ignored.first()
            && !std::mem::replace(&mut self.warned, true)
        {
            let (reason, count) = (first.as_str(), heard.ignored.len());
            tracing::warn!(
                reason,
                count,
                "ignored a part of a request, as will be others"
            );
        }
        for ignored in heard.ignored {
            self.metrics.ignored_request(ignored.as_str());
        }
        if subscriptions > 0 {
            self.note_asked(subscriptions);
        }
        self.count();
        Ok(())
    }

    fn note_asked(&mut self, subscriptions: usize) {
        if self.asked.is_none() {
            self.asked = Asked::begin(self.tracer.as_ref(), self.pod.as_ref());
        }
        if let Some(asked) = &mut self.asked {
            asked.add(subscriptions);
        }
    }

    fn speak(&mut self, synced: bool) -> Option<v1::StreamResponse> {
        self.find_place();
        let (publisher, mailbox) = (&self.publisher, &self.mailbox);
        let look = |addr| publisher.follow(mailbox, addr);
        let message = self.session.next(synced, look);
        if let (Some(asked), Some(message)) = (&mut self.asked, &message) {
            asked.said(message);
        }
        if !self.session.owes_answers()
            && let Some(asked) = self.asked.take()
        {
            asked.end(None);
        }
        let message = message?;
        self.metrics.message(kind(&message));
        if let Some(after) = changed_at_us(&message).and_then(since) {
            self.metrics.handed_over(after);
        }
        Some(v1::StreamResponse {
            kind: Some(message),
        })
    }

    /// Asked for as long as it isn't known; at the latest, it is with a heartbeat.
    fn find_place(&mut self) {
        if self.session.is_nowhere()
            && let Some(node) = &self.node
            && let Some(zone) = self.publisher.read(|index, _| index.zone_of(node).cloned())
        {
            self.session.is_in_zone(zone);
        }
    }

    fn count(&mut self) {
        let now = i64::try_from(self.session.followed().len()).unwrap_or(i64::MAX);
        self.metrics.subscriptions.add(now - self.counted);
        self.counted = now;
    }
}

impl Drop for Conversation {
    fn drop(&mut self) {
        let followed = self.session.followed();
        self.publisher.unfollow(&self.mailbox, followed);
        if let Some(pod) = &self.pod {
            self.publisher.detach(&self.mailbox, pod);
        }
        self.metrics.subscriptions.add(-self.counted);
        self.metrics.streams.dec();
    }
}

impl Ended {
    fn as_str(&self) -> &'static str {
        match self {
            Ended::BySidecar => "by_sidecar",
            Ended::Unreadable(status) if status.code() == Code::OutOfRange => "oversized_request",
            Ended::Unreadable(_) => "unreadable",
            Ended::Fault(Fault::NoHello) => "no_hello",
            Ended::Fault(Fault::SecondHello) => "second_hello",
            Ended::Silent(_) => "silent",
            Ended::NotSynced => "not_synced",
            Ended::Draining => "draining",
            Ended::GaveWay => "gave_way",
        }
    }

    /// What the sidecar is told; nothing if it is not there any more.
    fn status(&self) -> Option<Status> {
        match self {
            Ended::BySidecar => None,
            Ended::Unreadable(status) => Some(status.clone()),
            Ended::Fault(fault) => Some(Status::failed_precondition(fault.to_string())),
            Ended::Silent(silence) => Some(Status::deadline_exceeded(format!(
                "nothing was heard for {silence:?}; send a heartbeat in each interval"
            ))),
            Ended::NotSynced => Some(Status::unavailable(
                "this replica has not listed the cluster yet; try another one",
            )),
            Ended::Draining => Some(draining()),
            Ended::GaveWay => Some(Status::resource_exhausted(
                "this replica serves as many streams as it may, and this address has most of \
                 them; try another one",
            )),
        }
    }
}

pub(super) fn draining() -> Status {
    Status::unavailable("this replica is shutting down; open a stream to another one")
}

/// As much of a name as a name may be long: sidecars don't fill the catalog's log.
fn name(text: &str) -> &str {
    &text[..text.floor_char_boundary(NAME_BYTES_MAX)]
}

fn kind(message: &Message) -> &'static str {
    match message {
        Message::Welcome(_) => "welcome",
        Message::Snapshot(_) => "snapshot",
        Message::Delta(_) => "delta",
        Message::Unknown(_) => "unknown",
        Message::Unchanged(_) => "unchanged",
        Message::Heartbeat(_) => "heartbeat",
        Message::Place(_) => "place",
        Message::ApplicationEnded(_) => "application_ended",
    }
}

fn changed_at_us(message: &Message) -> Option<i64> {
    match message {
        Message::Snapshot(snapshot) => Some(snapshot.changed_at_us),
        Message::Delta(delta) => Some(delta.changed_at_us),
        Message::Unknown(unknown) => Some(unknown.changed_at_us),
        Message::Welcome(_)
        | Message::Unchanged(_)
        | Message::Heartbeat(_)
        | Message::ApplicationEnded(_)
        | Message::Place(_) => None,
    }
}
