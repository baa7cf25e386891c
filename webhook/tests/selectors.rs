//! The selectors of the webhook's configuration, evaluated as the API server does:
//! they send those pods that `asked_for` says are asked for, and no others but those
//! whose own label is a mistake, to be told.

use std::{collections::BTreeMap, fs, path::Path};

use netting_webhook::{asked_for, names, pod::Pod};
use serde_json::{Value, json};

fn webhooks() -> Vec<Value> {
    let path = "../k8s/base/mutatingwebhookconfiguration.yaml";
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    let text = fs::read_to_string(path).expect("the manifest can be read");
    let configuration: Value = serde_saphyr::from_str(&text).expect("the manifest is YAML");
    let webhooks = configuration["webhooks"].as_array();
    webhooks.expect("there are webhooks").clone()
}

/// <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#resources-that-support-set-based-requirements>
fn selects(selector: &Value, labels: &Value) -> bool {
    let expressions = selector["matchExpressions"].as_array();
    expressions.expect("it has expressions").iter().all(|one| {
        let key = one["key"].as_str().expect("an expression has a key");
        let values = one["values"].as_array().cloned().unwrap_or_default();
        let label = labels.get(key).filter(|label| !label.is_null());
        let is_in = label.is_some_and(|label| values.contains(label));
        match one["operator"].as_str() {
            Some("Exists") => label.is_some(),
            Some("In") => is_in,
            Some("NotIn") => !is_in,
            other => panic!("{other:?} is not evaluated here"),
        }
    })
}

#[test]
fn a_pod_is_sent_once_if_it_is_asked_for_and_otherwise_never() {
    let choices = [
        None,
        Some("enabled"),
        Some("true"),
        Some("disabled"),
        Some("false"),
        Some("perhaps"),
    ];
    let webhooks = webhooks();
    for namespace in ["shop", "netting", "kube-system"] {
        for (of_namespace, of_pod) in choices
            .iter()
            .flat_map(|of_namespace| choices.iter().map(move |of_pod| (of_namespace, of_pod)))
        {
            let labels =
                json!({"kubernetes.io/metadata.name": namespace, names::INJECT: of_namespace});
            let raw = json!({
                "metadata": {"labels": {names::INJECT: of_pod}},
                "spec": {"containers": [{"name": "app"}]},
            });
            let sent = webhooks.iter().filter(|webhook| {
                selects(&webhook["namespaceSelector"], &labels)
                    && selects(&webhook["objectSelector"], &raw["metadata"]["labels"])
            });
            let pod = Pod::read(&raw).expect("it is a pod");
            let labels: BTreeMap<_, _> = of_namespace
                .map(|label| (names::INJECT.to_owned(), label.to_owned()))
                .into_iter()
                .collect();
            let asked = asked_for(&pod, namespace, &labels, "netting");
            let told = *of_pod == Some("perhaps") && namespace == "shop";
            assert_eq!(
                sent.count(),
                usize::from(asked.is_ok() || told),
                "{namespace} {of_namespace:?} {of_pod:?}: {asked:?}"
            );
        }
    }
}
