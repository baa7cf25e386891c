//! The forms an object is sent in: itself, or its metadata alone. Tables are not made: `kubectl get`
//! prints names and ages without.

use serde_json::{Value, json};

use super::{object::Object as _, resources::Resource};

/// What `Accept` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Object,
    /// `meta.k8s.io/v1` `PartialObjectMetadata`.
    Metadata,
}

impl Format {
    /// The first of the accepted media types that is served.
    pub(crate) fn parse(accept: &str) -> Self {
        for media_type in accept.split(',') {
            let mut parameters = media_type.split(';').map(str::trim);
            let is_json = parameters
                .next()
                .is_some_and(|kind| kind == "application/json");
            match parameters.find_map(|one| one.strip_prefix("as=")) {
                None if is_json => return Self::Object,
                Some(form) if is_json && form.starts_with("PartialObjectMetadata") => {
                    return Self::Metadata;
                }
                _ => {}
            }
        }
        Self::Object
    }

    /// One object, as it is sent alone and in a watch.
    pub(crate) fn object(self, object: &Value) -> Value {
        match self {
            Self::Object => object.clone(),
            Self::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": object["metadata"]})
            }
        }
    }

    /// A list as of `revision`.
    pub(crate) fn list(self, resource: &Resource, objects: &[&Value], revision: u64) -> Value {
        let metadata = json!({"resourceVersion": revision.to_string()});
        let mut items: Vec<Value> = objects.iter().map(|object| self.object(object)).collect();
        if self == Self::Metadata {
            return json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata, "items": items});
        }
        // The items of a list don't repeat its kind.
        for item in &mut items {
            item.take_out("/kind");
            item.take_out("/apiVersion");
        }
        json!({"kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
            "metadata": metadata, "items": items})
    }
}
