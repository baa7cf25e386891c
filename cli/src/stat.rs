//! What happened between two looks at the sidecars, by workload.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::Client;
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    cluster::Cluster,
    exposition, instruments,
    mesh::{self, Answered},
    output::{Cell, Table, Tone},
    traffic::{Counted, Counts},
    workload::Workload,
};

/// All sidecars at one moment.
pub struct Look {
    /// When.
    pub at: Instant,
    /// What each pod's sidecar has counted, by `namespace/name`, or why it doesn't say.
    pub pods: BTreeMap<String, (Workload, Result<Counted, String>)>,
}

/// What a workload did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Which one.
    #[serde(flatten)]
    pub workload: Workload,
    /// Its pods that have a sidecar.
    pub pods: usize,
    /// Those of them that did not say what they do.
    pub silent: Vec<String>,
    /// To the application.
    pub requests_per_second: f64,
    /// The share that did not fail, from 0 to 1; nothing without requests.
    pub success: Option<f64>,
    /// Half of the requests took at most so long.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took at most so long.
    pub p99_ms: Option<f64>,
    /// To the application, open now.
    pub connections_open: f64,
    /// To the application.
    pub connections_per_second: f64,
    /// From the application.
    pub outbound_requests_per_second: f64,
    /// The share of those that did not fail.
    pub outbound_success: Option<f64>,
}

/// Looks at these pods' sidecars.
pub async fn look(client: &Client, pods: &[Pod]) -> Look {
    let answered = mesh::ask_all(client, pods, mesh::INSTRUMENTS).await;
    Look {
        at: Instant::now(),
        pods: answered.into_iter().map(counted).collect(),
    }
}

/// Looks at all sidecars of a namespace, or of all.
///
/// # Errors
/// If the pods can't be listed.
pub async fn look_at_all(cluster: &Cluster, namespace: Option<&str>) -> anyhow::Result<Look> {
    let pods = mesh::pods(cluster, namespace).await?;
    Ok(look(&cluster.client(), &pods).await)
}

fn counted(answered: Answered<String>) -> (String, (Workload, Result<Counted, String>)) {
    let Answered { pod, answer } = answered;
    let name = mesh::name_of(&pod);
    let counted = answer.map_err(|error| error.line()).and_then(|text| {
        let samples = exposition::samples(&text).map_err(|error| error.to_string())?;
        Ok(instruments::counted(&samples))
    });
    (name, (Workload::of(&pod), counted))
}

/// What each workload did between two looks. A pod that was not there at the first one
/// counts from its own beginning.
#[must_use]
pub fn rows(before: &Look, after: &Look) -> Vec<Row> {
    let window = after.at.duration_since(before.at);
    let mut sums: BTreeMap<&Workload, (usize, Vec<String>, Counts)> = BTreeMap::new();
    for (name, (workload, counted)) in &after.pods {
        let (pods, silent, sum) = sums.entry(workload).or_default();
        *pods += 1;
        match counted {
            Ok(counted) => sum.add(&match before.pods.get(name) {
                Some((_, Ok(before))) => counted.since(before),
                // Nothing is known of what it did meanwhile.
                Some((_, Err(_))) => counted.since(counted),
                None => counted.since(&Counted::default()),
            }),
            Err(why) => silent.push(format!("{name}: {why}")),
        }
    }
    let rows = sums
        .into_iter()
        .map(|(workload, (pods, silent, sum))| row(workload, pods, silent, &sum, window));
    rows.collect()
}

fn row(
    workload: &Workload,
    pods: usize,
    silent: Vec<String>,
    sum: &Counts,
    window: Duration,
) -> Row {
    let millis = |share| {
        sum.inbound
            .durations
            .quantile(share)
            .map(|seconds| seconds * 1000.0)
    };
    Row {
        workload: workload.clone(),
        pods,
        silent,
        requests_per_second: sum.inbound.per_second(window),
        success: sum.inbound.success(),
        p50_ms: millis(0.5),
        p99_ms: millis(0.99),
        connections_open: sum.connections_open,
        connections_per_second: sum.connections / window.as_secs_f64().max(f64::MIN_POSITIVE),
        outbound_requests_per_second: sum.outbound.per_second(window),
        outbound_success: sum.outbound.success(),
    }
}

