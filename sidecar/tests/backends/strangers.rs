//! Applications with metrics of the conventions' names, whose numbers are like no mesh's, and
//! which tell of several others, as a Collector does.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use crate::{
    asked::{BOARDS, of_board},
    process::until_eq,
    query::{json, promql},
};

/// What each of their numbers grows by from one scrape to the next.
const MANY: f64 = 1e12;
/// What no number of a mesh of four processes comes near: seconds, bytes or requests.
const FEW: f64 = 1e9;

/// What the dashboards tell series apart by.
const LABELS: &str = "error_type=\"500\",http_response_status_code=\"500\",\
    rpc_response_status_code=\"INTERNAL\",service_peer_namespace=\"shop\",\
    service_peer_name=\"orders\"";
const HISTOGRAMS: [&str; 6] = [
    "http_client_request_duration_seconds",
    "http_server_request_duration_seconds",
    "rpc_client_call_duration_seconds",
    "rpc_server_call_duration_seconds",
    "http_client_request_body_size_bytes",
    "http_client_response_body_size_bytes",
];
/// Of workloads that have no sidecars.
const TARGETS: &str = "# TYPE target_info gauge\n\
    target_info{exported_job=\"shop/cart\",k8s_namespace_name=\"shop\",service_name=\"cart\"} 1\n\
    target_info{exported_job=\"pay/cart\",k8s_namespace_name=\"pay\",service_name=\"cart\"} 1\n";
const GAUGES: [&str; 2] = ["http_client_active_requests", "process_memory_usage_bytes"];

fn exposition(count: f64) -> String {
    let histograms = HISTOGRAMS.map(|name| {
        format!(
            "# TYPE {name} histogram\n{name}_bucket{{{LABELS},le=\"{MANY}\"}} 0\n\
             {name}_bucket{{{LABELS},le=\"+Inf\"}} {count}\n\
             {name}_sum{{{LABELS}}} {count}\n{name}_count{{{LABELS}}} {count}\n"
        )
    });
    let gauges = GAUGES.map(|name| format!("# TYPE {name} gauge\n{name}{{{LABELS}}} {count}\n"));
    TARGETS.to_owned() + &histograms.concat() + &gauges.concat()
}

/// Is one of them. The end of a connection is the end of an answer.
pub(crate) fn serve(listener: TcpListener) {
    thread::spawn(move || {
        let mut count = 0.0;
        while let Ok((mut stream, _)) = listener.accept() {
            count += MANY;
            let _ = stream.read(&mut [0; 4096]);
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\n\r\n";
            let _ = write!(stream, "{head}{}", exposition(count));
        }
    });
}

/// All values of a query's result.
fn values(port: u16, query: &str) -> Vec<f64> {
    let answer = json(port, "/api/v1/query", &[("query", query)]).unwrap_or_default();
    let series = answer["data"]["result"].as_array().cloned();
    let value = |series: serde_json::Value| series["value"][1].as_str()?.parse().ok();
    series.into_iter().flatten().filter_map(value).collect()
}

/// Prometheus has them, and no dashboard does: neither as such, nor in a share of all
/// that they would make next to nothing.
pub(crate) fn are_counted_by_no_query(port: u16, of_here: impl Fn(&str) -> Vec<String>) {
    let those =
        "count(rate(http_server_request_duration_seconds_count{otel_scope_name=\"\"}[15s]) > 0)";
    until_eq(those, Some(2.0), || promql(port, those));
    let mut asked = 0;
    for of_board in BOARDS.into_iter().flat_map(of_board) {
        for query in of_here(&of_board.expression) {
            for value in values(port, &query) {
                asked += 1;
                let is_ours = value.is_nan() || value == 0.0 || (1e-9..FEW).contains(&value.abs());
                assert!(is_ours, "{}: {query}: {value}", of_board.whose);
            }
        }
    }
    assert!(asked > 200, "{asked} values");
}
