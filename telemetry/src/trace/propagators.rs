//! In which formats a context is read and written, if somebody has said so: the standard
//! variable `OTEL_PROPAGATORS`
//! (<https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>).

use super::{
    Field,
    b3::B3,
    received::{Formats, Received},
    w3c::TraceParent,
};

/// Formats that are read, and all of which are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Propagators {
    w3c: bool,
    single: bool,
    multi: bool,
}

impl Propagators {
    /// Those of a comma list, and what it names that is not spoken. Nothing, if nothing of it
    /// is known, so that it says nothing.
    #[must_use]
    pub fn parse(list: &str) -> (Option<Self>, Vec<&str>) {
        let mut propagators = Self::default();
        let (mut known, mut others) = (false, Vec::new());
        for name in list.split(',').map(str::trim) {
            match name {
                "tracecontext" => propagators.w3c = true,
                "b3" => propagators.single = true,
                "b3multi" => propagators.multi = true,
                // It passes through whatever is said: nothing of it is ever changed.
                "baggage" | "none" => {}
                "" => continue,
                other => {
                    others.push(other);
                    continue;
                }
            }
            known = true;
        }
        (known.then_some(propagators), others)
    }

    /// Without what is in formats that are not read. Who reads one encoding of B3 has to
    /// read the other
    /// (<https://opentelemetry.io/docs/specs/otel/context/api-propagators/#b3-extract>).
    pub(super) fn read<'h>(self, received: &Received<'h>) -> Received<'h> {
        let b3 = self.single || self.multi;
        received.only(|field| match field {
            Field::TraceParent | Field::TraceState => self.w3c,
            _ => b3,
        })
    }

    /// What is written of a trace that came in these formats, or in none, which is `begun`.
    pub(super) fn write(self, came: Formats, begun: TraceParent) -> Formats {
        let b3 = came.single.or(came.multi).unwrap_or(B3 {
            at: None,
            sampled: Some(true),
            debug: false,
        });
        Formats {
            w3c: self.w3c.then(|| came.w3c.unwrap_or(begun)),
            single: self.single.then_some(b3),
            multi: self.multi.then_some(b3),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_spoken_is_named_and_the_rest_is_used() {
        let (propagators, others) = Propagators::parse("b3, jaeger ,tracecontext,b3,xray");
        let both = Propagators {
            w3c: true,
            single: true,
            multi: false,
        };
        assert_eq!((propagators, others), (Some(both), vec!["jaeger", "xray"]));
        assert_eq!(Propagators::parse("ottrace"), (None, vec!["ottrace"]));
        assert_eq!(Propagators::parse(" , "), (None, vec![]));
    }

    #[test]
    fn none_and_baggage_alone_are_no_format() {
        for list in ["none", "baggage"] {
            assert_eq!(
                Propagators::parse(list),
                (Some(Propagators::default()), vec![])
            );
        }
    }
}
