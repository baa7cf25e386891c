//! A request's head as it is sent on: made whole, changed for the trace that it is part of,
//! and read once more for who wants to know.

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, Version, header, request,
    uri::{Authority, Scheme},
};
use netting_telemetry::trace::{Begun, Received, Tracer};

use crate::{
    http::{host, told::Told},
    reason::Reason,
};

/// Writes down what HTTP/2 lets a client leave out, and a request cannot be sent
/// without: an authority may be in `host` instead (RFC 9113 section 8.3.1).
///
/// # Errors
/// If it is too large, or leaves doubt about which host it is for.
pub(super) fn complete(head: &mut request::Parts, bytes_max: u32) -> Result<(), Reason> {
    head.version = Version::HTTP_2;
    if head_bytes(head) > bytes_max as usize {
        return Err(Reason::RequestHeadTooLarge);
    }
    let host = only_host(&head.headers)?;
    if let Some(authority) = head.uri.authority() {
        let is_written_so = is_of(authority, head.uri.scheme(), host)?;
        if !is_written_so {
            head.headers.remove(header::HOST);
        }
        return Ok(());
    }
    let host = host.map(HeaderValue::as_bytes);
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

/// The one host that the fields name, if they do.
fn only_host(fields: &HeaderMap) -> Result<Option<&HeaderValue>, Reason> {
    let mut hosts = fields.get_all(header::HOST).iter();
    let host = hosts.next();
    let is_one = hosts.next().is_none();
    let is_good = host.is_none_or(|host| host::is_valid(host.as_bytes()));
    (is_one && is_good)
        .then_some(host)
        .ok_or(Reason::RequestMalformed)
}

/// Whether `host`, if there is one, is written as the authority is. Who names two hosts,
/// or a user, is refused: what one reader takes for the host is not to be something else
/// to the next one.
fn is_of(
    authority: &Authority,
    scheme: Option<&Scheme>,
    host: Option<&HeaderValue>,
) -> Result<bool, Reason> {
    let default_port = scheme.and_then(|scheme| host::default_port(scheme.as_str().as_bytes()));
    let authority = authority.as_str().as_bytes();
    let host = host.map_or(authority, HeaderValue::as_bytes);
    if host::is_valid(authority) && host::are_same(authority, host, default_port) {
        Ok(authority == host)
    } else {
        Err(Reason::RequestMalformed)
    }
}

/// How large a head is (RFC 9113 section 6.5.2), but for the method.
fn head_bytes(head: &request::Parts) -> usize {
    let authority = head.uri.authority().map_or(0, |name| name.as_str().len());
    let target = head.uri.path_and_query();
    let target = target.map_or(0, |target| target.as_str().len());
    authority + target + fields_bytes(&head.headers)
}

/// How large they are.
pub(super) fn fields_bytes(fields: &HeaderMap) -> usize {
    /// What each counts beside its name and value.
    const FIELD_BYTES: usize = 32;
    fields.iter().fold(0, |sum, (name, value)| {
        sum + name.as_str().len() + value.len() + FIELD_BYTES
    })
}

/// Begins the span of a request, and tells the upstream of it. Nothing, if its trace is
/// not kept: the fields stay as they are.
pub(super) fn begin(tracer: &Tracer, fields: &mut HeaderMap) -> Option<Box<Begun>> {
    let begun = tracer.begin(&received(fields))?;
    tell(&begun, fields);
    if let Some(field) = begun.void() {
        fields.remove(field.name());
    }
    // Few requests have one; the others are not to hold the memory for it.
    Some(Box::new(begun))
}

/// Tells the upstream of a span.
pub(super) fn tell(begun: &Begun, fields: &mut HeaderMap) {
    for (field, value) in begun.fields() {
        let value = HeaderValue::from_bytes(value.bytes());
        let value = value.expect("it is digits and dashes");
        fields.insert(HeaderName::from_static(field.name()), value);
    }
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
