use serde_json::{Value, json};

use super::*;
use k8s_openapi::jiff::Timestamp;

/// A pod in a script: time only passes when a test says so.
struct Pod {
    lifecycle: Lifecycle,
    now: Instant,
}

fn pod(spec: Value) -> Pod {
    let spec = serde_json::from_value(spec).expect("a pod's spec");
    Pod {
        lifecycle: Lifecycle::new(&spec, None),
        now: Instant::now(),
    }
}

impl Pod {
    /// The actions as words: `start a`, `hook a`, `term a 30`.
    fn advance(&mut self) -> Vec<String> {
        let actions = self.lifecycle.advance(self.now);
        let name = |number: &usize| &self.lifecycle.slots[*number].name;
        let words = actions.iter().map(|action| match action {
            Action::Start(number) => format!("start {}", name(number)),
            Action::RunPreStop(number, _) => format!("hook {}", name(number)),
            Action::Terminate(number, grace) => {
                format!("term {} {}", name(number), grace.as_secs())
            }
        });
        words.collect()
    }

    fn slot(&mut self, name: &str) -> &mut Slot {
        let number = self.lifecycle.find(name).expect("a container of that name");
        &mut self.lifecycle.slots[number]
    }

    fn starts(&mut self, name: &str) {
        let now = self.now;
        self.slot(name).has_started(Timestamp::now(), now);
    }

    fn ends(&mut self, name: &str, code: i32) {
        let now = self.now;
        let finished_at = Timestamp::now();
        let exit = Exit {
            code,
            message: None,
            started_at: None,
            finished_at,
        };
        self.slot(name).has_ended(exit, now);
    }

    fn deleted(&mut self, grace_secs: u64) {
        self.lifecycle
            .end(self.now + Duration::from_secs(grace_secs));
    }

    fn later(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }
}