/// For people.
#[must_use]
pub fn table(rows: &[Row]) -> Table {
    let mut table = Table::new([
        "NAMESPACE",
        "WORKLOAD",
        "PODS",
        "REQUESTS/S",
        "SUCCESS",
        "P50",
        "P99",
        "TCP OPEN",
    ])
    .wide(["TCP/S", "OUT REQUESTS/S", "OUT SUCCESS", "SILENT"]);
    for row in rows {
        table.row([
            Cell::from(row.workload.namespace.as_str()),
            row.workload.to_string().into(),
            pods(row),
            format!("{:.1}", row.requests_per_second).into(),
            share(row.success),
            millis(row.p50_ms),
            millis(row.p99_ms),
            format!("{:.0}", row.connections_open).into(),
            format!("{:.1}", row.connections_per_second).into(),
            format!("{:.1}", row.outbound_requests_per_second).into(),
            share(row.outbound_success),
            row.silent.join("; ").into(),
        ]);
    }
    table
}

fn pods(row: &Row) -> Cell {
    let answered = row.pods - row.silent.len();
    if answered == row.pods {
        return row.pods.to_string().into();
    }
    Tone::Bad.cell(format!("{answered} of {} answer", row.pods))
}

/// `99.50%`; red below nine in ten, yellow below 99 in a hundred.
pub fn share(share: Option<f64>) -> Cell {
    let Some(share) = share else {
        return Tone::Faint.cell("-");
    };
    let tone = match share {
        share if share < 0.9 => Tone::Bad,
        share if share < 0.99 => Tone::Warning,
        _ => Tone::Good,
    };
    tone.cell(format!("{:.2}%", share * 100.0))
}

/// `1.5ms`.
pub fn millis(millis: Option<f64>) -> Cell {
    match millis {
        Some(millis) if millis < 10.0 => format!("{millis:.1}ms").into(),
        Some(millis) => format!("{millis:.0}ms").into(),
        None => Tone::Faint.cell("-"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::{Requests, Series, Way};

    fn web() -> Workload {
        Workload {
            namespace: "shop".to_owned(),
            kind: "Deployment".to_owned(),
            name: "web".to_owned(),
        }
    }

    fn look(at: Instant, pods: &[(&str, Result<f64, &str>)]) -> Look {
        let counted = |ended| {
            let series = Series {
                way: Way::Inbound,
                name: "http_server_request_duration_seconds{}".to_owned(),
            };
            let requests = Requests {
                ended,
                failed: ended / 10.0,
                ..Requests::default()
            };
            Counted {
                requests: [(series, requests)].into(),
                ..Counted::default()
            }
        };
        let pods = pods.iter().map(|(name, ended)| {
            let counted = ended.map(counted).map_err(ToOwned::to_owned);
            (format!("shop/{name}"), (web(), counted))
        });
        Look {
            at,
            pods: pods.collect(),
        }
    }

    #[test]
    fn pods_of_a_workload_are_summed_and_silent_ones_are_told() {
        let at = Instant::now();
        let before = look(at, &[("a", Ok(100.0)), ("b", Err("gone")), ("c", Ok(5.0))]);
        let later = at + Duration::from_secs(10);
        let after = look(
            later,
            &[
                ("a", Ok(150.0)),
                ("b", Ok(1000.0)),
                ("c", Err("no answer")),
                ("d", Ok(50.0)),
            ],
        );
        let rows = rows(&before, &after);
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(
            (row.pods, row.silent.as_slice()),
            (4, ["shop/c: no answer".to_owned()].as_slice())
        );
        assert!((row.requests_per_second - 10.0).abs() < 1e-9, "{row:?}");
        assert!(
            row.success.is_some_and(|share| (share - 0.9).abs() < 1e-9),
            "{row:?}"
        );
        let table = table(&rows).render(false, false);
        assert!(
            table.contains("deployment/web   3 of 4 answer   10.0         90.00%"),
            "{table}"
        );
    }
}
