//! Injection without a cluster: the manifests of a file, injected or restored.
//!
//! A file is a row of documents, YAML or JSON. What is no workload, what is not to
//! be injected and what can't be read stays as it is, byte for byte, comments and
//! separators included. Only a document that changes is written anew, and then has
//! no comments but those before it.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use crate::{
    decision::{Decision, SkipReason, Verdict, asked_for, decide_template},
    options::{Namespace, Options},
    pod::Pod,
    removal,
};

mod emit;
mod namespaces;
mod segments;
#[cfg(test)]
mod tests;
mod workloads;

pub use emit::yaml;
pub use namespaces::{Labels, namespace_labels};
use segments::{Segment, Syntax};
pub use workloads::Object;

/// A file with its workloads changed.
#[derive(Clone, Debug)]
pub struct Edited {
    /// All of its documents, in their order.
    pub text: String,
    /// What became of each workload, and of each document that is no object or can't
    /// be read. Nothing is said of other objects.
    pub reports: Vec<Report>,
    /// How many documents there are, but for those without content.
    pub documents: usize,
}

/// What became of a workload, or of a document that is no object or can't be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The document's number, from 1. Documents without content are not counted.
    pub document: usize,
    /// The line of the file that it begins at, from 1.
    pub line: usize,
    /// The workload; a document may have several in a list.
    pub object: Option<Object>,
    /// What became of it.
    pub outcome: Outcome,
    /// What its author should be told along with that.
    pub warnings: Vec<String>,
}

/// What becomes of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has a sidecar now.
    Injected,
    /// It is as it was before it was injected.
    Restored,
    /// It was not to be injected, and stays as it is.
    Skipped(SkipReason),
    /// It was not injected, so there is nothing to restore.
    NotInjected,
    /// The document has no `apiVersion` and `kind`, and stays as it is.
    NotAnObject,
    /// The document can't be read, and stays as it is.
    Malformed {
        /// The line of the file, from 1, if that is known.
        line: Option<usize>,
        /// What is wrong there.
        error: String,
    },
}

impl Outcome {
    /// Its name in logs and for people.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Restored => "restored",
            Self::Skipped(_) => "skipped",
            Self::NotInjected => "not_injected",
            Self::NotAnObject => "not_an_object",
            Self::Malformed { .. } => "malformed",
        }
    }
}

/// `document 2 (line 14): Deployment shop/web: injected`.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {} (line {}): ", self.document, self.line)?;
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        write!(f, "{}", self.outcome.as_str())?;
        match &self.outcome {
            Outcome::Skipped(reason) => write!(f, " ({})", reason.as_str()),
            Outcome::Malformed {
                line: Some(line),
                error,
            } => write!(f, " at line {line}: {error}"),
            Outcome::Malformed { line: None, error } => write!(f, ": {error}"),
            Outcome::Injected | Outcome::Restored | Outcome::NotInjected | Outcome::NotAnObject => {
                Ok(())
            }
        }
    }
}

/// Injects every workload of a file: `Pod`, the pod templates of `Deployment`,
/// `StatefulSet`, `DaemonSet`, `ReplicaSet`, `ReplicationController`, `Job` and
/// `CronJob`, and those of a `List`. Nobody needs to ask for it but the caller;
/// whoever opted out is left alone.
///
/// `namespace` is that of the objects which don't say theirs.
#[must_use]
pub fn inject(text: &str, namespace: &Namespace<'_>, options: &Options) -> Edited {
    inject_if(text, namespace, options, |_, _| Ok(()))
}

/// As [`inject`], but only what asks for it: by its own label, or by those of its
/// namespace, as far as `namespaces` has them ([`namespace_labels`]).
#[must_use]
pub fn inject_asked(
    text: &str,
    namespace: &Namespace<'_>,
    namespaces: &BTreeMap<String, Labels>,
    options: &Options,
) -> Edited {
    let unlabelled = Labels::new();
    inject_if(text, namespace, options, |pod, name| {
        let labels = namespaces.get(name).unwrap_or(&unlabelled);
        // What is no pod is told of by the decision.
        Pod::read(pod).map_or(Ok(()), |pod| {
            asked_for(&pod, name, labels, &options.system_namespace)
        })
    })
}

fn inject_if(
    text: &str,
    namespace: &Namespace<'_>,
    options: &Options,
    asked: impl Fn(&Value, &str) -> Result<(), SkipReason>,
) -> Edited {
    edit(text, |object, pod| {
        let namespace = match object.namespace.as_deref() {
            Some(own) if own != namespace.name => Namespace::named(own),
            _ => *namespace,
        };
        let verdict = match asked(pod, namespace.name) {
            Ok(()) => decide_template(pod, object.controller(), &namespace, options),
            Err(reason) => Verdict::skip(reason),
        };
        let outcome = match verdict.decision {
            Decision::Inject(patch) => {
                json_patch::patch(pod, &patch).expect("a patch fits the pod that it is made for");
                Outcome::Injected
            }
            Decision::Skip(reason) => Outcome::Skipped(reason),
        };
        (outcome, verdict.warnings)
    })
}

/// Takes out of every workload of a file what [`inject`] or the webhook put in, and
/// puts back what was there.
#[must_use]
pub fn uninject(text: &str) -> Edited {
    edit(text, |_, pod| {
        let outcome = match removal::restored(pod) {
            Some(restored) => {
                *pod = restored;
                Outcome::Restored
            }
            None => Outcome::NotInjected,
        };
        (outcome, Vec::new())
    })
}

/// Has each workload's pod edited.
fn edit(text: &str, edit: impl Fn(&Object, &mut Value) -> (Outcome, Vec<String>)) -> Edited {
    let mut edited = Edited {
        text: String::with_capacity(text.len()),
        reports: Vec::new(),
        documents: 0,
    };
    for segment in segments::split(text) {
        if segment.is_blank() {
            edited.text.push_str(segment.text);
            continue;
        }
        edited.documents += 1;
        let document = edited.documents;
        let report = |object, outcome, warnings| Report {
            document,
            line: segment.line_of_content(),
            object,
            outcome,
            warnings,
        };
        let (mut value, syntax) = match segment.parse() {
            Ok(parsed) => parsed,
            Err(malformed) => {
                edited.reports.push(report(None, malformed, Vec::new()));
                edited.text.push_str(segment.text);
                continue;
            }
        };
        if !workloads::is_object(&value) {
            let outcome = Outcome::NotAnObject;
            edited.reports.push(report(None, outcome, Vec::new()));
            edited.text.push_str(segment.text);
            continue;
        }
        let mut changed = false;
        workloads::visit(&mut value, &mut |object, pod| {
            let (outcome, warnings) = edit(&object, pod);
            changed |= matches!(outcome, Outcome::Injected | Outcome::Restored);
            edited.reports.push(report(Some(object), outcome, warnings));
        });
        if changed {
            rewrite(&mut edited.text, &segment, &value, syntax);
        } else {
            edited.text.push_str(segment.text);
        }
    }
    edited
}

fn rewrite(text: &mut String, segment: &Segment<'_>, value: &Value, syntax: Syntax) {
    let head = segment.head(syntax);
    text.push_str(head);
    match syntax {
        Syntax::Yaml => {
            if head.ends_with("---") {
                text.push('\n');
            }
            text.push_str(&emit::yaml(value));
        }
        Syntax::Json { pretty: true } => text.push_str(&format!("{value:#}")),
        Syntax::Json { pretty: false } => text.push_str(&value.to_string()),
    }
    text.push_str(segment.tail(syntax));
}
