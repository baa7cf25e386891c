//! What is served, for clients that ask: `/api`, `/apis`, resource lists, versions, and as much of
//! OpenAPI as `kubectl` needs to know that the server validates fields.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest;
use serde_json::{Map, Value, json};

use super::resources::{RESOURCES, Resource, Subresource, group_version};

/// The document of OpenAPI 2 at `/openapi/v2`, in Protocol Buffers, which is how `kubectl` asks for
/// it: a version (`swagger`) and what it's about (`info`), and no schemas. kubectl looks there how to
/// check a `List` (before 1.27: anything), and takes kinds that it doesn't find for correct.
pub(crate) const OPENAPI_V2: &[u8] = b"\x0a\x032.0\x12\x15\x0a\x0aKubernetes\x12\x07v1.36.2";

/// The document at `path`, if it is one of discovery's.
pub(crate) fn document(path: &str) -> Option<Value> {
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match segments.as_slice() {
        ["version"] => Some(version()),
        ["api"] => Some(json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": "10.96.0.1:443"}]})),
        ["apis"] => {
            let groups: Vec<Value> = groups()
                .map(|(group, version)| group_document(group, version))
                .collect();
            Some(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
        }
        ["apis", name] => groups()
            .find(|(group, _)| group == name)
            .map(|(group, version)| {
                let mut document = group_document(group, version);
                document["kind"] = "APIGroup".into();
                document["apiVersion"] = "v1".into();
                document
            }),
        ["api", version] => resource_list("", version),
        ["apis", group, version] => resource_list(group, version),
        ["openapi", "v3"] => Some(openapi_index()),
        ["openapi", "v3", "api", version] => openapi("", version),
        ["openapi", "v3", "apis", group, version] => openapi(group, version),
        _ => None,
    }
}

fn version() -> Value {
    json!({"major": "1", "minor": "36", "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35", "gitVersion": "v1.36.2",
        "gitCommit": "", "gitTreeState": "", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "", "platform": "linux/amd64"})
}

/// Groups but the core one, each once, with its version.
fn groups() -> impl Iterator<Item = (&'static str, &'static str)> {
    let named = RESOURCES
        .iter()
        .filter(|resource| !resource.group.is_empty());
    let mut seen = Vec::new();
    named
        .map(|resource| (resource.group, resource.version))
        .filter(move |(group, _)| {
            let is_new = !seen.contains(group);
            seen.push(*group);
            is_new
        })
}

fn group_document(group: &str, version: &str) -> Value {
    let served = json!({"groupVersion": format!("{group}/{version}"), "version": version});
    json!({"name": group, "versions": [served], "preferredVersion": served})
}

fn in_version(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    RESOURCES
        .iter()
        .filter(move |one| one.group == group && one.version == version)
}

fn resource_list(group: &str, version: &str) -> Option<Value> {
    let mut list: Vec<Value> = Vec::new();
    for resource in in_version(group, version) {
        list.push(resource_document(resource));
        list.extend(
            resource
                .subresources
                .iter()
                .map(|sub| subresource_document(resource, sub)),
        );
    }
    let mut document = json!({"kind": "APIResourceList", "groupVersion": group_version(group, version), "resources": list});
    if !group.is_empty() {
        document["apiVersion"] = "v1".into();
    }
    let is_empty = document["resources"].as_array().is_some_and(Vec::is_empty);
    (!is_empty).then_some(document)
}

fn resource_document(resource: &Resource) -> Value {
    let mut document = json!({"name": resource.plural, "singularName": resource.kind.to_lowercase(),
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs});
    if !resource.short_names.is_empty() {
        document["shortNames"] = json!(resource.short_names);
    }
    if resource.verbs.contains(&"get") {
        let identity = format!("{}/{}/{}", resource.group, resource.version, resource.kind);
        let hash = digest::digest(&digest::SHA256, identity.as_bytes());
        document["storageVersionHash"] = STANDARD.encode(&hash.as_ref()[..8]).into();
    }
    document
}

fn subresource_document(resource: &Resource, sub: &Subresource) -> Value {
    let mut document = json!({"name": format!("{}/{}", resource.plural, sub.name), "singularName": "",
        "namespaced": resource.namespaced, "kind": sub.kind, "verbs": sub.verbs});
    if let Some((group, version)) = sub.of {
        document["group"] = group.into();
        document["version"] = version.into();
    }
    document
}

fn openapi_index() -> Value {
    let core = std::iter::once(("", "v1"));
    let paths: Map<String, Value> = core
        .chain(groups())
        .map(|(group, version)| {
            let path = if group.is_empty() {
                format!("api/{version}")
            } else {
                format!("apis/{group}/{version}")
            };
            let url = format!("/openapi/v3/{path}?hash=1");
            (path, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// Enough for a client to see which kinds take `fieldValidation`; the schemas are left out.
fn openapi(group: &str, version: &str) -> Option<Value> {
    let root = if group.is_empty() {
        "api".to_owned()
    } else {
        format!("apis/{group}")
    };
    let mut paths = Map::new();
    for resource in in_version(group, version).filter(|one| one.verbs.contains(&"patch")) {
        let namespace = if resource.namespaced {
            "namespaces/{namespace}/"
        } else {
            ""
        };
        let kind = json!({"group": group, "version": version, "kind": resource.kind});
        let parameter =
            json!({"name": "fieldValidation", "in": "query", "schema": {"type": "string"}});
        let operation = json!({"x-kubernetes-group-version-kind": kind, "parameters": [parameter],
            "responses": {"200": {"description": "OK"}}});
        paths.insert(
            format!("/{root}/{version}/{namespace}{}/{{name}}", resource.plural),
            json!({"patch": operation}),
        );
    }
    (!paths.is_empty()).then(|| {
        json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.36.2"}, "paths": paths,
            "components": {"schemas": {}}})
    })
}
