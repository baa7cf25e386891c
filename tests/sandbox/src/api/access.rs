//! Who asks (authentication) and whether they may (RBAC).

pub(crate) mod rbac;
pub(crate) mod tokens;

use serde_json::{Value, json};

/// A group whose members may do everything.
pub(crate) const MASTERS: &str = "system:masters";

/// Somebody whose credentials were checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    /// Empty if the credentials don't tell.
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    /// What else the credentials say, by key.
    pub(crate) extra: Vec<(String, String)>,
}

impl User {
    /// A user known by a static credential.
    pub(crate) fn new(name: &str, groups: &[&str]) -> Self {
        let groups = groups.iter().chain(&["system:authenticated"]);
        Self {
            name: name.to_owned(),
            groups: groups.map(|group| (*group).to_owned()).collect(),
            ..Self::default()
        }
    }

    /// Whether the user may do everything.
    pub(crate) fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// `authentication.k8s.io/v1` `UserInfo`.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name, "groups": self.groups});
        if !self.uid.is_empty() {
            info["uid"] = self.uid.as_str().into();
        }
        for (key, value) in &self.extra {
            info["extra"][key] = json!([value]);
        }
        info
    }
}
