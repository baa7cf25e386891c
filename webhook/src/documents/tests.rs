//! Small files in, files and reports out. The recorded pods, and damaged ones, go
//! through the same in `tests/documents.rs`.

use serde_json::json;

use super::*;

const POD: &str =
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: app}]}\n";

fn injected(text: &str) -> Edited {
    inject(text, &Namespace::named("shop"), &crate::test_options())
}

fn lines(edited: &Edited) -> Vec<String> {
    edited.reports.iter().map(ToString::to_string).collect()
}

/// Each document of a file, with what it says.
fn values(text: &str) -> Vec<Value> {
    let segments = segments::split(text).into_iter();
    let filled = segments.filter(|segment| !segment.is_blank());
    filled
        .map(|segment| segment.parse().expect("it can be read").0)
        .collect()
}

#[test]
fn what_cannot_be_read_is_named_by_document_and_line_and_kept() {
    let broken = "---\nkind: Pod\nspec: {containers: [\n---\n";
    let text = format!("# first\n{POD}{broken}{POD}");
    let edited = injected(&text);
    let lines = lines(&edited);
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], "document 1 (line 2): Pod p: injected");
    assert!(
        lines[1].starts_with("document 2 (line 7): malformed at line "),
        "{lines:?}"
    );
    assert_eq!(lines[2], "document 3 (line 10): Pod p: injected");
    assert!(edited.text.contains(broken), "{}", edited.text);
}

#[test]
fn endless_nesting_and_endless_aliases_are_refused_not_followed() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
                c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\n\
                e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e]\n\
                g: [*f, *f, *f, *f, *f, *f, *f, *f, *f]\n";
    let deep = "[".repeat(100_000);
    for text in [bomb.to_owned(), deep.clone(), format!("{{\"a\": {deep}")] {
        let edited = injected(&text);
        assert_eq!(edited.text, text);
        assert_eq!(edited.reports.len(), 1);
        assert_eq!(edited.reports[0].outcome.as_str(), "malformed");
    }
}

#[test]
fn what_is_no_workload_stays_byte_for_byte() {
    for text in [
        "",
        "\n",
        "---\n---\n",
        "# nothing but a comment\n",
        "--- # a Service\nkind:   Service # with a comment\napiVersion: v1\n\n\n...\n# the end",
        "%YAML 1.2\n---\nkind: ConfigMap\r\napiVersion: v1\r\ndata: {a: \"1\"}\r\n",
        "{\"kind\": \"Job\", \"apiVersion\": \"batch.volcano.sh/v1\", \"spec\": {\"template\": {}}}",
        "apiVersion: apps/v1\nkind: Deployment\n",
        "apiVersion: example.com/v1\nkind: Pod\nspec: {containers: [{name: app}]}\n",
    ] {
        let edited = injected(text);
        assert_eq!(edited.text, text);
        assert_eq!(edited.reports, [], "{text:?}");
        assert_eq!(uninject(text).text, text);
    }
}

#[test]
fn what_is_no_object_is_named_and_stays_byte_for_byte() {
    for text in [
        "- a\n- b\n",
        "just text\n",
        "kind: Pod\nspec: {containers: [{name: app}]}\n",
        "replicas: 3\nimage: {tag: \"1\"}\n",
        "apiVersion: v1\nkind: 7\n",
    ] {
        let edited = injected(text);
        assert_eq!(edited.text, text);
        assert_eq!(
            lines(&edited),
            ["document 1 (line 1): not_an_object"],
            "{text:?}"
        );
        assert_eq!(uninject(text).reports, edited.reports);
    }
}

#[test]
fn what_is_not_to_be_injected_stays_byte_for_byte_and_says_why() {
    let text = "kind: Pod # on the host\napiVersion: v1\nmetadata: {generateName: p-, namespace: x}\n\
                spec: {hostNetwork: yes, containers: [{name: app}]}\n";
    let edited = injected(text);
    assert_eq!(edited.text, text);
    assert_eq!(
        lines(&edited),
        ["document 1 (line 1): Pod x/p-: skipped (host_network)"]
    );
    assert_eq!(edited.reports[0].warnings.len(), 1);
}

#[test]
fn only_what_asks_is_injected_if_that_is_wanted() {
    let labelled = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {netting.dev/inject: enabled}}\n";
    let asks = POD.replace("name: p", "name: p, labels: {netting.dev/inject: \"true\"}");
    let opted_out = asks.replace("\"true\"", "disabled");
    let elsewhere = POD.replace("name: p", "name: p, namespace: bank");
    let text = [labelled, "]\n", &elsewhere, POD, &asks, &opted_out].join("---\n");
    let injected = |text: &str| {
        let labels = namespace_labels(text);
        let options = crate::test_options();
        let edited = inject_asked(text, &Namespace::named("shop"), &labels, &options);
        let reasons = edited.reports.iter().map(|report| match &report.outcome {
            Outcome::Skipped(reason) => reason.as_str(),
            other => other.as_str(),
        });
        reasons.collect::<Vec<_>>()
    };
    assert_eq!(
        injected(&text),
        [
            "malformed",
            "not_asked_for",
            "injected",
            "injected",
            "opted_out_by_label"
        ]
    );
    let without = text.replace("enabled", "disabled");
    assert_eq!(injected(&without)[2..4], ["not_asked_for", "injected"]);
}

