use serde_json::json;

use super::*;

fn deployment(replicas: i32, surge: &str, unavailable: &str) -> Deployment {
    let number = |text: &str| {
        text.parse::<i32>()
            .map_or_else(|_| json!(text), |number| json!(number))
    };
    let rolling = json!({"maxSurge": number(surge), "maxUnavailable": number(unavailable)});
    serde_json::from_value(
        json!({"spec": {"replicas": replicas, "selector": {}, "template": {},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": rolling}}}),
    )
    .expect("a deployment")
}

fn set(wanted: i32, available: i32) -> Replicas {
    Replicas {
        wanted,
        actual: wanted,
        available,
    }
}

#[test]
fn bounds_round_surge_up_and_unavailability_down() {
    assert_eq!(bounds(&deployment(3, "25%", "25%")), (1, 0));
    assert_eq!(bounds(&deployment(10, "25%", "25%")), (3, 2));
    assert_eq!(bounds(&deployment(3, "0", "0")), (0, 1));
}

#[test]
fn a_first_rollout_makes_all_pods_at_once() {
    assert_eq!(
        plan(&deployment(3, "25%", "25%"), set(0, 0), &[]),
        Plan {
            new: 3,
            old: vec![]
        }
    );
}

#[test]
fn never_fewer_pods_serve_than_allowed_while_rolling() {
    let deployment = deployment(3, "1", "0");
    let (mut new, mut old) = (set(0, 0), set(3, 3));
    for _ in 0..10 {
        let next = plan(&deployment, new, &[old]);
        assert!(next.new + next.old[0] <= 4, "{next:?}");
        old = set(next.old[0], next.old[0].min(old.available));
        assert!(new.available.min(next.new) + old.available >= 3, "{next:?}");
        // The pods that were just made become ready.
        new = set(next.new, next.new);
    }
    assert_eq!((new, old), (set(3, 3), set(0, 0)));
}

#[test]
fn unready_old_pods_go_first() {
    let plan = plan(&deployment(3, "1", "0"), set(1, 0), &[set(1, 0), set(2, 2)]);
    assert_eq!(
        plan.old,
        [1, 2],
        "nothing can be spared while the new one isn't ready"
    );
    let plan = super::plan(&deployment(3, "1", "0"), set(1, 1), &[set(1, 0), set(2, 2)]);
    assert_eq!(plan.old, [0, 2]);
}

#[test]
fn scaling_changes_the_current_set_alone() {
    let plan = plan(&deployment(1, "25%", "25%"), set(3, 3), &[set(0, 0)]);
    assert_eq!(
        plan,
        Plan {
            new: 1,
            old: vec![0]
        }
    );
}
