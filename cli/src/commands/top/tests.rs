//! Frames, from what sidecars said at one time and another.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;
use tokio::time::Instant;

use super::{
    board::{Board, Seen},
    frame::View,
};
use crate::{
    edges::Sidecar, exposition, instruments, sidecar::Config, stat::Look, workload::Workload,
};

/// What the sidecar of a web server exposed, and ten seconds later again.
const BEFORE: &str = include_str!("tests/web-before.metrics.txt");
const AFTER: &str = include_str!("tests/web-after.metrics.txt");
/// What it held, ten seconds apart too.
const HELD_BEFORE: &str = include_str!("tests/web-before.config.json");
const HELD_AFTER: &str = include_str!("tests/web-after.config.json");
const WINDOW: Duration = Duration::from_secs(10);

fn web() -> Workload {
    let replica_set = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d9c7",
        "uid": "1", "controller": true}]);
    let metadata = json!({"namespace": "shop", "name": "web-5d9c7-x", "ownerReferences": replica_set,
        "labels": {"pod-template-hash": "5d9c7"}});
    let pod: Pod = serde_json::from_value(json!({"metadata": metadata})).expect("it is a pod");
    Workload::of(&pod)
}

fn workloads(at: Instant, pods: &[(&str, Result<&str, &str>)]) -> Seen {
    let pods = pods.iter().map(|(name, said)| {
        let counted = said.map(|text| {
            instruments::counted(&exposition::samples(text).expect("it is well-formed"))
        });
        let counted = counted.map_err(ToOwned::to_owned);
        (format!("shop/{name}"), (web(), counted))
    });
    Seen::Workloads(Look {
        at,
        pods: pods.collect(),
    })
}

fn edges(at: Instant, config: &str, metrics: &str) -> Seen {
    let config: Config = serde_json::from_str(config).expect("it is what a sidecar holds");
    let samples = exposition::samples(metrics).expect("it is well-formed");
    let sidecar = Sidecar {
        workload: web(),
        config,
        counted: instruments::counted(&samples),
    };
    Seen::Edges(at, [("shop/web-5d9c7-x".to_owned(), sidecar)].into())
}

/// The lines of a frame, without what is for the terminal alone.
fn lines(board: &Board, rows: usize) -> Vec<String> {
    let frame = board.frame(rows);
    let mut text = String::new();
    let mut rest = frame.as_str();
    while let Some((before, escape)) = rest.split_once("\x1b[") {
        text += before;
        let end = escape
            .find(|c: char| c.is_ascii_alphabetic())
            .expect("it ends");
        rest = &escape[end + 1..];
    }
    text += rest;
    text.lines()
        .map(|line| line.trim_end().to_owned())
        .collect()
}

#[test]
fn a_frame_shows_what_happened_between_two_looks() {
    let begun = Instant::now();
    let mut board = Board::new(Some("shop"), false);
    assert_eq!(lines(&board, 24)[1], "looking…");
    for (at, said) in [(begun, BEFORE), (begun + WINDOW, AFTER)] {
        let seen = workloads(
            at,
            &[("web-1", Ok(said)), ("web-2", Err("no answer within 10s"))],
        );
        board.see(Ok(seen)).expect("it was seen");
    }
    assert_eq!(
        lines(&board, 24),
        [
            "netting top: workloads of shop (w workloads, e edges, q quit)",
            "NAMESPACE   WORKLOAD         PODS            REQUESTS/S   SUCCESS   P50     P99     TCP OPEN",
            "shop        deployment/web   1 of 2 answer   20.0         97.50%    5.2ms   9.9ms   4",
        ]
    );
}

