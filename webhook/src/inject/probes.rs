//! The application's probes and hooks, handed to the sidecar.
//!
//! The sidecar accepts whatever is redirected to it, so a `tcpSocket` probe would
//! always pass, and a `grpc` probe would tell of the sidecar. They become `httpGet`
//! probes of the sidecar's admin port, which puts the original question to the
//! application; so do `httpGet` probes and hooks where the pod asks for it. Nothing
//! but the handler changes: how often, how long and how many times are the author's.
//!
//! The originals travel in the sidecar's environment (`netting-sidecar`'s
//! `probe::written` has the format), from which they can also be put back.

use json_patch::jsonptr::{PointerBuf, Token};
use serde_json::{Map, Value, json};

use crate::{
    names::{self, SidecarMode},
    options::PodOptions,
    pod::{Container, Pod},
    warnings::Warnings,
};

use super::draft::Draft;

mod handler;
#[cfg(test)]
mod tests;

use handler::{Left, Question};

/// The sidecar's environment variable.
const VARIABLE: &str = "NETTING_PROBES";
/// The kernel takes no variable over 128 KiB (`MAX_ARG_STRLEN`); half of it is more
/// than a pod has to say.
const VARIABLE_BYTES_MAX: usize = 64 * 1024;

/// Where a container has a handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Liveness,
    Readiness,
    Startup,
    PostStart,
    PreStop,
}

impl Place {
    const ALL: [Self; 5] = [
        Self::Liveness,
        Self::Readiness,
        Self::Startup,
        Self::PostStart,
        Self::PreStop,
    ];

    /// The fields that lead to it in a container.
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Liveness => &["livenessProbe"],
            Self::Readiness => &["readinessProbe"],
            Self::Startup => &["startupProbe"],
            Self::PostStart => &["lifecycle", "postStart"],
            Self::PreStop => &["lifecycle", "preStop"],
        }
    }

    /// Its name in paths of the admin port.
    fn as_str(self) -> &'static str {
        match self {
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
            Self::Startup => "startup",
            Self::PostStart => "poststart",
            Self::PreStop => "prestop",
        }
    }

    fn is_hook(self) -> bool {
        matches!(self, Self::PostStart | Self::PreStop)
    }

    fn of(self, container: Container<'_>) -> Option<&Map<String, Value>> {
        let (first, rest) = self.fields().split_first()?;
        let found = rest
            .iter()
            .try_fold(container.get(first)?, |found, field| found.get(*field));
        found?.as_object()
    }
}

/// A list of the pod's containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    Init,
    Regular,
}

impl List {
    fn field(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Regular => "containers",
        }
    }
}

/// Rewrites what the sidecar can ask, and returns the variable that tells it what
/// that is; nothing if there is nothing to ask. What is left as it is although it
/// would not work is warned about.
pub(super) fn rewrite(
    draft: &mut Draft,
    pod: &Pod<'_>,
    chosen: &PodOptions,
    warnings: &mut Warnings,
) -> Option<Value> {
    let mut written = Written::default();
    written.take_over(draft, pod, chosen, warnings);
    written.into_variable()
}

/// The same for a pod that is injected already, to which containers have been added
/// since: what the sidecar is to ask for them joins what it was told before.
pub(super) fn rewrite_more(draft: &mut Draft, pod: &Pod<'_>, chosen: &PodOptions) {
    let Some(place) = variable_place(pod) else {
        return;
    };
    let told = told(pod.raw()).unwrap_or_default();
    let before = told.len();
    let mut written = Written {
        bytes: as_variable(&Value::Object(told.clone())).len(),
        probes: told,
    };
    // What was left as it is was warned about the first time.
    written.take_over(draft, pod, chosen, &mut Warnings::default());
    if written.probes.len() > before
        && let Some(variable) = written.into_variable()
    {
        draft.put(place, variable);
    }
}

/// Where the injected sidecar's variable is, or would be.
fn variable_place(pod: &Pod<'_>) -> Option<PointerBuf> {
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

/// # Errors
/// If the handler stays as it is.
fn question<'a>(
    container: Container<'a>,
    list: List,
    place: Place,
    handler: &'a Map<String, Value>,
    chosen: &PodOptions,
) -> Result<Question<'a>, Left> {
    let question = Question::read(container, place, handler, chosen.rewrite_http_probes)?;
    // These ports are not redirected: the kubelet reaches the application itself.
    if chosen
        .skip_inbound_ports
        .iter()
        .any(|ports| ports.contains(question.port))
    {
        return Err(Left::Direct);
    }
    // Classic sidecars start when init containers have ended or, if they are sidecars
    // themselves, have started. Until then nobody would answer for them.
    let too_early = list == List::Init && place != Place::Readiness;
    if chosen.mode == SidecarMode::Classic && too_early {
        return Err(Left::BeforeTheSidecar);
    }
    Ok(question)
}

fn pointer(list: List, index: usize, place: Place) -> PointerBuf {
    let mut at = PointerBuf::from_tokens(["spec", list.field()]);
    at.push_back(Token::from(index));
    for field in place.fields() {
        at.push_back(Token::from(*field));
    }
    at
}

