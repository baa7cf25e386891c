//! What all fields of a request come to.

use super::{
    b3::{At, B3, Multi},
    field::Field,
    id::{SpanId, TraceId},
    w3c::{TraceParent, trace_state},
};

/// More `tracestate` fields than that are told of by nobody.
const STATES_MAX: usize = 4;

/// The fields of a request that carry a context, as they came. Takes no memory beside
/// itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Received<'h> {
    values: [Option<&'h [u8]>; Field::ALL.len()],
    /// Bits of those that are there more than once.
    repeated: u8,
    more_states: [Option<&'h [u8]>; STATES_MAX - 1],
    too_many_states: bool,
}

/// What a request says of where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// Its trace, and who made it. Nothing, if it says nothing of that.
    pub at: Option<(TraceId, SpanId)>,
    /// Whether to look at it, if anybody has decided on that.
    pub sampled: Option<bool>,
    /// How it says so.
    pub formats: Formats,
}

/// The formats that a context came in. Those that contradict the first of them are
/// none of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Formats {
    pub(super) w3c: Option<TraceParent>,
    pub(super) single: Option<B3>,
    pub(super) multi: Option<B3>,
}

impl<'h> Received<'h> {
    /// Of the fields of a request, by name and value.
    pub fn of(fields: impl IntoIterator<Item = (&'h [u8], &'h [u8])>) -> Self {
        let mut received = Self::default();
        for (name, value) in fields {
            if let Some(field) = Field::of(name) {
                received.note(field, value);
            }
        }
        received
    }

    fn note(&mut self, field: Field, value: &'h [u8]) {
        let kept = &mut self.values[field as usize];
        if kept.is_none() {
            *kept = Some(value);
        } else if field == Field::TraceState {
            let room = self.more_states.iter_mut().find(|kept| kept.is_none());
            match room {
                Some(room) => *room = Some(value),
                None => self.too_many_states = true,
            }
        } else {
            self.repeated |= 1 << field as u8;
        }
    }

    /// Whether the request has such a field.
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        self.values[field as usize].is_some()
    }

    /// Without the fields that this does not hold for.
    pub(super) fn only(&self, keep: impl Fn(Field) -> bool) -> Self {
        let mut kept = *self;
        for field in Field::ALL.into_iter().filter(|field| !keep(*field)) {
            kept.values[field as usize] = None;
        }
        kept
    }

    /// What is malformed or there twice is ignored.
    #[must_use]
    pub fn context(&self) -> Context {
        let w3c = self.once(Field::TraceParent).and_then(TraceParent::parse);
        let single = self.once(Field::B3).and_then(B3::parse);
        let multi = self.multi().and_then(|multi| multi.parse());
        let b3 = single.or(multi);
        let at = |at: At| (at.trace, at.span);
        let context = Context {
            at: match (w3c, b3) {
                (Some(w3c), _) => Some((w3c.trace, w3c.span)),
                (None, Some(b3)) => b3.at.or(multi.and_then(|multi| multi.at)).map(at),
                (None, None) => None,
            },
            sampled: match (w3c, b3) {
                (Some(w3c), _) => Some(w3c.sampled),
                (None, Some(b3)) => b3.sampled,
                (None, None) => None,
            },
            formats: Formats::default(),
        };
        let agrees = |b3: &B3| {
            let trace = context.at.map(|(trace, _)| trace);
            b3.at.map(|at| at.trace) == trace
                && (b3.sampled.is_none() || b3.sampled == context.sampled)
        };
        Context {
            formats: Formats {
                w3c,
                single: single.filter(agrees),
                multi: multi.filter(agrees),
            },
            ..context
        }
    }

    /// `tracestate`, as far as it is one.
    #[must_use]
    pub fn trace_state(&self) -> Option<String> {
        if self.too_many_states {
            return None;
        }
        let first = self.values[Field::TraceState as usize];
        trace_state(
            first
                .into_iter()
                .chain(self.more_states.into_iter().flatten()),
        )
    }

    fn once(&self, field: Field) -> Option<&'h [u8]> {
        let value = self.values[field as usize];
        value.filter(|_| self.repeated & 1 << field as u8 == 0)
    }

    fn multi(&self) -> Option<Multi<'h>> {
        const FIELDS: [Field; 5] = [
            Field::B3TraceId,
            Field::B3SpanId,
            Field::B3ParentSpanId,
            Field::B3Sampled,
            Field::B3Flags,
        ];
        let repeated = |field: Field| self.repeated & 1 << field as u8 != 0;
        if FIELDS.into_iter().any(repeated) {
            return None;
        }
        let [trace, span, parent, sampled, flags] = FIELDS.map(|field| self.values[field as usize]);
        Some(Multi {
            trace,
            span,
            parent,
            sampled,
            flags,
        })
    }
}

#[cfg(test)]
mod tests;
