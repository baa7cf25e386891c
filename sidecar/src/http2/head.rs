//! A request's head as it is sent on: changed for the trace that it is part of, and read
//! once more for who wants to know.

use http::{HeaderMap, HeaderName, HeaderValue, header, request};
use netting_telemetry::trace::{Begun, Received, Tracer};

use crate::http::told::Told;

/// Begins the span of a request, and tells the upstream of it. Nothing, if its trace is
/// not kept: the fields stay as they are.
pub(super) fn begin(tracer: &Tracer, fields: &mut HeaderMap) -> Option<Box<Begun>> {
    let begun = tracer.begin(&received(fields))?;
    for (field, value) in begun.fields() {
        let value = HeaderValue::from_bytes(value.bytes());
        let value = value.expect("it is digits and dashes");
        fields.insert(HeaderName::from_static(field.name()), value);
    }
    if let Some(field) = begun.void() {
        fields.remove(field.name());
    }
    // Few requests have one; the others are not to hold the memory for it.
    Some(Box::new(begun))
}

/// What a head says of its request.
pub(super) fn told(head: &request::Parts) -> Told<'_> {
    let field = |name| head.headers.get(name).map(HeaderValue::as_bytes);
    let authority = head.uri.authority();
    Told {
        method: head.method.as_str().as_bytes(),
        path: head.uri.path().as_bytes(),
        authority: authority.map(|authority| authority.as_str().as_bytes()),
        user_agent: field(header::USER_AGENT),
        trace: received(&head.headers).context(),
    }
}

fn received(fields: &HeaderMap) -> Received<'_> {
    Received::of(
        fields
            .iter()
            .map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes())),
    )
}
