//! What a path names.

use super::{
    resources::{self, Resource},
    store::Key,
};

/// What a path names: a collection, an object, or something below one.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub(crate) resource: &'static Resource,
    /// "" for cluster-scoped resources and for a collection across all namespaces.
    pub(crate) namespace: String,
    /// "" for a collection.
    pub(crate) name: String,
    /// "" for the object itself.
    pub(crate) subresource: String,
    /// What follows the subresource, with its leading slash.
    pub(crate) rest: String,
}

impl Target {
    /// Parses `/api/v1/…` and `/apis/<group>/<version>/…`; `None` if no resource is served there.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        let (group, version, rest) = match segments.as_slice() {
            ["api", version, rest @ ..] => ("", *version, rest),
            ["apis", group, version, rest @ ..] => (*group, *version, rest),
            _ => return None,
        };
        let (namespace, rest) = match rest {
            // `namespaces/<name>/status` is a namespace's own status, not a resource in it.
            ["namespaces", namespace, plural, ..]
                if resources::find(group, version, plural).is_some() =>
            {
                (*namespace, &rest[2..])
            }
            _ => ("", rest),
        };
        let (plural, rest) = rest.split_first()?;
        let resource = resources::find(group, version, plural)?;
        let (name, rest) = rest.split_first().unwrap_or((&"", &[]));
        let (subresource, rest) = rest.split_first().unwrap_or((&"", &[]));
        let known = subresource.is_empty()
            || resource
                .subresources
                .iter()
                .any(|one| one.name == *subresource);
        let placed = resource.namespaced || namespace.is_empty();
        let has_namespace = name.is_empty() || !resource.namespaced || !namespace.is_empty();
        let takes_rest = *subresource == "proxy" || rest.is_empty();
        (known && placed && has_namespace && takes_rest).then(|| Self {
            resource,
            namespace: namespace.to_owned(),
            name: unescaped(name),
            subresource: (*subresource).to_owned(),
            rest: rest.iter().map(|segment| format!("/{segment}")).collect(),
        })
    }

    /// The object at `key`, or one of its parts ("" for itself).
    pub(crate) fn of(key: &Key, subresource: &str) -> Self {
        Self {
            resource: key.resource,
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            subresource: subresource.to_owned(),
            rest: String::new(),
        }
    }

    /// Where the object is kept.
    pub(crate) fn key(&self) -> Key {
        Key::new(self.resource, &self.namespace, &self.name)
    }

    /// The namespace to list, `None` for all.
    pub(crate) fn scope(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(self.namespace.as_str())
    }
}

/// A path segment with its percent escapes (RFC 3986 section 2.1) undone; broken ones stay.
fn unescaped(segment: &str) -> String {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let code = tail
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|hex| std::str::from_utf8(hex).ok());
        if let Some(byte) = code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_paths_that_name_nothing_served() {
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/api/v2/pods",
            "/api/v1/gadgets",
            "/apis/apps/v1/namespaces/shop/pods",
            "/api/v1/pods/x",
            "/api/v1/namespaces/shop/pods/x/shell",
            "/api/v1/namespaces/shop/nodes/x",
            "/api/v1/namespaces/shop/pods/x/log/more",
        ] {
            assert!(Target::parse(path).is_none(), "{path}");
        }
    }

    #[test]
    fn paths_name_collections_objects_and_subresources() {
        for (path, expected) in [
            ("/api/v1/pods", "pods,,,,"),
            ("/api/v1/namespaces/shop", "namespaces,,shop,,"),
            ("/api/v1/namespaces/shop/status", "namespaces,,shop,status,"),
            ("/api/v1/namespaces/shop/pods", "pods,shop,,,"),
            (
                "/api/v1/namespaces/shop/pods/a%3Ab%zz",
                "pods,shop,a:b%zz,,",
            ),
            ("/api/v1/namespaces/shop/pods/x/log", "pods,shop,x,log,"),
            (
                "/api/v1/namespaces/shop/pods/x:80/proxy/a/b",
                "pods,shop,x:80,proxy,/a/b",
            ),
        ] {
            let Target {
                resource,
                namespace,
                name,
                subresource,
                rest,
            } = Target::parse(path).expect(path);
            let found = format!(
                "{},{namespace},{name},{subresource},{rest}",
                resource.plural
            );
            assert_eq!(found, expected, "{path}");
        }
    }
}
