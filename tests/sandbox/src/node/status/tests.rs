use std::time::Duration;

use serde_json::{Value, json};

use super::*;

/// A pod in some state, and what is written of it.
struct Case {
    pod: Pod,
    lifecycle: Lifecycle,
    now: (Timestamp, Instant),
    sandbox_ready: bool,
}

fn case(spec: Value) -> Case {
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": spec
    }))
    .expect("a pod");
    let lifecycle = Lifecycle::new(pod.spec.as_ref().expect("a spec"), None);
    Case {
        pod,
        lifecycle,
        now: (Timestamp::UNIX_EPOCH, Instant::now()),
        sandbox_ready: true,
    }
}

impl Case {
    fn slot(&mut self, name: &str) -> &mut Slot {
        self.lifecycle.advance(self.now.1);
        let number = self.lifecycle.find(name).expect("a container of that name");
        &mut self.lifecycle.slots[number]
    }

    fn starts(&mut self, name: &str) {
        let (since, at) = self.now;
        self.slot(name).has_started(since, at);
    }

    fn ends(&mut self, name: &str, code: i32) {
        let (finished_at, at) = self.now;
        let exit = Exit {
            code,
            message: None,
            started_at: Some(finished_at),
            finished_at,
        };
        self.slot(name).has_ended(exit, at);
        self.lifecycle.advance(at);
    }

    fn status(&self) -> PodStatus {
        self.status_after(None)
    }

    fn status_after(&self, previous: Option<&PodStatus>) -> PodStatus {
        let addrs = ["10.244.0.2", "fd00::2"].map(|addr| addr.parse().expect("an address"));
        pod_status(Facts {
            pod: &self.pod,
            lifecycle: &self.lifecycle,
            addrs: if self.sandbox_ready { &addrs } else { &[] },
            node_addrs: &addrs[..1],
            start_time: Timestamp::UNIX_EPOCH,
            sandbox_ready: self.sandbox_ready,
            reason: None,
            previous,
            now: self.now,
        })
    }
}

fn phase_of(status: &PodStatus) -> &str {
    status.phase.as_deref().expect("a phase")
}

/// `True`, or `False` and the reason.
fn condition(status: &PodStatus, kind: &str) -> String {
    let conditions = status.conditions.as_ref().expect("conditions");
    let found = conditions
        .iter()
        .find(|condition| condition.type_ == kind)
        .expect("a condition");
    format!(
        "{} {}",
        found.status,
        found.reason.as_deref().unwrap_or_default()
    )
    .trim()
    .to_owned()
}

/// `running`, or the reason of another state; then the same of the state before.
fn state(status: &PodStatus, name: &str) -> (String, String) {
    let all = status
        .init_container_statuses
        .iter()
        .chain(&status.container_statuses)
        .flatten();
    let found = all
        .into_iter()
        .find(|one| one.name == name)
        .expect("a container of that name");
    let words = |state: &Option<ContainerState>| {
        let state = state.clone().unwrap_or_default();
        if let Some(waiting) = state.waiting {
            return waiting.reason.unwrap_or_default();
        }
        if let Some(terminated) = state.terminated {
            let reason = terminated.reason.unwrap_or_default();
            return format!("{reason} {}", terminated.exit_code);
        }
        state
            .running
            .map(|_| "running".to_owned())
            .unwrap_or_default()
    };
    (words(&found.state), words(&found.last_state))
}

fn of(now: &str, before: &str) -> (String, String) {
    (now.to_owned(), before.to_owned())
}

#[test]
fn a_pod_without_a_network_waits() {
    let mut case = case(json!({"containers": [{"name": "web"}]}));
    case.sandbox_ready = false;
    let status = case.status();
    assert_eq!(phase_of(&status), "Pending");
    assert_eq!((&status.pod_ip, &status.pod_ips), (&None, &None));
    assert_eq!(condition(&status, "PodReadyToStartContainers"), "False");
    assert_eq!(state(&status, "web"), of("ContainerCreating", ""));
}

#[test]
fn main_containers_wait_for_initialisation() {
    let mut case = case(json!({"initContainers": [{"name": "setup"}],
                               "containers": [{"name": "web"}]}));
    case.starts("setup");
    let status = case.status();
    assert_eq!(phase_of(&status), "Pending");
    assert_eq!(state(&status, "setup"), of("running", ""));
    assert_eq!(state(&status, "web"), of("PodInitializing", ""));
    assert_eq!(
        condition(&status, "Initialized"),
        "False ContainersNotInitialized"
    );
    assert_eq!(condition(&status, "Ready"), "False ContainersNotReady");
    case.ends("setup", 0);
    case.starts("web");
    let status = case.status();
    assert_eq!(phase_of(&status), "Running");
    assert_eq!(state(&status, "setup"), of("Completed 0", ""));
    for kind in [
        "PodReadyToStartContainers",
        "Initialized",
        "ContainersReady",
        "Ready",
    ] {
        assert_eq!(condition(&status, kind), "True", "{kind}");
    }
    assert_eq!(status.pod_ip.as_deref(), Some("10.244.0.2"));
    assert_eq!(status.pod_ips.map(|ips| ips.len()), Some(2));
}