#[test]
fn every_kind_of_workload_is_injected_and_restored() {
    let template = json!({"spec": {"containers": [{"name": "app"}]}});
    let with_template = |kind: &str, api: &str, spec: Value| json!({"kind": kind, "apiVersion": api, "metadata": {"name": "x"}, "spec": spec});
    let mut all = vec![with_template("Pod", "v1", template["spec"].clone())];
    for (kind, api) in [
        ("Deployment", "apps/v1"),
        ("StatefulSet", "apps/v1"),
        ("DaemonSet", "apps/v1"),
        ("ReplicaSet", "apps/v1"),
        ("ReplicationController", "v1"),
        ("Job", "batch/v1"),
    ] {
        all.push(with_template(kind, api, json!({"template": template})));
    }
    let job = json!({"jobTemplate": {"spec": {"template": template}}});
    all.push(with_template("CronJob", "batch/v1", job));
    let list = |items: &[Value]| json!({"kind": "List", "apiVersion": "v1", "items": items});
    let service = json!({"kind": "Service", "apiVersion": "v1"});
    let nested = list(&[list(&all), service]);
    for (document, workloads) in all.iter().map(|one| (one, 1)).chain([(&nested, all.len())]) {
        for text in [
            document.to_string(),
            format!("{document:#}\n"),
            emit::yaml(document),
        ] {
            let edited = injected(&text);
            assert_eq!(edited.reports.len(), workloads, "{text}");
            for report in &edited.reports {
                assert_eq!(report.outcome, Outcome::Injected, "{report}");
            }
            let sidecars = edited.text.matches("/netting/netting-sidecar").count();
            assert_eq!(sidecars, workloads, "{}", edited.text);
            assert_eq!(edited.text.ends_with('\n'), text.ends_with('\n'));

            let again = injected(&edited.text);
            assert_eq!(again.text, edited.text, "a second pass adds nothing");
            let restored = uninject(&edited.text);
            assert_eq!(
                restored.text, text,
                "what was written like ours is the same again"
            );
            let nothing = uninject(&restored.text);
            assert_eq!(nothing.text, text);
            assert_eq!(nothing.reports[0].outcome, Outcome::NotInjected);
        }
    }
}

/// What the sidecar of a file's only workload is told to be called after.
fn told_workload(document: &Value) -> Option<(String, String)> {
    let injected = injected(&document.to_string());
    let injected = values(&injected.text).remove(0);
    let pointers = ["", "/spec/template", "/spec/jobTemplate/spec/template"];
    let pods = pointers.iter().filter_map(|pod| injected.pointer(pod));
    let mut sidecars = pods.filter_map(|pod| pod.pointer("/spec/initContainers/1/env"));
    let env = sidecars
        .next()
        .and_then(Value::as_array)
        .expect("it is injected");
    let value = |name: &str| {
        let variable = env.iter().find(|variable| variable["name"] == name)?;
        variable["value"].as_str().map(str::to_owned)
    };
    Some((
        value("NETTING_WORKLOAD_KIND")?,
        value("NETTING_WORKLOAD_NAME")?,
    ))
}

#[test]
fn telemetry_is_named_after_the_document_as_it_is_after_the_owner_of_a_pod() {
    let spec = json!({"containers": [{"name": "app"}]});
    let labelled = json!({"metadata": {"labels": {"pod-template-hash": "5d8f"}}, "spec": spec});
    let template = json!({"spec": spec});
    let made_by_a_job = json!({"name": "nightly-29921837-x2x9q", "ownerReferences":
        [{"kind": "Job", "name": "nightly-29921837", "controller": true}]});
    for (kind, api, metadata, spec, expected) in [
        (
            "Deployment",
            "apps/v1",
            json!({"name": "web"}),
            json!({"template": template}),
            Some(("Deployment", "web")),
        ),
        (
            "StatefulSet",
            "apps/v1",
            json!({"name": "db"}),
            json!({"template": template}),
            Some(("StatefulSet", "db")),
        ),
        (
            "DaemonSet",
            "apps/v1",
            json!({"name": "agent"}),
            json!({"template": template}),
            Some(("DaemonSet", "agent")),
        ),
        (
            "ReplicationController",
            "v1",
            json!({"name": "old"}),
            json!({"template": template}),
            Some(("ReplicationController", "old")),
        ),
        (
            "ReplicaSet",
            "apps/v1",
            json!({"name": "web-5d8f"}),
            json!({"template": template}),
            Some(("ReplicaSet", "web-5d8f")),
        ),
        (
            "ReplicaSet",
            "apps/v1",
            json!({"name": "web-5d8f"}),
            json!({"template": labelled}),
            Some(("Deployment", "web")),
        ),
        (
            "Job",
            "batch/v1",
            json!({"name": "import"}),
            json!({"template": template}),
            Some(("Job", "import")),
        ),
        (
            "Job",
            "batch/v1",
            json!({"name": "nightly-29921837"}),
            json!({"template": template}),
            Some(("CronJob", "nightly")),
        ),
        (
            "CronJob",
            "batch/v1",
            json!({"name": "nightly"}),
            json!({"jobTemplate": {"spec": {"template": template}}}),
            Some(("CronJob", "nightly")),
        ),
        // Its name will be another.
        (
            "Job",
            "batch/v1",
            json!({"generateName": "import-"}),
            json!({"template": template}),
            None,
        ),
        ("Pod", "v1", json!({"name": "web"}), spec.clone(), None),
        (
            "Pod",
            "v1",
            made_by_a_job,
            spec,
            Some(("CronJob", "nightly")),
        ),
    ] {
        let document = json!({"kind": kind, "apiVersion": api, "metadata": metadata, "spec": spec});
        let expected = expected.map(|(kind, name)| (kind.to_owned(), name.to_owned()));
        assert_eq!(told_workload(&document), expected, "{document}");
    }
}

