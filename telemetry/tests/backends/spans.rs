//! What the encoder writes for Zipkin, judged by Zipkin's schema.

use serde_json::{Value, json};

use crate::zipkin::judged;

/// What the encoder's own tests hold it to.
fn written() -> Value {
    let golden = include_str!("../golden/export/zipkin.json");
    serde_json::from_str(golden).expect("it is JSON")
}

#[test]
fn what_is_written_for_zipkin_is_as_its_schema_has_it() {
    let spans = written();
    assert_eq!(spans.as_array().map(Vec::len), Some(3));
    assert_eq!(judged(&spans), Ok(()));
}

#[test]
fn what_is_not_as_zipkins_schema_has_it_is_noticed() {
    for (field, value) in [
        ("id", json!("7")),
        ("traceId", json!("4BF92F3577B34DA6A3CE929D0E0E4736")),
        ("kind", json!("INTERNAL")),
        ("duration", json!(0)),
        ("timestamp", json!("1700000000000000")),
        ("name", json!("GET")),
        ("tags", json!({"http.status_code": 200})),
        ("remoteEndpoint", json!({"ipv4": "::1"})),
        ("status", json!("ok")),
    ] {
        let mut spans = written();
        spans[0][field] = value;
        let wrong = judged(&spans).expect_err(field);
        assert!(wrong.contains("$[0]"), "{field}: {wrong}");
    }
}
