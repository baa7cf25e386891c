//! A span under way, and what the next one is told of it.

use std::time::{Duration, Instant, SystemTime};

use super::{
    b3::{At, B3},
    field::{Field, Text},
    id::{SpanId, TraceId},
    propagators::Propagators,
    received::{Formats, Received},
    sampler::Sampler,
    w3c::TraceParent,
};
use crate::instrument::TraceContext;

/// A span of a trace that is looked at.
#[derive(Clone, Debug)]
pub struct Begun {
    /// Its trace.
    pub trace: TraceId,
    /// Its own.
    pub span: SpanId,
    /// Who made the request. Nothing, if the trace begins here.
    pub parent: Option<SpanId>,
    /// What came in `tracestate`, which goes on as it came.
    pub state: Option<String>,
    /// When it began, by the clock that all processes of a host share: read before the
    /// next one is told of it, so that no span begins before its parent.
    pub at: SystemTime,
    /// The same by the clock that is never set.
    since: Instant,
    /// In which the next one is told.
    formats: Formats,
    /// The request has a `tracestate` of nobody's trace.
    has_foreign_state: bool,
}

impl Begun {
    /// Continues the trace of a request, or begins one. Nothing, if it is not looked at:
    /// the request goes on as it came. Without `propagators` it is read in all formats, and
    /// written in those that it came in, or else in W3C's.
    #[must_use]
    pub fn new(
        received: &Received<'_>,
        sampler: Sampler,
        propagators: Option<Propagators>,
    ) -> Option<Self> {
        let received = propagators.map_or(*received, |said| said.read(received));
        let context = received.context();
        let (trace, parent) = match context.at {
            Some((trace, parent)) => (trace, Some(parent)),
            // Without a trace it may still be said that there is not to be one.
            None if context.sampled == Some(false) => return None,
            None => (TraceId::random(), None),
        };
        if !context.sampled.unwrap_or_else(|| sampler.keeps(trace)) {
            return None;
        }
        let (came, span) = (context.formats, SpanId::random());
        let begun = TraceParent {
            trace,
            span,
            sampled: true,
            random: false,
        };
        let formats = match propagators {
            Some(said) => said.write(came, begun),
            None if came == Formats::default() => Formats {
                w3c: Some(begun),
                ..came
            },
            None => came,
        };
        Some(Self {
            trace,
            span,
            parent,
            state: came.w3c.and_then(|_| received.trace_state()),
            at: SystemTime::now(),
            since: Instant::now(),
            formats,
            has_foreign_state: came.w3c.is_none() && received.has(Field::TraceState),
        })
    }

    /// The same request is sent once more, which is a span of its own beside this one
    /// (<https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-request-retries-and-redirects>).
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            span: SpanId::random(),
            at: SystemTime::now(),
            since: Instant::now(),
            ..self.clone()
        }
    }

    /// How long it has been under way.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.since.elapsed()
    }

    /// For instruments, which keep it as an example.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        TraceContext {
            trace: self.trace.bytes(),
            span: self.span.bytes(),
        }
    }

    /// The fields that the request has to have when it goes on, in place of those of the
    /// same names that it came with.
    pub fn fields(&self) -> impl Iterator<Item = (Field, Text)> {
        let Formats { single, multi, .. } = self.formats;
        let w3c = self
            .traceparent()
            .map(|parent| Text::new(format_args!("{parent}")));
        let w3c = w3c.map(|text| (Field::TraceParent, text));
        let single = single.map(|b3| (Field::B3, self.single(b3)));
        let multi = multi
            .map(|b3| self.multi(b3))
            .into_iter()
            .flatten()
            .flatten();
        w3c.into_iter().chain(single).chain(multi)
    }

    /// A field that has to go: it belongs to a trace that nobody could make out.
    #[must_use]
    pub fn void(&self) -> Option<Field> {
        let restarts = self.traceparent().is_some() && self.has_foreign_state;
        restarts.then_some(Field::TraceState)
    }

    fn traceparent(&self) -> Option<TraceParent> {
        self.formats.w3c.map(|parent| TraceParent {
            trace: self.trace,
            span: self.span,
            sampled: true,
            random: parent.random,
        })
    }

    fn single(&self, b3: B3) -> Text {
        let state = if b3.debug { 'd' } else { '1' };
        let span = self.span;
        let (trace, has_parent) = self.b3_trace(b3.at);
        let trace = str::from_utf8(trace.bytes()).unwrap_or_default();
        match self.parent.filter(|_| has_parent) {
            Some(parent) => Text::new(format_args!("{trace}-{span}-{state}-{parent}")),
            None => Text::new(format_args!("{trace}-{span}-{state}")),
        }
    }

    fn multi(&self, b3: B3) -> [Option<(Field, Text)>; 4] {
        let (trace, has_parent) = self.b3_trace(b3.at);
        let text = |id: SpanId| Text::new(format_args!("{id}"));
        let parent = self.parent.filter(|_| has_parent).map(text);
        // A flag says the same, and more.
        let sampled = (!b3.debug).then(|| Text::new(format_args!("1")));
        [
            Some((Field::B3TraceId, trace)),
            Some((Field::B3SpanId, text(self.span))),
            parent.map(|parent| (Field::B3ParentSpanId, parent)),
            sampled.map(|sampled| (Field::B3Sampled, sampled)),
        ]
    }

    fn b3_trace(&self, at: Option<At>) -> (Text, bool) {
        let trace = self.trace;
        match at {
            Some(at) if at.narrow => (
                Text::new(format_args!("{:016x}", trace.low())),
                at.has_parent,
            ),
            at => (
                Text::new(format_args!("{trace}")),
                at.is_some_and(|at| at.has_parent),
            ),
        }
    }
}

#[cfg(test)]
mod tests;
