//! How a request ended, and what of that tells series apart.

use std::time::Duration;

use super::{Method, grpc, without_scheme};
use crate::{connections::Direction, instrument::TraceContext, labels, snapshot::Labels};

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2
    Http2,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'e> {
    /// What it asked for.
    pub method: Method,
    /// What the client speaks.
    pub version: Version,
    /// The status that the client got; nothing, if there was no response.
    pub status: Option<u16>,
    /// Why the sidecar answered itself or broke off, if it did.
    pub error: Option<&'static str>,
    /// The call, if it is one of gRPC.
    pub call: Option<Call<'e>>,
    /// From its head to the end of its response.
    pub took: Duration,
    /// Bytes of its body.
    pub sent: u64,
    /// Bytes of its response's body.
    pub received: u64,
    /// The sampled trace that it is part of.
    pub trace: Option<TraceContext>,
}

/// A call of gRPC.
#[derive(Clone, Copy, Debug)]
pub struct Call<'c> {
    /// Service and method, as `/package.Service/Method`.
    pub path: &'c str,
    /// What its trailers say; nothing, if they did not come.
    pub status: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    method: Method,
    version: Version,
    status: Option<u16>,
    error: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallKey {
    status: Option<&'static str>,
    error: Option<&'static str>,
}

impl Version {
    /// Of a request of HTTP/1.1, or of an older one.
    #[must_use]
    pub fn of_http1(is_11: bool) -> Self {
        if is_11 {
            Version::Http11
        } else {
            Version::Http10
        }
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "1.0",
            Version::Http11 => "1.1",
            Version::Http2 => "2",
        }
    }
}

impl Key {
    pub(super) fn of(ended: &Ended<'_>) -> Self {
        Self {
            method: ended.method,
            version: ended.version,
            status: ended.status,
            error: ended.error,
        }
    }

    /// 200 and 500 are told apart, and GET and POST.
    pub(super) fn spread(&self) -> usize {
        let status = usize::from(self.status.unwrap_or(0));
        self.method as usize + status + status / 100
    }

    pub(super) fn labels(&self, base: &Labels, direction: Direction) -> Labels {
        let status = self.status.map(|status| status.to_string());
        let status = status.as_deref();
        let error = self
            .error
            .or_else(|| status.filter(|_| self.is_failure(direction)));
        let mut pairs = vec![
            ("http.request.method", self.method.as_str()),
            ("network.protocol.version", self.version.as_str()),
        ];
        pairs.extend(status.map(|status| ("http.response.status_code", status)));
        pairs.extend(error.map(|error| ("error.type", error)));
        labels::with(base, &pairs)
    }

    /// To who answers, a 4xx is the client's doing.
    fn is_failure(&self, direction: Direction) -> bool {
        let failures_from = match direction {
            Direction::Inbound => 500,
            Direction::Outbound => 400,
        };
        self.status.is_some_and(|status| status >= failures_from)
    }
}

impl CallKey {
    pub(super) fn of(call: &Call<'_>, ended: &Ended<'_>) -> Self {
        Self {
            status: call.status.map(grpc::name),
            error: ended.error,
        }
    }

    pub(super) fn spread(&self) -> usize {
        self.status.map_or(0, str::len)
    }

    pub(super) fn labels(&self, base: &Labels, direction: Direction) -> Labels {
        let failed = |status: &&str| grpc::is_failure(status, direction);
        let error = self.error.or_else(|| self.status.filter(failed));
        let mut pairs = vec![("rpc.system.name", "grpc")];
        pairs.extend(
            self.status
                .map(|status| ("rpc.response.status_code", status)),
        );
        pairs.extend(error.map(|error| ("error.type", error)));
        labels::with(&without_scheme(base), &pairs)
    }
}
