//! Answers that the sidecar makes itself.
//!
//! They say so in `proxy-status` (RFC 9209), so that nobody looks for the cause in
//! the application.

use std::io::Write as _;

use crate::{policy::Reported, reason::Reason};

/// For these reasons, a request has not got to the application.
const UNREACHED: [Reason; 5] = [
    Reason::ConnectRefused,
    Reason::ConnectTimeout,
    Reason::ConnectUnreachable,
    Reason::LocalAddressUnavailable,
    Reason::LocalResourcesExhausted,
];
/// For these, the application's connection broke before the response's head.
const BROKEN_OFF: [Reason; 2] = [Reason::UpstreamClosed, Reason::UpstreamSilent];

/// An answer in place of the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Why.
    pub(crate) reason: Reason,
    /// The HTTP status.
    pub(crate) status: u16,
    /// The kind of error, of those in RFC 9209 section 2.3.
    error: &'static str,
}

impl Fault {
    /// The answer to a request that failed for this reason. The statuses are those
    /// that RFC 9209 recommends for the kinds of error.
    pub(crate) fn of(reason: Reason) -> Self {
        let (status, error) = match reason {
            Reason::RequestMalformed => (400, "http_request_error"),
            Reason::RequestHeadTimeout => (408, "http_request_error"),
            Reason::RequestHeadTooLarge => (431, "http_request_error"),
            Reason::ConnectRefused => (502, "connection_refused"),
            Reason::ConnectTimeout => (504, "connection_timeout"),
            Reason::ResponseTimeout => (504, "http_response_timeout"),
            Reason::UpstreamSilent => (504, "connection_read_timeout"),
            Reason::ConnectProtocolUnsupported => (501, "http_protocol_error"),
            Reason::ConnectUnreachable => (502, "destination_ip_unroutable"),
            Reason::UpstreamClosed | Reason::UpstreamReset | Reason::StreamRefused => {
                (502, "connection_terminated")
            }
            Reason::LocalAddressUnavailable | Reason::LocalResourcesExhausted => {
                (503, "connection_limit_reached")
            }
            Reason::ResponseMalformed => (502, "http_protocol_error"),
            Reason::ResponseHeadTooLarge => (502, "http_response_header_section_size"),
            _ => (503, "destination_unavailable"),
        };
        Self {
            reason,
            status,
            error,
        }
    }

    /// The value of `proxy-status`.
    pub(crate) fn proxy_status(self) -> String {
        format!("netting; error={}; details=\"{}\"", self.error, self.reason)
    }

    /// What a sidecar reports in these values of `proxy-status`, if they are the one that
    /// it gives an answer of its own. An answer that has passed another proxy on its way
    /// says so in a value behind.
    pub(crate) fn reported<'v>(values: impl IntoIterator<Item = &'v [u8]>) -> Option<Reported> {
        let mut values = values.into_iter();
        let (Some(proxy_status), None) = (values.next(), values.next()) else {
            return None;
        };
        let says = |reason: &Reason| Fault::of(*reason).proxy_status().as_bytes() == proxy_status;
        if UNREACHED.iter().any(says) {
            Some(Reported::Unreached)
        } else if BROKEN_OFF.iter().any(says) {
            Some(Reported::BrokenOff)
        } else {
            None
        }
    }

    /// What a sidecar puts behind such a value if it comes from its own application: that
    /// may be a gateway, which has worked on the request and relays the answer of a
    /// sidecar behind it (RFC 9209 section 2: each that an answer passes adds itself).
    pub(crate) const RELAYED: &str = "netting";

    /// What people see of it.
    pub(crate) fn text(self) -> String {
        format!("netting: {}\n", self.reason)
    }

    /// The status of a gRPC call that is answered so
    /// (<https://grpc.github.io/grpc/core/md_doc_statuscodes.html>).
    pub(crate) fn grpc_status(self) -> &'static str {
        match self.status {
            400 | 431 => "13",
            408 | 504 => "4",
            501 => "12",
            _ => "14",
        }
    }

    /// The whole answer as HTTP/1.1 writes it.
    pub(crate) fn write_http1(self, is_head: bool, stays: bool, out: &mut Vec<u8>) {
        let text = self.text();
        let reason_phrase = match self.status {
            400 => "Bad Request",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            502 => "Bad Gateway",
            504 => "Gateway Timeout",
            _ => "Service Unavailable",
        };
        let connection = if stays { "" } else { "connection: close\r\n" };
        let body = if is_head { "" } else { &text };
        let written = write!(
            out,
            "HTTP/1.1 {} {reason_phrase}\r\n\
             content-type: text/plain\r\n\
             content-length: {}\r\n\
             proxy-status: {}\r\n\
             {connection}\r\n{body}",
            self.status,
            text.len(),
            self.proxy_status(),
        );
        written.expect("memory can always be written to");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_that_it_is_not_the_applications() {
        let mut out = Vec::new();
        Fault::of(Reason::ConnectRefused).write_http1(false, true, &mut out);
        let expected = "HTTP/1.1 502 Bad Gateway\r\n\
             content-type: text/plain\r\n\
             content-length: 25\r\n\
             proxy-status: netting; error=connection_refused; details=\"connect_refused\"\r\n\
             \r\nnetting: connect_refused\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn a_sidecar_reports_what_became_of_a_request() {
        let status = |reason| Fault::of(reason).proxy_status();
        let reported = |reason| Fault::reported([status(reason).as_bytes()]);
        for (reason, report) in [
            (Reason::ConnectRefused, Some(Reported::Unreached)),
            (Reason::ConnectTimeout, Some(Reported::Unreached)),
            (Reason::LocalAddressUnavailable, Some(Reported::Unreached)),
            (Reason::LocalResourcesExhausted, Some(Reported::Unreached)),
            (Reason::UpstreamClosed, Some(Reported::BrokenOff)),
            (Reason::UpstreamSilent, Some(Reported::BrokenOff)),
            (Reason::ResponseTimeout, None),
            (Reason::ResponseMalformed, None),
        ] {
            assert_eq!(reported(reason), report, "{reason}");
        }
        let other = &b"other; error=connection_refused"[..];
        assert_eq!(Fault::reported([other]), None);
        assert_eq!(Fault::reported([]), None);
        let refused = status(Reason::ConnectRefused);
        let relayed = [refused.as_bytes(), Fault::RELAYED.as_bytes()];
        assert_eq!(Fault::reported(relayed), None);
    }

    #[test]
    fn has_no_body_for_head_and_tells_when_it_closes() {
        let mut out = Vec::new();
        Fault::of(Reason::ConnectTimeout).write_http1(true, false, &mut out);
        let out = String::from_utf8_lossy(&out);
        assert!(out.starts_with("HTTP/1.1 504 "), "{out}");
        assert!(out.ends_with("connection: close\r\n\r\n"), "{out}");
    }

    #[test]
    fn what_is_missing_here_is_not_said_to_be_wrong_there() {
        for reason in [
            Reason::LocalAddressUnavailable,
            Reason::LocalResourcesExhausted,
        ] {
            let fault = Fault::of(reason);
            let said = format!("netting; error=connection_limit_reached; details=\"{reason}\"");
            assert_eq!((fault.status, fault.proxy_status()), (503, said));
        }
    }

    #[test]
    fn is_never_not_found() {
        for reason in [
            Reason::NoEndpoints,
            Reason::UnknownAddress,
            Reason::Finished,
        ] {
            assert_eq!(Fault::of(reason).status, 503);
        }
    }
}
