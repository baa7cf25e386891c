//! Valid pods that few people write, against golden patches (renewed with
//! `NETTING_UPDATE_GOLDEN=1`): every one is injected, in both modes, with the warnings
//! that are there to be read.

use std::{collections::BTreeSet, fs, path::Path};

use clap::Parser as _;
use netting_webhook::{Args, Decision, Namespace, Options, Verdict, decide};
use serde_json::{Value, json};

fn folder(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests")
        .join(name)
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).expect("the folder is there");
    let names = entries.map(|entry| entry.expect("it is listed").file_name());
    names
        .filter_map(|name| {
            name.to_str()?
                .split_once('.')
                .map(|(name, _)| name.to_owned())
        })
        .collect()
}

fn options(mode: &str) -> Options {
    let args = Args::parse_from([
        "netting-webhook",
        "--pod-namespace=netting",
        &format!("--sidecar-mode={mode}"),
    ]);
    args.options().expect("the defaults agree with each other")
}

fn decided(pod: &Value, mode: &str) -> Verdict {
    decide(pod, &Namespace::named("edge"), &options(mode))
}

fn written(verdict: &Verdict) -> Value {
    let Decision::Inject(patch) = &verdict.decision else {
        panic!("it is not injected: {}", verdict.decision);
    };
    json!({"warnings": verdict.warnings, "patch": patch})
}

#[test]
fn each_is_injected_as_before() {
    let (pods, golden) = (folder("fixtures/pods"), folder("golden/pods"));
    for name in names(&pods) {
        let text = fs::read(pods.join(format!("{name}.json"))).expect("a fixture can be read");
        let pod: Value = serde_json::from_slice(&text).expect("a fixture is JSON");
        let [native, classic] = ["native", "classic"].map(|mode| written(&decided(&pod, mode)));
        let actual = json!({"native": native, "classic": classic});
        let path = golden.join(format!("{name}.json"));
        if std::env::var_os("NETTING_UPDATE_GOLDEN").is_some() {
            fs::write(&path, format!("{actual:#}\n")).expect("the golden file can be written");
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        let expected: Value = serde_json::from_str(&text).unwrap_or_default();
        assert_eq!(
            actual, expected,
            "{name}: renew it with NETTING_UPDATE_GOLDEN=1"
        );
    }
    assert_eq!(names(&pods), names(&golden), "each has its golden file");
}
