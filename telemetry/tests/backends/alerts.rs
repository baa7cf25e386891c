//! The alerts, by promtool. (The sidecar's tests ask the dashboards' queries of real
//! processes.)

use std::process::Command;

use crate::process::file;

fn promtool(arguments: [&str; 2], file: std::path::PathBuf) {
    let output = Command::new("promtool")
        .args(arguments)
        .arg(&file)
        .output()
        .expect("promtool is installed by `hack/test.sh telemetry`");
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{}: {said}", file.display());
}

#[test]
fn promtool_has_nothing_to_say_about_the_alerts() {
    let rules = file("../../../docs/telemetry/alerts.yaml");
    promtool(["check", "rules"], rules);
}

#[test]
fn alerts_fire_when_something_is_wrong_and_only_then() {
    promtool(["test", "rules"], file("alerts.test.yaml"));
}
