//! What a process does itself: a span while it is under way, its parts, and its end.

use std::{
    borrow::Cow,
    time::{Duration, Instant, SystemTime},
};

use super::{
    Begun, Received, Span, SpanId, Tracer, cut,
    span::{Attribute, Kind, Value},
};

/// What is told of work that nobody brought to its end: whoever asked for it went away,
/// or it panicked.
const BROKEN_OFF: &str = "broken_off";

/// Work under way. If nobody looks at its trace it is nothing, and costs as much.
///
/// It is told of at its [end](Work::end), and also if it is dropped before.
#[derive(Debug, Default)]
pub struct Work(Option<Box<UnderWay>>);

#[derive(Debug)]
struct UnderWay {
    tracer: Tracer,
    span: Span,
    since: Instant,
}

impl Work {
    /// Work that nobody looks at.
    #[must_use]
    pub fn unseen() -> Self {
        Self(None)
    }

    /// Work that continues the trace that a request came with, or begins one.
    #[must_use]
    pub fn begin(
        tracer: Option<&Tracer>,
        kind: Kind,
        name: impl Into<Cow<'static, str>>,
        received: &Received<'_>,
    ) -> Self {
        let begun = tracer.and_then(|tracer| Some((tracer, tracer.begin(received)?)));
        let Some((tracer, begun)) = begun else {
            return Self::unseen();
        };
        let Begun {
            trace,
            span,
            parent,
            state,
            ..
        } = begun;
        let ids = (trace, span, parent);
        Self::under_way(tracer, begun_now(ids, state, kind, name.into()))
    }

    /// Whether anybody looks at it. What is costly to tell need not be found out if not.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        self.0.is_some()
    }

    /// A part of it, which begins now.
    #[must_use]
    pub fn part(&self, name: &'static str) -> Self {
        let Some(whole) = &self.0 else {
            return Self::unseen();
        };
        let Span {
            trace, id, state, ..
        } = &whole.span;
        let ids = (*trace, SpanId::random(), Some(*id));
        let span = begun_now(ids, state.clone(), Kind::Internal, name.into());
        Self::under_way(&whole.tracer, span)
    }

    /// Notes what is known of it, under a name of OpenTelemetry's conventions or one that
    /// begins with `netting.`.
    pub fn note(&mut self, key: &'static str, value: impl Into<Value>) {
        if let Some(work) = &mut self.0 {
            let value = value.into();
            work.span.attributes.push(Attribute { key, value });
        }
    }

    /// Notes a text that somebody else chose, of which no more is kept than it needs.
    pub fn note_text(&mut self, key: &'static str, text: &str) {
        if self.is_seen() && !text.is_empty() {
            self.note(key, cut(text).to_owned());
        }
    }

    /// Notes who asked for it.
    pub fn note_peer(&mut self, peer: std::net::SocketAddr) {
        if let Some(work) = &mut self.0 {
            work.span.remote = Some(peer);
            self.note("network.peer.address", peer.ip().to_canonical().to_string());
            self.note("network.peer.port", peer.port());
        }
    }

    /// It failed, for this reason.
    pub fn fail(&mut self, why: &'static str) {
        self.note("error.type", why);
        self.mark_failed(why);
    }

    pub(super) fn mark_failed(&mut self, why: &'static str) {
        if let Some(work) = &mut self.0 {
            work.span.failed = Some(why);
        }
    }

    pub(super) fn has_failed(&self) -> bool {
        let span = self.0.as_ref().map(|work| &work.span);
        span.is_some_and(|span| span.failed.is_some())
    }

    /// It has come to its end.
    pub fn end(mut self) {
        if let Some(work) = self.0.take() {
            work.tell();
        }
    }

    fn under_way(tracer: &Tracer, span: Span) -> Self {
        Self(Some(Box::new(UnderWay {
            tracer: tracer.clone(),
            span,
            since: Instant::now(),
        })))
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if !self.has_failed() {
            self.fail(BROKEN_OFF);
        }
        if let Some(work) = self.0.take() {
            work.tell();
        }
    }
}

impl UnderWay {
    fn tell(mut self) {
        self.span.took = self.since.elapsed();
        self.tracer.ended(self.span);
    }
}

type Ids = (super::TraceId, SpanId, Option<SpanId>);

fn begun_now(
    (trace, id, parent): Ids,
    state: Option<String>,
    kind: Kind,
    name: Cow<'static, str>,
) -> Span {
    Span {
        trace,
        id,
        parent,
        state,
        kind,
        name,
        begun: SystemTime::now(),
        took: Duration::ZERO,
        remote: None,
        attributes: Vec::new(),
        failed: None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{buffer::Buffer, trace::Sampler};

    fn tracer(ratio: &str) -> (Tracer, Arc<Buffer<Span>>) {
        let ended = Arc::new(Buffer::new(8));
        let sampler = Sampler::ratio(ratio.parse().expect("it is a ratio"));
        (Tracer::new(sampler, Arc::clone(&ended)), ended)
    }

    fn begin(tracer: &Tracer, received: &Received<'_>) -> Work {
        Work::begin(Some(tracer), Kind::Server, "serve", received)
    }

    #[test]
    fn work_that_nobody_looks_at_tells_nothing() {
        let (tracer, ended) = tracer("0");
        let mut work = begin(&tracer, &Received::default());
        assert!(!work.is_seen());
        work.note("netting.answer", 42_u16);
        work.fail("late");
        work.part("think").end();
        work.end();
        Work::begin(None, Kind::Internal, "serve", &Received::default()).end();
        assert!(ended.take().items.is_empty());
    }

    #[test]
    fn work_that_is_dropped_before_its_end_is_told_as_broken_off() {
        let (tracer, ended) = tracer("1");
        drop(begin(&tracer, &Received::default()));
        let spans = ended.take().items;
        assert_eq!(spans[0].failed, Some(BROKEN_OFF));
    }

    #[test]
    fn parts_are_children_in_the_trace_of_the_whole_which_continues_the_callers() {
        let (tracer, ended) = tracer("0");
        let parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let received = Received::of([(&b"traceparent"[..], &parent[..])]);
        let whole = begin(&tracer, &received);
        whole.part("think").end();
        whole.end();
        let spans = ended.take().items;
        let [part, whole] = &spans[..] else {
            panic!("there are {spans:?}");
        };
        assert_eq!(whole.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let parent = whole.parent.map(|parent| parent.to_string());
        assert_eq!(parent.as_deref(), Some("00f067aa0ba902b7"));
        assert_eq!((part.trace, part.parent), (whole.trace, Some(whole.id)));
        assert_eq!((part.kind, part.failed), (Kind::Internal, None));
        assert!(part.took <= whole.took && part.id != whole.id);
    }

    #[test]
    fn what_somebody_else_chose_is_cut() {
        let (tracer, ended) = tracer("1");
        let mut work = begin(&tracer, &Received::default());
        work.note_text("netting.name", &"ü".repeat(4096));
        work.note_text("netting.nothing", "");
        work.end();
        let spans = ended.take().items;
        let lengths = spans[0]
            .attributes
            .iter()
            .map(|it| it.value.to_string().len());
        assert_eq!(lengths.collect::<Vec<_>>(), [1024]);
    }
}
