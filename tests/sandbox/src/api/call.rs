//! One request: what it is aimed at, and what it carries.

use bytes::Bytes;
use http::{HeaderMap, Method, header, request::Parts};
use serde_json::Value;

use super::{
    access::{User, rbac::Action},
    format::Format,
    status::Status,
    target::Target,
};

/// A request by somebody whose credentials were checked.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) user: User,
    pub(crate) content_type: String,
    pub(crate) format: Format,
    pub(crate) body: Bytes,
    /// Sent back as `Warning` headers (RFC 9111 section 5.5).
    pub(crate) warnings: parking_lot::Mutex<Vec<String>>,
}

/// The decoded query string.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes the query of `uri`.
    pub(crate) fn parse(uri: &http::Uri) -> Result<Self, Status> {
        axum::extract::Query::try_from_uri(uri)
            .map(|axum::extract::Query(pairs)| Self(pairs))
            .map_err(|error| Status::bad_request(format!("unreadable query string: {error}")))
    }

    /// The first value of `key`, or "".
    pub(crate) fn get(&self, key: &str) -> &str {
        self.0
            .iter()
            .find(|(name, _)| name == key)
            .map_or("", |(_, value)| value)
    }

    /// Whether `key` is set to something true.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.0.iter().any(|(name, value)| {
            name == key && matches!(value.as_str(), "" | "1" | "true" | "True")
        })
    }

    /// `key` as a number, if it is given.
    pub(crate) fn number<N: std::str::FromStr>(&self, key: &str) -> Result<Option<N>, Status> {
        match self.get(key) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Status::bad_request(format!("query parameter {key}: \"{text}\" is not a number"))
            }),
        }
    }
}

impl Call {
    /// A request with its body read.
    pub(crate) fn new(
        parts: &Parts,
        target: Target,
        query: Query,
        user: User,
        body: Bytes,
    ) -> Self {
        Self {
            method: parts.method.clone(),
            target,
            query,
            user,
            content_type: text(&parts.headers, &header::CONTENT_TYPE).to_owned(),
            format: Format::parse(text(&parts.headers, &header::ACCEPT)),
            body,
            warnings: parking_lot::Mutex::default(),
        }
    }

    /// A request from within the process.
    pub(crate) fn inside(
        method: Method,
        target: Target,
        user: User,
        content_type: &str,
        body: &Value,
    ) -> Self {
        Self {
            method,
            target,
            query: Query::default(),
            user,
            content_type: content_type.to_owned(),
            format: Format::Object,
            body: body.to_string().into(),
            warnings: parking_lot::Mutex::default(),
        }
    }

    /// What the request does, in RBAC's words.
    pub(crate) fn verb(&self) -> &'static str {
        let named = !self.target.name.is_empty();
        match self.method {
            Method::GET | Method::HEAD if named => "get",
            Method::GET | Method::HEAD if self.query.flag("watch") => "watch",
            Method::GET | Method::HEAD => "list",
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::DELETE if named => "delete",
            _ => "deletecollection",
        }
    }

    /// What has to be allowed.
    pub(crate) fn action(&self) -> Action<'_> {
        Action {
            verb: self.verb(),
            group: self.target.resource.group,
            resource: self.target.resource.plural,
            subresource: &self.target.subresource,
            namespace: &self.target.namespace,
            name: self.named(),
        }
    }

    /// The object that is asked for; for a list or a watch, the only one that its field
    /// selector lets through, as the real server has it: `resourceNames` allow that.
    fn named(&self) -> &str {
        if !self.target.name.is_empty() {
            return &self.target.name;
        }
        let mut terms = self.query.get("fieldSelector").split(',');
        let name = terms.find_map(|term| term.strip_prefix("metadata.name="));
        name.map_or("", |name| name.trim_start_matches('='))
    }

    /// Whether nothing is to be stored.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.query.get("dryRun") == "All"
    }

    /// The body, in JSON or, if the content type says so, in YAML.
    pub(crate) fn decode(&self) -> Result<Value, Status> {
        let what = format!(
            "{} in version \"{}\"",
            self.target.resource.kind, self.target.resource.version
        );
        let refuse = |error: String| {
            Status::bad_request(format!(
                "{what} cannot be handled as a {}: {error}",
                self.target.resource.kind
            ))
        };
        let kind = self.content_type.split(';').next().unwrap_or("").trim();
        match kind {
            "" | "*/*" | "application/json" => {
                serde_json::from_slice(&self.body).map_err(|error| refuse(error.to_string()))
            }
            "application/yaml" | "application/apply-patch+yaml" => {
                let text =
                    std::str::from_utf8(&self.body).map_err(|error| refuse(error.to_string()))?;
                serde_saphyr::from_str(text).map_err(|error| refuse(error.to_string()))
            }
            patch if patch.ends_with("+json") => serde_json::from_slice(&self.body)
                .map_err(|error| Status::bad_request(format!("error decoding patch: {error}"))),
            _ => Err(Status::unsupported_media_type(
                "application/json, application/yaml",
            )),
        }
    }

    /// Adds a `Warning` to the answer.
    pub(crate) fn warn(&self, warning: impl Into<String>) {
        self.warnings.lock().push(warning.into());
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> &'a str {
    headers
        .get(name)
        .and_then(|value| value.to_str().ok())
        .unwrap_or("")
}
