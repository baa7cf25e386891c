//! What answers to the trial mean, as API servers and policies give them.

use http::HeaderValue;

use super::*;

fn refused(code: u16, message: &str) -> kube::Result<Trial> {
    let status = Status::failure(message, "").with_code(code);
    judge(Err(Error::Api(status.boxed())))
}

fn answered(label: &str, warnings: &[&'static str]) -> Trial {
    let mut pod = pod();
    pod.labels_mut()
        .insert(names::INJECTED.to_owned(), label.to_owned());
    let mut headers = HeaderMap::new();
    for warning in warnings {
        headers.append(header::WARNING, HeaderValue::from_static(warning));
    }
    judge(Ok((pod, headers))).expect("it says something about pods")
}

#[test]
fn whoever_refuses_what_a_sidecar_needs_is_told_from_whoever_refuses_the_pod() {
    for (code, message, says) in [
        (
            403,
            "pods \"netting-trial\" is forbidden: violates PodSecurity \"baseline:latest\": non-default \
             capabilities (container \"netting-init\" must not include \"NET_ADMIN\", \"NET_RAW\")",
            "enforce=privileged",
        ),
        (
            403,
            "pods \"netting-trial\" is forbidden: unable to validate against any security context \
             constraint: [provider restricted-v2: .containers[1].runAsUser: Invalid value: 4150]",
            "\"OpenShift\"",
        ),
        (
            400,
            "admission webhook \"warden-validating.common-webhooks.networking.gke.io\" denied the \
             request: GKE Warden rejected the request because it violates one or more constraints. \
             Violations details: {\"[denied by autogke-default-linux-capabilities]\":[\"linux \
             capability 'NET_ADMIN' on container 'netting-init' not allowed\"]}",
            "--workload-policies=allow-net-admin",
        ),
        (
            400,
            "admission webhook \"validate.kyverno.svc-fail\" denied the request: rule run-as-non-root \
             failed at path /spec/initContainers/0/securityContext/runAsNonRoot/",
            "allow netting-init uid 0",
        ),
    ] {
        let trial = refused(code, message).expect("it is about pods");
        assert_eq!(trial, Trial::Refused(message.to_owned()));
        assert!(advice(message).contains(says), "{message}");
    }
    for (code, message) in [
        (
            400,
            "admission webhook \"images.example.com\" denied the request: unknown registry",
        ),
        (
            500,
            "admission webhook \"images.example.com\" denied the request: unknown registry",
        ),
        (
            403,
            "pods \"netting-trial\" is forbidden: exceeded quota: small",
        ),
        (
            403,
            "pods is forbidden: User \"me\" cannot create resource \"pods\"",
        ),
        (422, "Pod \"netting-trial\" is invalid"),
    ] {
        let trial = refused(code, message).expect("it is about pods");
        assert_eq!(trial, Trial::Untried(message.to_owned()), "{code}");
    }
}

#[test]
fn what_says_nothing_about_pods_is_an_error() {
    for (code, message) in [
        (401, "Unauthorized"),
        (404, "namespaces \"default\" not found"),
        (409, "pods \"netting-trial\" already exists"),
        (429, "too many requests"),
        (500, "etcd is away"),
        (
            500,
            "failed calling webhook \"pod.inject.netting.dev\": timed out",
        ),
        // Neither does the webhook itself mean the pod.
        (
            400,
            "admission webhook \"pod.inject.netting.dev\" denied the request: no pod",
        ),
    ] {
        let error = refused(code, message).expect_err(message);
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn a_webhook_that_leaves_the_pod_as_it_is_was_asked() {
    let left = "299 - \"netting: pod not injected: its namespace enforces Pod Security baseline\"";
    let other = "299 - \"would violate PodSecurity \\\"restricted:latest\\\": netting-init\"";
    assert_eq!(
        answered("false", &[other, left]),
        Trial::Left("its namespace enforces Pod Security baseline".to_owned())
    );
    // As a proxy may put them together.
    let both =
        "299 - \"one\", 299 - \"netting: pod not injected: it runs on Windows\", 299 - \"two\"";
    assert_eq!(
        answered("false", &[both]),
        Trial::Left("it runs on Windows".to_owned())
    );
    assert_eq!(answered("false", &[other]), Trial::Unasked);
    assert_eq!(answered("true", &[other]), Trial::Injected);
}
