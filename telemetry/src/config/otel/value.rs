//! What the values of variables say.

use std::{fs, str::FromStr, time::Duration};

use super::{Histograms, OtlpProtocol, TEMPORALITIES, Temporality};

pub(super) fn protocol(text: &str) -> Result<OtlpProtocol, String> {
    match text {
        "grpc" => Ok(OtlpProtocol::Grpc),
        "http/protobuf" => Ok(OtlpProtocol::HttpProtobuf),
        _ => Err(format!("is {text}; grpc and http/protobuf are spoken")),
    }
}

pub(super) fn compression(text: &str) -> Result<bool, String> {
    match text {
        "gzip" => Ok(true),
        "none" => Ok(false),
        _ => Err(format!("is {text}; gzip and none are known")),
    }
}

pub(super) fn histograms(text: &str) -> Result<Histograms, String> {
    match text {
        "explicit_bucket_histogram" => Ok(Histograms::Explicit),
        "base2_exponential_bucket_histogram" => Ok(Histograms::Exponential),
        _ => Err(format!("is {text}, which is no aggregation of histograms")),
    }
}

/// Written in any case, as the specification has it for this one.
pub(super) fn temporality(text: &str) -> Result<Temporality, String> {
    let mut known = TEMPORALITIES.into_iter();
    let named = known.find(|(word, _)| word.eq_ignore_ascii_case(text));
    let temporality = named.map(|(_, temporality)| temporality);
    temporality.ok_or_else(|| format!("is {text}; cumulative, delta and lowmemory are known"))
}

/// Nothing but these two words, or it is as though it were not said.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        _ if text.eq_ignore_ascii_case("true") => Ok(true),
        _ if text.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err(format!(
            "is {text}, which is taken for false; write true or false"
        )),
    }
}

pub(super) fn file(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("could not be read: {error}"))
}

pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    match u64::from_str(text) {
        Ok(milliseconds) if milliseconds >= 100 => Ok(Duration::from_millis(milliseconds)),
        _ => Err(format!(
            "is {text}, not a number of milliseconds of at least 100"
        )),
    }
}

/// `key=value,key=value`, percent-encoded as in W3C Baggage.
pub(super) fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|pair| {
            // Not the pair itself: it may be a header with a secret.
            let (key, value) = pair.split_once('=').ok_or("has a part without =")?;
            Ok((decoded(key.trim())?, decoded(value.trim())?))
        })
        .collect()
}

pub(super) fn decoded(text: &str) -> Result<String, String> {
    let bad = || "has a % that begins no percent-encoded UTF-8".to_owned();
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let digits = after.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = digits.and_then(|two| u8::from_str_radix(two, 16).ok());
        bytes.push(byte.ok_or_else(bad)?);
        rest = &after[2..];
    }
    String::from_utf8(bytes).map_err(|_| bad())
}