#[test]
fn edges_are_those_of_two_looks_at_edges() {
    let begun = Instant::now();
    let mut board = Board::new(None, false);
    let look = |board: &mut Board, seconds: u64, config: &str, metrics: &str| {
        let at = begun + Duration::from_secs(seconds);
        board
            .see(Ok(edges(at, config, metrics)))
            .expect("it was seen");
    };
    board.switch(View::Edges);
    look(&mut board, 0, HELD_BEFORE, BEFORE);
    // A minute with the workloads in view: what was held then is no measure any more.
    board.switch(View::Workloads);
    board
        .see(Ok(workloads(begun, &[("web-1", Ok(BEFORE))])))
        .expect("it was seen");
    board.switch(View::Edges);
    look(&mut board, 60, HELD_BEFORE, BEFORE);
    assert_eq!(lines(&board, 24)[1], "looking…");
    look(&mut board, 70, HELD_AFTER, AFTER);
    let frame = lines(&board, 24);
    assert_eq!(
        frame[0],
        "netting top: edges of all namespaces (w workloads, e edges, q quit)"
    );
    let edge: Vec<&str> = frame[2].split_whitespace().collect();
    assert_eq!(
        edge[..4],
        ["shop", "deployment/web", "shop/reviews:http", "5.0"],
        "{frame:#?}"
    );
    assert_eq!(edge[4], "100.00%", "{frame:#?}");
}

#[test]
fn a_smaller_terminal_shows_fewer_lines_and_says_so() {
    let begun = Instant::now();
    let mut board = Board::new(Some("shop"), false);
    for (at, said) in [(begun, BEFORE), (begun + WINDOW, AFTER)] {
        board
            .see(Ok(workloads(at, &[("web-1", Ok(said))])))
            .expect("it was seen");
    }
    assert_eq!(lines(&board, 24).len(), 3);
    for rows in [0, 1, 4] {
        let frame = lines(&board, rows);
        assert!(frame[1].starts_with("NAMESPACE"), "{frame:#?}");
        assert_eq!(frame[2], "… and 1 more", "{frame:#?}");
    }
}

#[test]
fn what_fails_once_is_told_and_the_rest_stays() {
    let begun = Instant::now();
    let away = || Err(anyhow::anyhow!("could not list Pods: it is away"));
    let mut board = Board::new(Some("shop"), false);
    board.see(away()).expect_err("nothing was ever seen");
    for (at, said) in [(begun, BEFORE), (begun + WINDOW, AFTER)] {
        board
            .see(Ok(workloads(at, &[("web-1", Ok(said))])))
            .expect("it was seen");
    }
    board.see(away()).expect("it may pass");
    let frame = lines(&board, 24);
    assert_eq!(
        frame[1],
        "as it was before: could not list Pods: it is away"
    );
    assert!(frame[3].contains("deployment/web"), "{frame:#?}");
    let after = workloads(begun + 2 * WINDOW, &[("web-1", Ok(AFTER))]);
    board.see(Ok(after)).expect("it was seen");
    assert!(lines(&board, 24)[1].starts_with("NAMESPACE"));
}

#[test]
fn what_fails_right_after_a_switch_ends_nothing() {
    let begun = Instant::now();
    let away = || Err(anyhow::anyhow!("could not list Pods: it is away"));
    let mut board = Board::new(Some("shop"), false);
    board
        .see(Ok(workloads(begun, &[("web-1", Ok(BEFORE))])))
        .expect("it was seen");
    board.switch(View::Edges);
    board.see(away()).expect("it may pass");
    assert_eq!(
        lines(&board, 24)[1..],
        ["could not list Pods: it is away", "looking…"]
    );
    for (seconds, config, metrics) in [(10, HELD_BEFORE, BEFORE), (20, HELD_AFTER, AFTER)] {
        let at = begun + Duration::from_secs(seconds);
        board
            .see(Ok(edges(at, config, metrics)))
            .expect("it was seen");
    }
    let frame = lines(&board, 24);
    assert!(frame[2].contains("shop/reviews:http"), "{frame:#?}");
}

#[test]
fn colours_are_left_out_where_nobody_wants_them() {
    let begun = Instant::now();
    for colours in [false, true] {
        let mut board = Board::new(Some("shop"), colours);
        for (at, said) in [(begun, BEFORE), (begun + WINDOW, AFTER)] {
            board
                .see(Ok(workloads(at, &[("web-1", Ok(said))])))
                .expect("it was seen");
        }
        assert_eq!(board.frame(24).contains("\x1b[33m"), colours);
    }
}
