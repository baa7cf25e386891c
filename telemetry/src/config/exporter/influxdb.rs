//! InfluxDB: its lines in datagrams or requests.

use super::{Kind, http};
use crate::config::{endpoint, options::Options};

pub(super) fn influxdb(target: &str, options: &mut Options<'_>) -> Option<Kind> {
    if target.starts_with("udp://") {
        let to = options.noted(endpoint::address(target, &["udp"], 8089))?;
        return Some(Kind::InfluxdbUdp(to));
    }
    options.may_compress = true;
    options.scheme = "Token";
    let http = http(target, Some(8086), options)?;
    let query = http.url.path.query().unwrap_or_default();
    let names = |key: &str| query.split('&').any(|pair| pair.starts_with(key));
    match http.url.path.path() {
        "/write" if !names("db=") => {
            options.refuse("does not name a database; write …/write?db=NAME");
        }
        "/api/v2/write" if !names("bucket=") => {
            options.refuse("does not name a bucket; write …/api/v2/write?org=ORG&bucket=NAME");
        }
        "/" => options.refuse("has no path; it is /write or /api/v2/write"),
        _ => {}
    }
    if names("precision=") {
        options.refuse("has a precision; leave it to the exporter");
    }
    Some(Kind::InfluxdbHttp(http))
}
