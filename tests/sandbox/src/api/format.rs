//! The forms an object is sent in: itself, its metadata alone, or as the rows of a table.

mod cells;
mod table;

use serde_json::{Value, json};

use super::{object::Object as _, resources::Resource};

/// What `Accept` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Object,
    /// `meta.k8s.io/v1` `PartialObjectMetadata`.
    Metadata,
    /// `meta.k8s.io/v1` `Table`, which `kubectl get` prints.
    Table,
}

impl Format {
    /// The first of the accepted media types that is served.
    pub(crate) fn parse(accept: &str) -> Self {
        for media_type in accept.split(',') {
            let parameters: Vec<&str> = media_type.split(';').map(str::trim).collect();
            if !parameters[0].starts_with("application/json") || parameters.contains(&"v=v1beta1") {
                continue;
            }
            if parameters.contains(&"as=Table") {
                return Self::Table;
            }
            if parameters
                .iter()
                .any(|one| one.starts_with("as=PartialObjectMetadata"))
            {
                return Self::Metadata;
            }
            return Self::Object;
        }
        Self::Object
    }

    /// One object, as it is sent alone and in a watch.
    pub(crate) fn object(self, resource: &Resource, object: &Value) -> Value {
        match self {
            Self::Object => object.clone(),
            Self::Metadata => metadata(object),
            Self::Table => table::render(
                resource,
                &[object],
                json!({"resourceVersion": object.revision()}),
            ),
        }
    }

    /// A list; `list` is its `ListMeta`.
    pub(crate) fn list(self, resource: &Resource, objects: &[&Value], list: Value) -> Value {
        match self {
            Self::Object => {
                let items: Vec<Value> = objects.iter().map(|object| without_type(object)).collect();
                json!({"kind": format!("{}List", resource.kind), "apiVersion": resource.api_version(),
                    "metadata": list, "items": items})
            }
            Self::Metadata => {
                let items: Vec<Value> = objects.iter().map(|object| metadata(object)).collect();
                json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
                    "metadata": list, "items": items})
            }
            Self::Table => table::render(resource, objects, list),
        }
    }
}

fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

/// The items of a list don't repeat its kind.
fn without_type(object: &Value) -> Value {
    let mut object = object.clone();
    object.take_out("/kind");
    object.take_out("/apiVersion");
    object
}
