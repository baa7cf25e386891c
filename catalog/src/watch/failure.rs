//! Why a list or watch failed, and what helps.

use std::{error::Error as _, time::Duration};

use kube::{Error, core::Status, runtime::watcher};

/// A failure, by what was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    verb: &'static str,
    cause: Cause,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The service account's roles don't allow it.
    Forbidden,
    /// The API server doesn't know who is asking.
    Unauthorized,
    /// What was asked for, changes since a version or the next page of a list, is too
    /// long ago for the API server to remember; the next list makes up for it.
    Expired,
    /// The API server says that the request makes no sense, such as one to go on from a
    /// version that it never had: that of a store that was restored since, say. It won't
    /// make more sense the next time.
    Mistaken,
    /// The API server refused otherwise: it has too much to do, or a fault.
    Refused,
    /// No answer.
    Unreachable,
    /// An answer that made no sense.
    Unreadable,
}

impl Failure {
    pub(super) fn of(error: &watcher::Error) -> Self {
        let (verb, cause) = match error {
            watcher::Error::InitialListFailed(error) => ("list", Cause::of(error)),
            watcher::Error::WatchStartFailed(error) | watcher::Error::WatchFailed(error) => {
                ("watch", Cause::of(error))
            }
            watcher::Error::WatchError(status) => ("watch", Cause::of_status(status)),
            watcher::Error::NoResourceVersion => ("watch", Cause::Unreadable),
        };
        Self { verb, cause }
    }

    /// As in labels.
    pub(super) fn reason(self) -> &'static str {
        match self.cause {
            Cause::Forbidden => "forbidden",
            Cause::Unauthorized => "unauthorized",
            Cause::Expired => "expired",
            Cause::Mistaken => "mistaken",
            Cause::Refused => "refused",
            Cause::Unreachable => "unreachable",
            Cause::Unreadable => "unreadable",
        }
    }

    /// Only a new list helps, as far as one can tell.
    pub(super) fn wants_list(self) -> bool {
        match self.cause {
            Cause::Expired => true,
            Cause::Mistaken => self.verb == "watch",
            _ => false,
        }
    }

    pub(super) fn log(self, resource: &'static str, error: &watcher::Error, pause: Duration) {
        let Self { verb, cause } = self;
        let reason = self.reason();
        let error = chain(error);
        match cause {
            Cause::Expired => {
                tracing::info!(verb, resource, reason, "no longer remembered; listing anew");
            }
            Cause::Forbidden => tracing::error!(
                verb,
                resource,
                error,
                ?pause,
                "not allowed; the catalog's ClusterRole must grant this verb on this resource"
            ),
            _ => tracing::warn!(
                verb,
                resource,
                reason,
                error,
                ?pause,
                "the API server gave no answer; keeping what is known"
            ),
        }
    }
}

impl Cause {
    fn of(error: &Error) -> Self {
        match error {
            Error::Api(status) => Cause::of_status(status),
            Error::SerdeError(_) | Error::FromUtf8(_) => Cause::Unreadable,
            _ => Cause::Unreachable,
        }
    }

    fn of_status(status: &Status) -> Self {
        match status.code {
            401 => Cause::Unauthorized,
            403 => Cause::Forbidden,
            410 => Cause::Expired,
            408 | 429 => Cause::Refused,
            400..500 => Cause::Mistaken,
            _ => Cause::Refused,
        }
    }
}

/// An error with its causes: kube's own says of a refused connection only that a
/// service failed.
fn chain(error: &watcher::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