#[test]
fn a_crashing_container_backs_off_and_keeps_its_last_end() {
    let mut case = case(json!({"containers": [{"name": "web"}]}));
    case.starts("web");
    case.ends("web", 3);
    assert_eq!(
        state(&case.status(), "web"),
        of("Error 3", ""),
        "it is being restarted"
    );
    case.starts("web");
    assert_eq!(state(&case.status(), "web"), of("running", "Error 3"));
    case.ends("web", 4);
    let status = case.status();
    assert_eq!(state(&status, "web"), of("CrashLoopBackOff", "Error 4"));
    assert_eq!(phase_of(&status), "Running");
    let web = &status.container_statuses.expect("statuses")[0];
    assert_eq!(
        (web.restart_count, web.ready, web.started),
        (1, false, Some(false))
    );
    let waiting = web.state.as_ref().and_then(|state| state.waiting.as_ref());
    let message = waiting
        .and_then(|waiting| waiting.message.clone())
        .expect("a message");
    assert_eq!(
        message,
        "back-off 10s restarting failed container=web pod=web_shop(u1)"
    );
}

#[test]
fn a_pod_ends_as_its_main_containers_do() {
    for (codes, phase, ready) in [
        ([0, 0], "Succeeded", "False PodCompleted"),
        ([0, 2], "Failed", "False PodFailed"),
    ] {
        let mut case = case(json!({"restartPolicy": "Never",
                                   "containers": [{"name": "a"}, {"name": "b"}]}));
        case.starts("a");
        case.starts("b");
        case.ends("a", codes[0]);
        assert_eq!(phase_of(&case.status()), "Running");
        case.ends("b", codes[1]);
        let status = case.status();
        assert_eq!(phase_of(&status), phase);
        assert_eq!(condition(&status, "Ready"), ready);
    }
}

#[test]
fn conditions_keep_the_time_of_their_last_change() {
    let mut case = case(json!({"containers": [{"name": "web"}]}));
    let before = case.status();
    let (epoch, at) = case.now;
    case.now = (epoch + Duration::from_secs(9), at);
    assert_eq!(case.status_after(Some(&before)), before);
    case.starts("web");
    let after = case.status_after(Some(&before));
    let since = |kind: &str| {
        let conditions = after.conditions.as_ref().expect("conditions");
        let found = conditions.iter().find(|condition| condition.type_ == kind);
        let time = found
            .and_then(|found| found.last_transition_time.clone())
            .expect("a time");
        time.0.as_second()
    };
    assert_eq!((since("Ready"), since("Initialized")), (9, 0));
}

#[test]
fn conditions_of_others_stay_and_gates_hold_readiness_back() {
    let mut case = case(json!({"containers": [{"name": "web"}],
                               "readinessGates": [{"conditionType": "example.org/gate"}]}));
    case.starts("web");
    let scheduled = json!({"conditions": [{"type": "PodScheduled", "status": "True"}]});
    case.pod.status = Some(serde_json::from_value(scheduled).expect("a status"));
    let status = case.status();
    assert_eq!(condition(&status, "PodScheduled"), "True");
    assert_eq!(condition(&status, "ContainersReady"), "True");
    assert_eq!(condition(&status, "Ready"), "False ReadinessGatesNotReady");
    let gate = json!({"conditions": [{"type": "example.org/gate", "status": "True"}]});
    case.pod.status = Some(serde_json::from_value(gate).expect("a status"));
    assert_eq!(condition(&case.status(), "Ready"), "True");
}

#[test]
fn the_quality_of_service_follows_from_the_resources() {
    let resources = |value: Value| json!({"containers": [{"name": "a", "resources": value}]});
    let both = json!({"cpu": "1", "memory": "1Mi"});
    for (value, class) in [
        (json!({}), "BestEffort"),
        (json!({"requests": {"cpu": "1"}}), "Burstable"),
        (json!({"limits": both}), "Guaranteed"),
        (
            json!({"limits": both, "requests": {"cpu": "500m"}}),
            "Burstable",
        ),
    ] {
        assert_eq!(
            case(resources(value)).status().qos_class.as_deref(),
            Some(class)
        );
    }
}
