//! How the lists and maps of the kinds we serve merge: the part of the OpenAPI schema
//! (`x-kubernetes-list-map-keys`, `x-kubernetes-map-type`, `x-kubernetes-patch-merge-key`) that
//! strategic merge patches and server-side apply need.

/// How a list is merged, and how its items are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// Replaced as a whole.
    Atomic,
    /// Items are scalars; each is there or isn't.
    Set,
    /// Items are objects, told apart by these fields. A strategic merge patch uses the first alone.
    Map(&'static [&'static str]),
}

/// How the list in `field` of an object of `kind` merges. Fields of one name merge alike wherever
/// they are nested, but for `ports`, which depends on the kind.
pub(crate) fn list(kind: &str, field: &str) -> List {
    if kind == "EndpointSlice" || kind == "Endpoints" {
        return match field {
            "ownerReferences" => List::Map(&["uid"]),
            "finalizers" => List::Set,
            _ => List::Atomic,
        };
    }
    match field {
        "ownerReferences" => List::Map(&["uid"]),
        "finalizers" => List::Set,
        "ports" if kind == "Service" => List::Map(&["port", "protocol"]),
        "ports" => List::Map(&["containerPort", "protocol"]),
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "secrets"
        | "imagePullSecrets"
        | "webhooks"
        | "matchConditions"
        | "resourceClaims"
        | "claims" => List::Map(&["name"]),
        "volumeMounts" => List::Map(&["mountPath"]),
        "volumeDevices" => List::Map(&["devicePath"]),
        "hostAliases" | "podIPs" | "hostIPs" => List::Map(&["ip"]),
        "topologySpreadConstraints" => List::Map(&["topologyKey", "whenUnsatisfiable"]),
        "conditions" | "addresses" => List::Map(&["type"]),
        _ => List::Atomic,
    }
}

/// Whether the object in `field` is owned and replaced as a whole by server-side apply.
pub(crate) fn is_atomic_map(field: &str) -> bool {
    matches!(
        field,
        "selector"
            | "nodeSelector"
            | "namespaceSelector"
            | "objectSelector"
            | "fieldRef"
            | "resourceFieldRef"
            | "configMapKeyRef"
            | "secretKeyRef"
            | "targetRef"
            | "involvedObject"
            | "regarding"
            | "roleRef"
    )
}
