//! Where a list that comes in pages goes on, and the token (`continue`) that says so.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::api::{object::Object as _, status::Status};

/// What a real server writes into its tokens, and reads.
const VERSION: &str = "meta.k8s.io/v1";

/// After an object, in the state of a revision.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) revision: u64,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Position {
    /// After `last`.
    pub(super) fn after(last: &Value, revision: u64) -> Self {
        Self {
            revision,
            namespace: last.namespace().to_owned(),
            name: last.name().to_owned(),
        }
    }

    /// Reads the token of a list of one namespace, or (`None`) of all.
    pub(super) fn parse(token: &str, scope: Option<&str>) -> Result<Self, Status> {
        let invalid =
            || Status::bad_request("invalid continue token: continue key is not valid".to_owned());
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| invalid())?;
        let token: Value = serde_json::from_slice(&bytes).map_err(|_| invalid())?;
        if token["v"] != VERSION {
            return Err(invalid());
        }
        let revision = token["rv"].as_u64().ok_or_else(invalid)?;
        // The key to begin with: the first that can be after the last.
        let start = token["start"].as_str().and_then(|it| it.strip_suffix('\0'));
        let start = start.ok_or_else(invalid)?;
        let (namespace, name) = match scope {
            Some(namespace) => (namespace, start),
            None => start.split_once('/').unwrap_or(("", start)),
        };
        Ok(Self {
            revision,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The token of a list of one namespace, or (`None`) of all.
    pub(super) fn token(&self, scope: Option<&str>) -> String {
        let Self {
            revision,
            namespace,
            name,
        } = self;
        let start = if scope.is_some() || namespace.is_empty() {
            format!("{name}\0")
        } else {
            format!("{namespace}/{name}\0")
        };
        URL_SAFE_NO_PAD.encode(json!({"v": VERSION, "rv": revision, "start": start}).to_string())
    }

    /// Whether an object comes later.
    pub(super) fn is_before(&self, object: &Value) -> bool {
        (object.namespace(), object.name()) > (&*self.namespace, &*self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_is_no_token() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        for token in [
            "?".to_owned(),
            encode("text"),
            encode(r#"{"v": "meta.k8s.io/v2", "rv": 1, "start": "a\u0000"}"#),
            encode(r#"{"v": "meta.k8s.io/v1", "rv": -1, "start": "a\u0000"}"#),
            encode(r#"{"v": "meta.k8s.io/v1", "rv": 1, "start": "a"}"#),
        ] {
            let refused = Position::parse(&token, None).expect_err(&token);
            assert_eq!(refused.code, 400, "{token}");
        }
    }

    #[test]
    fn tokens_are_read_as_they_were_written() {
        let object = |namespace: &str, name: &str| json!({"metadata": {"namespace": namespace, "name": name}});
        for (namespace, scope) in [("shop", Some("shop")), ("shop", None), ("", None)] {
            let position = Position::after(&object(namespace, "b"), 7);
            let read = Position::parse(&position.token(scope), scope);
            assert_eq!(read.expect("a token"), position);
            assert!(position.is_before(&object(namespace, "c")));
            assert!(position.is_before(&object("shop-2", "a")));
            assert!(!position.is_before(&object(namespace, "b")));
        }
    }
}
