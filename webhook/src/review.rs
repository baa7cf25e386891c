//! The admission API: what the API server asks, and what it is answered.
//! <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    decision::{Decision, SkipReason, Verdict, decide},
    namespaces::Known,
    options::Options,
};

mod object;
mod values;

/// `v1`, and `v1beta1` of clusters before 1.16, which is the same to a webhook.
const REVIEW_GROUP: &str = "admission.k8s.io/";
const CREATE: &str = "CREATE";
/// A pod of 1,000 containers has as many, and they take some 60 MiB at most.
pub(crate) const VALUES_MAX: usize = 100_000;

/// A request for admission, from the API server.
#[derive(Clone, Debug)]
pub struct Review {
    api_version: String,
    request: Request,
}

/// Why a body is not a request for admission. The API server never sends such.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    /// No JSON, or other types than an AdmissionReview has.
    #[error("the body is no AdmissionReview: {0}")]
    Json(serde_json::Error),
    /// Another kind of object.
    #[error(
        "expected kind AdmissionReview of admission.k8s.io/v1, got kind {kind:?} of {api_version:?}"
    )]
    OtherKind {
        /// Its kind.
        kind: String,
        /// Its API version.
        api_version: String,
    },
    /// More than any object has that the API server would take.
    #[error("the body has more than {VALUES_MAX} values")]
    TooManyValues,
    /// An answer, or nothing.
    #[error("the AdmissionReview has no request, or one without a uid")]
    NoRequest,
}

/// How many values a body has at most, before any of them is made.
///
/// # Errors
/// If there are more than are looked at.
pub(crate) fn values_in(body: &[u8]) -> Result<usize, Malformed> {
    match values::count(body) {
        count @ ..=VALUES_MAX => Ok(count),
        _ => Err(Malformed::TooManyValues),
    }
}

/// The namespace of a review's pod, read without making anything of the pod. Empty if
/// there is none, or the body is no review.
pub(crate) fn namespace_in(body: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Envelope {
        request: Option<Request>,
    }
    #[derive(Deserialize)]
    struct Request {
        namespace: Option<String>,
    }
    let envelope: Option<Envelope> = serde_json::from_slice(body).ok();
    let request = envelope.and_then(|envelope| envelope.request);
    request
        .and_then(|request| request.namespace)
        .unwrap_or_default()
}

/// The envelope, with everything optional, so that errors are ours to word.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    kind: Option<String>,
    api_version: Option<String>,
    request: Option<Request>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    uid: Option<String>,
    resource: Option<Resource>,
    sub_resource: Option<String>,
    name: Option<String>,
    namespace: Option<String>,
    operation: Option<String>,
    dry_run: Option<bool>,
    #[serde(deserialize_with = "object::without_managed_fields")]
    object: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    group: String,
    version: String,
    resource: String,
}

/// The answer, which always allows: a pod is injected or left alone, never refused.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    api_version: String,
    kind: &'static str,
    response: Response,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    audit_annotations: AuditAnnotations,
}

/// The API server puts the webhook's name before these, and writes them to its
/// audit log.
#[derive(Debug, Serialize)]
struct AuditAnnotations {
    decision: &'static str,
    reason: &'static str,
}

impl Review {
    /// Reads a request's body.
    ///
    /// # Errors
    /// If it is no AdmissionReview with a request that could be answered.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        values_in(body)?;
        Self::parse_counted(body)
    }

    /// Reads a request's body, whose values were counted.
    pub(crate) fn parse_counted(body: &[u8]) -> Result<Self, Malformed> {
        let envelope: Envelope = serde_json::from_slice(body).map_err(Malformed::Json)?;
        let kind = envelope.kind.unwrap_or_default();
        let api_version = envelope.api_version.unwrap_or_default();
        if kind != "AdmissionReview" || !api_version.starts_with(REVIEW_GROUP) {
            return Err(Malformed::OtherKind { kind, api_version });
        }
        match envelope.request {
            Some(request) if !request.uid().is_empty() => Ok(Self {
                api_version,
                request,
            }),
            _ => Err(Malformed::NoRequest),
        }
    }

    /// Decides about the pod that it is about, by what is known of its namespace, of
    /// which a review carries no more than the name.
    #[must_use]
    pub fn decide(&self, known: &Known, options: &Options) -> Verdict {
        if self.request.creates_a_pod() {
            let namespace = known.of(self.namespace());
            decide(&self.request.object, &namespace, options)
        } else {
            Verdict::skip(SkipReason::NotAPodCreation)
        }
    }

    /// The pod, as it came but for who manages its fields; `null` if there is none.
    #[must_use]
    pub fn object(&self) -> &Value {
        &self.request.object
    }

    /// The namespace that the pod is to run in. (The object's own metadata may
    /// lack it.)
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.request.namespace.as_deref().unwrap_or_default()
    }

    /// The pod's name, or, if the API server is yet to make one up, what it will
    /// begin with.
    #[must_use]
    pub fn pod(&self) -> &str {
        let metadata = |field| self.request.object.get("metadata")?.get(field)?.as_str();
        let given = self.request.name.as_deref().filter(|name| !name.is_empty());
        given
            .or_else(|| metadata("generateName"))
            .unwrap_or_default()
    }

    /// The request's own, by which the API server's audit log knows it too.
    #[must_use]
    pub fn uid(&self) -> &str {
        self.request.uid()
    }

    /// Whether nothing is to be persisted. The decision is the same.
    #[must_use]
    pub fn dry_run(&self) -> bool {
        self.request.dry_run.unwrap_or_default()
    }

    /// The answer that carries a verdict out.
    #[must_use]
    pub fn answer(&self, verdict: Verdict) -> Answer {
        let audit_annotations = AuditAnnotations {
            decision: verdict.decision.as_str(),
            reason: verdict.decision.reason(),
        };
        let patch = match verdict.decision {
            Decision::Inject(patch) => {
                let json = serde_json::to_vec(&patch).expect("a patch is JSON");
                Some(STANDARD.encode(json))
            }
            Decision::Skip(_) => None,
        };
        self.allow(patch, verdict.warnings, audit_annotations)
    }

    /// The answer after a fault of the webhook itself: the pod goes on as it is.
    #[must_use]
    pub fn answer_to_fault(&self, decision: &'static str, reason: &'static str) -> Answer {
        let warning = "netting: pod not injected: the webhook failed; its log says more".to_owned();
        self.allow(None, vec![warning], AuditAnnotations { decision, reason })
    }

    fn allow(
        &self,
        patch: Option<String>,
        warnings: Vec<String>,
        audit_annotations: AuditAnnotations,
    ) -> Answer {
        Answer {
            api_version: self.api_version.clone(),
            kind: "AdmissionReview",
            response: Response {
                uid: self.request.uid().to_owned(),
                allowed: true,
                patch_type: patch.is_some().then_some("JSONPatch"),
                patch,
                warnings,
                audit_annotations,
            },
        }
    }
}

impl Request {
    fn uid(&self) -> &str {
        self.uid.as_deref().unwrap_or_default()
    }

    fn creates_a_pod(&self) -> bool {
        let pods = |of: &Resource| {
            (of.group.as_str(), of.version.as_str(), of.resource.as_str()) == ("", "v1", "pods")
        };
        self.operation.as_deref() == Some(CREATE)
            && self.resource.as_ref().is_some_and(pods)
            && self.sub_resource.as_deref().unwrap_or_default().is_empty()
    }
}

#[cfg(test)]
mod tests;
