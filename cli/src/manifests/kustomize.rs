//! As much of kustomize as the overlays of `k8s/` use: resources, replicas, and JSON
//! patches of objects by their name. What else a kustomization says is an error, so
//! that nothing is left out in silence.
//! <https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/>

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::source::File;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    resources: Vec<String>,
    #[serde(default)]
    replicas: Vec<Replicas>,
    #[serde(default)]
    patches: Vec<Patch>,
}

/// Of the Deployments of this name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Replicas {
    name: String,
    count: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    target: Target,
    /// JSON patch (RFC 6902), as YAML.
    patch: String,
}

/// kustomize takes a name for a regular expression; those here are plain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    group: String,
    kind: String,
    name: String,
}

/// The directory that all overlays are put over.
const BASE: &str = "base";

/// The objects of the base with these overlays over it, one over the other.
///
/// # Errors
/// If a file is missing, can't be read, or asks for something that is not known here.
pub(super) fn build(files: &[File], overlays: &[&str]) -> anyhow::Result<Vec<Value>> {
    let mut objects = Vec::new();
    for directory in std::iter::once(&BASE).chain(overlays) {
        add(files, directory, &mut objects)
            .with_context(|| format!("could not build {directory}"))?;
    }
    Ok(objects)
}

fn add(files: &[File], directory: &str, objects: &mut Vec<Value>) -> anyhow::Result<()> {
    let read = |name: &str| {
        let path = format!("{directory}/{name}");
        let mut found = files.iter().filter(|(known, _)| *known == path);
        found
            .next()
            .map(|(_, text)| *text)
            .with_context(|| format!("there is no {path}"))
    };
    let kustomization: Kustomization = serde_saphyr::from_str(read("kustomization.yaml")?)?;
    for resource in &kustomization.resources {
        // There already.
        if directory != BASE && resource == "../../base" {
            continue;
        }
        let documents: Vec<Value> = serde_saphyr::from_multiple(read(resource)?)?;
        objects.extend(documents);
    }
    for Replicas { name, count } in &kustomization.replicas {
        let deployment = find(objects, "apps", "Deployment", name)?;
        deployment["spec"]["replicas"] = (*count).into();
    }
    for Patch { target, patch } in &kustomization.patches {
        let object = find(objects, &target.group, &target.kind, &target.name)?;
        let patch: json_patch::Patch = serde_saphyr::from_str(patch)?;
        json_patch::patch(object, &patch)?;
    }
    Ok(())
}

fn find<'a>(
    objects: &'a mut [Value],
    group: &str,
    kind: &str,
    name: &str,
) -> anyhow::Result<&'a mut Value> {
    ensure!(!name.is_empty(), "a {kind} has a name");
    let is_it = |object: &Value| {
        let version = object["apiVersion"].as_str().unwrap_or_default();
        let own = version.split_once('/').map_or("", |(group, _)| group);
        own == group && object["kind"] == kind && object["metadata"]["name"] == name
    };
    match objects.iter_mut().find(|object| is_it(object)) {
        Some(object) => Ok(object),
        None => bail!("there is no {kind} {name} of the group {group:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &str = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n";

    fn refused(overlay: &'static str) -> String {
        let files = [
            (
                "base/kustomization.yaml",
                "apiVersion: x\nkind: K\nresources: [a.yaml]\n",
            ),
            ("base/a.yaml", POD),
            ("overlays/o/kustomization.yaml", overlay),
        ];
        let error = build(&files, &["overlays/o"]).expect_err("it is refused");
        format!("{error:#}")
    }

    #[test]
    fn what_is_not_known_is_refused_and_never_left_out() {
        for (overlay, says) in [
            (
                "apiVersion: x\nkind: K\nresources: []\nnamePrefix: a\n",
                "namePrefix",
            ),
            (
                "apiVersion: x\nkind: K\nresources: [b.yaml]\n",
                "no overlays/o/b.yaml",
            ),
            (
                "apiVersion: x\nkind: K\nresources: []\nreplicas: [{name: a, count: 2}]\n",
                "no Deployment a",
            ),
            (
                "apiVersion: x\nkind: K\nresources: []\npatches: [{path: p.yaml, target: {kind: Pod}}]\n",
                "path",
            ),
            (
                "apiVersion: x\nkind: K\nresources: []\npatches:\n- target: {group: '', kind: Pod, name: a}\n  \
                 patch: '[{op: remove, path: /spec}]'\n",
                "/spec",
            ),
        ] {
            let refused = refused(overlay);
            assert!(refused.contains(says), "{refused}");
        }
    }
}
