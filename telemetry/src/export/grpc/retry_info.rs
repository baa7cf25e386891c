//! When a backend wants to be asked again, by the details of a status
//! (<https://opentelemetry.io/docs/specs/otlp/#otlpgrpc-throttling>). They are
//! `google.rpc.Status` and `google.rpc.RetryInfo`
//! (<https://github.com/googleapis/googleapis/blob/master/google/rpc/>), as far as that.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;

const RETRY_INFO: &str = "/google.rpc.RetryInfo";

#[derive(Clone, PartialEq, Message)]
struct RichStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Detail>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
struct Detail {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// How long to wait. Nothing, if the details do not say that.
pub(super) fn delay(details: &[u8]) -> Option<Duration> {
    let status = RichStatus::decode(details).ok()?;
    let info = status
        .details
        .into_iter()
        .find(|detail| detail.type_url.ends_with(RETRY_INFO))?;
    let delay = RetryInfo::decode(info.value).ok()?.retry_delay?;
    let seconds = Duration::from_secs(delay.seconds.try_into().ok()?);
    Some(seconds + Duration::from_nanos(delay.nanos.try_into().ok()?))
}

/// The details that ask for so long.
#[cfg(test)]
pub(super) fn asking_for(seconds: i64, nanos: i32) -> Bytes {
    let info = RetryInfo {
        retry_delay: Some(Delay { seconds, nanos }),
    };
    let detail = |type_url: &str, value: Vec<u8>| Detail {
        type_url: type_url.to_owned(),
        value: value.into(),
    };
    let status = RichStatus {
        details: vec![
            detail("type.googleapis.com/google.rpc.DebugInfo", vec![0xff]),
            detail(
                "type.googleapis.com/google.rpc.RetryInfo",
                info.encode_to_vec(),
            ),
        ],
    };
    status.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_of_a_delay_is_none() {
        for details in [
            &b""[..],
            b"\xff",
            &RichStatus::default().encode_to_vec(),
            &asking_for(-1, 0),
            &asking_for(1, -1),
        ] {
            assert_eq!(delay(details), None, "{details:?}");
        }
    }

    #[test]
    fn a_delay_is_found_among_other_details() {
        let asked = delay(&asking_for(3, 500_000_000));
        assert_eq!(asked, Some(Duration::from_millis(3500)));
    }
}
