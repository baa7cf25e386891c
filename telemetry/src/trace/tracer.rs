//! What begins spans, and where they go at their end.

use std::sync::Arc;

use super::{Begun, Propagators, Received, Sampler, Span};
use crate::buffer::Buffer;

/// Begins the spans of a process that exports some. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Tracer {
    sampler: Sampler,
    propagators: Option<Propagators>,
    ended: Arc<Buffer<Span>>,
}

impl Tracer {
    /// One that keeps what this sampler says, for those who take it out of the buffer.
    #[must_use]
    pub fn new(sampler: Sampler, ended: Arc<Buffer<Span>>) -> Self {
        Self {
            sampler,
            propagators: None,
            ended,
        }
    }

    /// The same, with contexts in these formats if some are named.
    #[must_use]
    pub fn in_formats(self, propagators: Option<Propagators>) -> Self {
        Self {
            propagators,
            ..self
        }
    }

    /// Continues the trace of a request, or begins one. Nothing, if it is not looked at.
    #[must_use]
    pub fn begin(&self, received: &Received<'_>) -> Option<Begun> {
        Begun::new(received, self.sampler, self.propagators)
    }

    /// A span has ended. It is lost, and counted, if exporters are far behind.
    pub fn ended(&self, span: Span) {
        self.ended.push(span);
    }
}