#[test]
fn separators_comments_and_end_markers_around_a_workload_stay() {
    let service = "kind: Service\napiVersion: v1\n";
    let text = format!(
        "# the file\n---\n# Source: chart/pod.yaml\n{POD}...\n{service}--- # next\n{POD}\n--- {{\"kind\": \"Pod\", \
         \"apiVersion\": \"v1\", \"spec\": {{\"containers\": [{{\"name\": \"app\"}}]}}}}\n---\n"
    );
    let edited = injected(&text);
    assert_eq!(edited.reports.len(), 3);
    let head = "# the file\n---\n# Source: chart/pod.yaml\napiVersion: v1\n";
    assert!(edited.text.starts_with(head), "{}", edited.text);
    let middle = format!("...\n{service}--- # next\napiVersion: v1\n");
    assert!(edited.text.contains(&middle), "{}", edited.text);
    assert!(edited.text.ends_with("}\n---\n"), "{}", edited.text);
    let (before, after) = (values(&text), values(&edited.text));
    assert_eq!(before.len(), after.len());
    assert_eq!(values(&uninject(&edited.text).text), before);
}

#[test]
fn json_values_that_follow_each_other_are_documents() {
    let pod = r#"{"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "app"}]}}"#;
    let text = format!("{pod}\n{{\"kind\":  \"Other\"}} {pod}\n\n");
    let edited = injected(&text);
    assert_eq!(
        lines(&edited),
        [
            "document 1 (line 1): Pod : injected",
            "document 2 (line 2): not_an_object",
            "document 3 (line 2): Pod : injected",
        ]
    );
    assert!(
        edited.text.contains("\n{\"kind\":  \"Other\"} {"),
        "{}",
        edited.text
    );
    assert!(edited.text.ends_with("}\n\n"), "{}", edited.text);
}

#[test]
fn yaml_is_read_as_kubectl_reads_it_and_written_so_that_all_read_it_alike() {
    let text = format!(
        "{POD}extra:\n  octal: 0644\n  yes: on\n  quoted: [\"yes\", 'no', \"0644\", \"1e3\", '~', \"\", \" x\", 'a: b', 'c #d', \"on\"]\n  \
         bare: [1.5, -7, null, ~, true, 10m, 2001-01-01, 8080:80]\n  8080: number\n  \
         script: |\n    #!/bin/sh\n    if true; then\n      echo \"hi: there\"\n    fi\n  folded: >-\n    one\n    two\n  \
         odd: \"tab\\there\\nnext \\u0085 \\U0001F600\\n\\n\"\n"
    );
    let before = values(&text).remove(0);
    assert_eq!(before["extra"]["octal"], 420);
    let emitted = emit::yaml(&before);
    assert_eq!(values(&emitted), [before]);
    for plain in [
        "script: |\n",
        "      echo \"hi: there\"\n",
        "- \"yes\"\n",
        "- \"1e3\"\n",
    ] {
        assert!(emitted.contains(plain), "{plain:?} is not in\n{emitted}");
    }
}

#[test]
fn the_namespaces_defaults_are_for_its_own_objects() {
    let annotations = [("netting.dev/log-level".to_owned(), "warn".to_owned())].into();
    let namespace = Namespace {
        name: "shop",
        annotations: &annotations,
        ..Namespace::named("shop")
    };
    for (own, level) in [("", "warn"), ("shop", "warn"), ("other", "info")] {
        let text = POD.replace("name: p", &format!("name: p, namespace: {own:?}"));
        let edited = inject(&text, &namespace, &crate::test_options());
        let pod = values(&edited.text).remove(0);
        let env = pod["spec"]["initContainers"][1]["env"].as_array().cloned();
        let env = env.expect("the sidecar has variables");
        assert!(
            env.contains(&json!({"name": "NETTING_LOG", "value": level})),
            "{own}"
        );
    }
    let system = POD.replace("name: p", "name: p, namespace: kube-system");
    let edited = inject(&system, &namespace, &crate::test_options());
    assert_eq!(edited.text, system);
}
