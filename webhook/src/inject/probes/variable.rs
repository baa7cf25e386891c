//! The variable that tells the sidecar what it is to ask in the kubelet's place
//! (`netting-sidecar`'s `probe::written` has the format).

use std::collections::BTreeSet;

use json_patch::jsonptr::{PointerBuf, Token};
use serde_json::{Map, Value, json};

use crate::{
    names,
    pod::{Container, Pod},
};

use super::{
    handler::{Left, Question},
    place::{List, Site},
};

/// The sidecar's environment variable.
pub(super) const VARIABLE: &str = "NETTING_PROBES";
/// The kernel takes no variable over 128 KiB (`MAX_ARG_STRLEN`); half of it is more
/// than a pod has to say.
pub(super) const VARIABLE_BYTES_MAX: usize = 64 * 1024;

/// The variable's value in the making.
#[derive(Default)]
pub(super) struct Written {
    probes: Map<String, Value>,
    bytes: usize,
    /// The paths that were given out by now. What is there besides may be replaced.
    taken: BTreeSet<String>,
}

impl Written {
    /// What a sidecar was told already.
    pub(super) fn of(told: Map<String, Value>) -> Self {
        Self {
            bytes: as_variable(&Value::Object(told.clone())).len(),
            probes: told,
            taken: BTreeSet::new(),
        }
    }

    /// What the sidecar is told.
    pub(super) fn probes(&self) -> &Map<String, Value> {
        &self.probes
    }

    /// Leaves a question as it was told, but for how long its answer may take.
    pub(super) fn keep(&mut self, path: &str, timeout_seconds: Option<&Value>) {
        self.taken.insert(path.to_owned());
        if let (Some(Value::Object(question)), Some(seconds)) =
            (self.probes.get_mut(path), timeout_seconds)
        {
            question.insert("timeoutSeconds".to_owned(), seconds.clone());
        }
    }

    /// # Errors
    /// If there is no room for it, or no path of its own.
    pub(super) fn add<'a>(
        &mut self,
        site: Site<'_>,
        question: Question<'a>,
    ) -> Result<Question<'a>, Left> {
        let path = site.path();
        if !is_label(site.container.name()) || !self.taken.insert(path.clone()) {
            return Err(Left::Unreadable);
        }
        let value = question.written();
        // With quotes, colon and comma.
        let size = |value: &Value| path.len() + as_variable(value).len() + 4;
        let replaced = self.probes.get(&path).map_or(0, size);
        let bytes = self.bytes.saturating_sub(replaced) + size(&value);
        if bytes > VARIABLE_BYTES_MAX {
            return Err(Left::NoRoom);
        }
        self.bytes = bytes;
        self.probes.insert(path, value);
        Ok(question)
    }

    pub(super) fn into_variable(self) -> Option<Value> {
        if self.probes.is_empty() {
            return None;
        }
        let value = as_variable(&Value::Object(self.probes));
        Some(json!({"name": VARIABLE, "value": value}))
    }
}

/// Where the injected sidecar's variable is, or would be.
pub(super) fn place_of(pod: &Pod<'_>) -> Option<PointerBuf> {
    let lists = [
        (List::Init, pod.init_containers()),
        (List::Regular, pod.containers()),
    ];
    let is_sidecar = |container: &Container<'_>| container.name() == names::SIDECAR_CONTAINER;
    let (list, index, sidecar) = lists.into_iter().find_map(|(list, containers)| {
        let index = containers.iter().position(is_sidecar)?;
        Some((list, index, containers[index]))
    })?;
    let env = sidecar.get("env")?.as_array()?;
    let there = env.iter().position(|variable| variable["name"] == VARIABLE);
    let mut place = PointerBuf::from_tokens(["spec", list.field()]);
    place.push_back(Token::from(index));
    place.push_back(Token::from("env"));
    place.push_back(Token::from(there.unwrap_or(env.len())));
    Some(place)
}

/// What the sidecar of this pod was told.
pub(super) fn told(pod: &Value) -> Option<Map<String, Value>> {
    let lists = [List::Init, List::Regular].map(|list| &pod["spec"][list.field()]);
    let mut containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let sidecar = containers.find(|container| container["name"] == names::SIDECAR_CONTAINER)?;
    let mut variables = sidecar["env"].as_array()?.iter();
    let variable = variables.find(|variable| variable["name"] == VARIABLE)?;
    serde_json::from_str(variable["value"].as_str()?).ok()
}

/// Whether it has only characters of container names, which are labels of RFC 1123.
fn is_label(name: &str) -> bool {
    let of_labels = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !name.is_empty() && name.bytes().all(of_labels)
}

/// As JSON without `$`, which the kubelet would expand in `$(NAME)` and `$$`
/// (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#environment-variables>).
/// In JSON it only occurs in strings, where it can be escaped.
pub(super) fn as_variable(value: &Value) -> String {
    value.to_string().replace('$', "\\u0024")
}