fn with_sidecars() -> Value {
    json!({
        "initContainers": [
            {"name": "setup"},
            {"name": "proxy", "restartPolicy": "Always", "startupProbe": {}},
            {"name": "agent", "restartPolicy": "Always",
             "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}},
            {"name": "migrate"}
        ],
        "containers": [{"name": "web"}, {"name": "log",
             "lifecycle": {"preStop": {"sleep": {"seconds": 1}}}}]
    })
}

fn running(spec: Value) -> Pod {
    let mut pod = pod(spec);
    pod.advance();
    pod.ends("setup", 0);
    pod.advance();
    pod.starts("proxy");
    pod.slot("proxy").startup_succeeded();
    pod.advance();
    pod.starts("agent");
    pod.advance();
    pod.ends("migrate", 0);
    pod.advance();
    pod.starts("web");
    pod.starts("log");
    pod
}

#[test]
fn init_containers_start_one_after_the_other_and_wait_for_sidecars_to_have_started() {
    let mut pod = pod(with_sidecars());
    assert_eq!(pod.advance(), ["start setup"]);
    assert_eq!(pod.advance(), [""; 0]);
    pod.starts("setup");
    assert_eq!(pod.advance(), [""; 0]);
    pod.ends("setup", 0);
    assert_eq!(pod.advance(), ["start proxy"]);
    pod.starts("proxy");
    assert_eq!(
        pod.advance(),
        [""; 0],
        "the startup probe has not succeeded"
    );
    pod.slot("proxy").startup_succeeded();
    assert_eq!(pod.advance(), ["start agent"]);
    pod.starts("agent");
    assert_eq!(pod.advance(), ["start migrate"]);
    assert!(!pod.lifecycle.is_initialized());
    pod.ends("migrate", 0);
    assert_eq!(pod.advance(), ["start web", "start log"]);
    assert!(pod.lifecycle.is_initialized());
}

#[test]
fn a_failed_init_container_is_tried_again_or_fails_the_pod() {
    let spec = |policy: &str| {
        json!({"restartPolicy": policy, "initContainers": [{"name": "setup"}],
               "containers": [{"name": "web"}]})
    };
    for policy in ["Always", "OnFailure"] {
        let mut pod = pod(spec(policy));
        pod.advance();
        pod.ends("setup", 1);
        assert_eq!(pod.advance(), ["start setup"], "{policy}");
    }
    let mut pod = pod(spec("Never"));
    pod.advance();
    pod.ends("setup", 1);
    assert_eq!(pod.advance(), [""; 0]);
    assert!(pod.lifecycle.init_failed() && pod.lifecycle.has_ended());
}

#[test]
fn restarts_are_paused_ever_longer_until_a_container_lasts() {
    let mut pod = pod(json!({"containers": [{"name": "web"}]}));
    pod.advance();
    for pause in [0, 10, 20, 40, 80, 160, 300, 300] {
        pod.starts("web");
        pod.ends("web", 1);
        if pause > 0 {
            assert_eq!(pod.advance(), [""; 0]);
            let wakeup = pod.lifecycle.next_wakeup(pod.now).expect("a restart");
            assert_eq!(wakeup - pod.now, Duration::from_secs(pause));
            pod.later(pause);
        }
        assert_eq!(pod.advance(), ["start web"], "after {pause} s");
    }
    pod.starts("web");
    pod.later(600);
    pod.ends("web", 1);
    assert_eq!(pod.advance(), ["start web"]);
    assert_eq!(pod.slot("web").restarts, 9);
}

#[test]
fn what_cannot_be_started_is_tried_again_later_and_is_no_restart() {
    let mut pod = pod(json!({"containers": [{"name": "web"}]}));
    pod.advance();
    let retry = pod.now + Duration::from_secs(5);
    pod.slot("web")
        .has_not_started("ErrImageNeverPull", "no image".to_owned(), retry);
    assert_eq!(pod.advance(), [""; 0]);
    pod.later(5);
    assert_eq!(pod.advance(), ["start web"]);
    assert_eq!(pod.slot("web").restarts, 0);
}

#[test]
fn a_deleted_pod_ends_main_containers_first_and_sidecars_in_reverse() {
    let mut pod = running(with_sidecars());
    pod.deleted(30);
    assert_eq!(pod.advance(), ["hook agent", "term web 30", "hook log"]);
    pod.later(1);
    pod.slot("log").pre_stop_done();
    pod.slot("agent").pre_stop_done();
    assert_eq!(pod.advance(), ["term log 29"]);
    pod.ends("log", 0);
    assert_eq!(pod.advance(), [""; 0], "web still runs");
    pod.later(4);
    pod.ends("web", 0);
    assert_eq!(pod.advance(), ["term agent 25"]);
    pod.ends("agent", 143);
    assert_eq!(pod.advance(), ["term proxy 25"]);
    assert!(!pod.lifecycle.has_ended());
    pod.ends("proxy", 0);
    assert_eq!(pod.advance(), [""; 0]);
    assert!(pod.lifecycle.has_ended());
}

#[test]
fn a_turn_that_comes_too_late_still_leaves_a_moment() {
    let mut pod = running(with_sidecars());
    pod.deleted(5);
    pod.advance();
    pod.slot("agent").pre_stop_done();
    pod.later(5);
    assert_eq!(pod.advance(), ["term proxy 2", "term agent 2"]);
}

#[test]
fn nothing_starts_in_a_pod_that_ends() {
    let mut pod = pod(with_sidecars());
    pod.advance();
    pod.deleted(30);
    assert_eq!(pod.advance(), [""; 0], "its process is still being made");
    assert!(!pod.lifecycle.has_ended());
    pod.starts("setup");
    assert_eq!(pod.advance(), ["term setup 30"]);
    pod.ends("setup", 0);
    assert_eq!(pod.advance(), [""; 0]);
    assert!(pod.lifecycle.has_ended());
}

#[test]
fn sidecars_end_when_a_job_is_done_and_are_restarted_until_then() {
    let mut spec = with_sidecars();
    spec["restartPolicy"] = json!("Never");
    let mut pod = running(spec);
    pod.ends("proxy", 1);
    assert_eq!(pod.advance(), ["start proxy"]);
    pod.starts("proxy");
    pod.ends("web", 0);
    assert_eq!(pod.advance(), [""; 0], "log still runs");
    pod.ends("log", 3);
    assert_eq!(pod.advance(), ["hook agent"]);
    pod.slot("agent").pre_stop_done();
    assert_eq!(pod.advance(), ["term agent 30"]);
    pod.ends("agent", 0);
    assert_eq!(pod.advance(), ["term proxy 30"]);
    pod.ends("proxy", 0);
    assert_eq!(pod.advance(), [""; 0]);
    assert!(pod.lifecycle.has_ended());
}

#[test]
fn a_container_that_failed_its_liveness_probe_is_ended_alone_and_restarted() {
    let mut pod = running(with_sidecars());
    let deadline = pod.now + Duration::from_secs(7);
    pod.slot("web").condemn(deadline);
    assert_eq!(pod.advance(), ["term web 7"]);
    assert_eq!(pod.advance(), [""; 0]);
    pod.ends("web", 137);
    assert_eq!(pod.advance(), ["start web"]);
}

#[test]
fn a_container_is_ready_when_its_probes_say_so() {
    let mut pod = pod(json!({"containers": [
        {"name": "plain"}, {"name": "probed", "startupProbe": {}, "readinessProbe": {}}]}));
    pod.advance();
    pod.starts("plain");
    pod.starts("probed");
    let state = |pod: &mut Pod, name: &str| (pod.slot(name).started, pod.slot(name).ready);
    assert_eq!(state(&mut pod, "plain"), (true, true));
    assert_eq!(state(&mut pod, "probed"), (false, false));
    pod.slot("probed").startup_succeeded();
    assert_eq!(state(&mut pod, "probed"), (true, false));
    pod.ends("plain", 0);
    assert_eq!(state(&mut pod, "plain"), (false, false));
}