/// Has the kubelet ask at the admin port: in the place of the handler, or, where that
/// is `httpGet` already, member by member.
fn redirect(draft: &mut Draft, at: &PointerBuf, question: &Question<'_>, path: &str) {
    let below = |member: &str| {
        let mut below = at.clone();
        below.push_back(Token::from(member));
        below
    };
    if question.kind != handler::Kind::Http {
        draft.remove(below(question.kind.field()));
        let get = json!({"path": path, "port": names::ADMIN_PORT});
        draft.put(below("httpGet"), get);
        return;
    }
    let member = |member: &str| {
        let mut member_at = below("httpGet");
        member_at.push_back(Token::from(member));
        member_at
    };
    draft.put(member("path"), json!(path));
    draft.put(member("port"), json!(names::ADMIN_PORT));
    if question.original.contains_key("scheme") {
        draft.put(member("scheme"), json!("HTTP"));
    }
    for only_ours in ["host", "httpHeaders"] {
        if question.original.contains_key(only_ours) {
            draft.remove(member(only_ours));
        }
    }
}

/// The variable's value in the making.
#[derive(Default)]
struct Written {
    probes: Map<String, Value>,
    bytes: usize,
}

impl Written {
    /// Has the sidecar asked in the kubelet's place wherever it can be.
    fn take_over(
        &mut self,
        draft: &mut Draft,
        pod: &Pod<'_>,
        chosen: &PodOptions,
        warnings: &mut Warnings,
    ) {
        let init = pod.init_containers().iter().map(|c| (List::Init, c));
        let regular = pod.containers().iter().map(|c| (List::Regular, c));
        let numbered = init.enumerate().chain(regular.enumerate());
        for (index, (list, &container)) in numbered {
            for place in Place::ALL {
                let Some(handler) = place.of(container) else {
                    continue;
                };
                let question = question(container, list, place, handler, chosen)
                    .and_then(|question| self.add(container, place, question));
                match question {
                    Ok((question, path)) => {
                        let at = pointer(list, index, place);
                        redirect(draft, &at, &question, &path);
                    }
                    Err(left) => {
                        if let Some(why) = left.warning() {
                            warnings.left(container.name(), &place.fields().join("."), why);
                        }
                    }
                }
            }
        }
    }

    /// # Errors
    /// If there is no room for it, or no path of its own.
    fn add<'a>(
        &mut self,
        container: Container<'_>,
        place: Place,
        question: Question<'a>,
    ) -> Result<(Question<'a>, String), Left> {
        let name = container.name();
        let path = format!("/probe/{name}/{}", place.as_str());
        if !is_label(name) || self.probes.contains_key(&path) {
            return Err(Left::Unreadable);
        }
        let value = question.written();
        // With quotes, colon and comma.
        let bytes = path.len() + as_variable(&value).len() + 4;
        if self.bytes + bytes > VARIABLE_BYTES_MAX {
            return Err(Left::NoRoom);
        }
        self.bytes += bytes;
        self.probes.insert(path.clone(), value);
        Ok((question, path))
    }

    fn into_variable(self) -> Option<Value> {
        if self.probes.is_empty() {
            return None;
        }
        let value = as_variable(&Value::Object(self.probes));
        Some(json!({"name": VARIABLE, "value": value}))
    }
}

/// Whether it has only characters of container names, which are labels of RFC 1123.
fn is_label(name: &str) -> bool {
    let of_labels = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    !name.is_empty() && name.bytes().all(of_labels)
}

/// As JSON without `$`, which the kubelet would expand in `$(NAME)` and `$$`
/// (<https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/#environment-variables>).
/// In JSON it only occurs in strings, where it can be escaped.
fn as_variable(value: &Value) -> String {
    value.to_string().replace('$', "\\u0024")
}

/// Puts the handlers back that a pod had before it was injected, by what its sidecar
/// was told. A handler that somebody changed since is left as it is.
pub fn restore(pod: &mut Value) {
    let Some(probes) = told(pod) else { return };
    for list in [List::Init, List::Regular] {
        let containers = pod.pointer_mut(&format!("/spec/{}", list.field()));
        for container in containers
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            for place in Place::ALL {
                let name = container["name"].as_str().unwrap_or_default();
                let path = format!("/probe/{name}/{}", place.as_str());
                let Some(original) = probes.get(&path).and_then(handler::original) else {
                    continue;
                };
                let at = format!("/{}", place.fields().join("/"));
                let handler = container.pointer_mut(&at).and_then(Value::as_object_mut);
                let Some(handler) = handler else { continue };
                let ours = handler.get("httpGet").and_then(|get| get.get("path"));
                if ours.and_then(Value::as_str) == Some(&path) {
                    handler.remove("httpGet");
                    let (field, original) = original;
                    handler.insert(field.to_owned(), original.clone());
                }
            }
        }
    }
}

/// What the sidecar of this pod was told.
fn told(pod: &Value) -> Option<Map<String, Value>> {
    let lists = [List::Init, List::Regular].map(|list| &pod["spec"][list.field()]);
    let mut containers = lists.into_iter().filter_map(Value::as_array).flatten();
    let sidecar = containers.find(|container| container["name"] == names::SIDECAR_CONTAINER)?;
    let mut variables = sidecar["env"].as_array()?.iter();
    let variable = variables.find(|variable| variable["name"] == VARIABLE)?;
    serde_json::from_str(variable["value"].as_str()?).ok()
}
