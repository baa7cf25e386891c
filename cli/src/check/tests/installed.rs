//! Netting's own objects.

use k8s_openapi::{ByteString, api::core::v1::Secret};
use netting_webhook::certificate::self_made;

use super::*;
use crate::installation::trial::Trial;

/// A webhook's Secret, made at that time.
fn secret(made: SystemTime) -> Secret {
    let made = self_made::make("netting-webhook.netting.svc", made).expect("keys can be made");
    let entries = [("tls.crt", made.pair.chain), ("ca.crt", made.ca.0)];
    let data = entries.map(|(name, pem)| (name.to_owned(), ByteString(pem.into_bytes())));
    Secret {
        data: Some(data.into()),
        ..Secret::default()
    }
}

fn deployment(name: &str, ready: u32) -> Value {
    json!({"metadata": {"name": name, "namespace": "netting"},
        "spec": {"replicas": 1, "selector": {}, "template": {"spec": {"containers": [
            {"name": "webhook", "command": ["/netting/netting-webhook"], "env": [{"name": "NETTING_IMAGE", "value": IMAGE}]}]}}},
        "status": {"readyReplicas": ready}})
}

fn configuration(name: &str, bundle: &[u8]) -> Value {
    let webhooks = ["namespace.inject.netting.dev", "pod.inject.netting.dev"].map(|name| {
        json!({"name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
               "clientConfig": {"caBundle": ByteString(bundle.to_vec())}})
    });
    json!({"metadata": {"name": name, "creationTimestamp": "2026-02-01T00:00:00Z"}, "webhooks": webhooks})
}

/// A mesh that is well.
pub(super) fn mesh() -> Mesh {
    let secret = secret(now() - Duration::from_secs(24 * 60 * 60));
    let ca = secret.data.as_ref().expect("it has entries")["ca.crt"]
        .0
        .clone();
    let metrics = |part: &str| {
        let heard = now()
            .duration_since(UNIX_EPOCH)
            .expect("it is after 1970")
            .as_secs()
            - 5;
        Ok(format!(
            "netting_build_info{{part=\"{part}\",version=\"0.1.0\"}} 1\n\
             netting_catalog_watch_last_event_timestamp_seconds{{resource=\"pods\"}} {heard}\n# EOF\n"
        ))
    };
    Mesh {
        namespace: Ok(Some(parse(json!({"metadata": {"name": "netting"}})))),
        configurations: Ok(vec![parse(configuration("netting", &ca))]),
        deployments: Ok(vec![
            parse(deployment("netting-catalog", 1)),
            parse(deployment("netting-webhook", 1)),
        ]),
        pods: Ok(Vec::new()),
        secret: Ok(Some(secret)),
        trial: Ok(Trial::Injected),
        trials: [].into(),
        metrics: [
            ("netting-catalog-1".to_owned(), metrics("catalog")),
            ("netting-webhook-1".to_owned(), metrics("webhook")),
        ]
        .into(),
    }
}

fn with(change: impl FnOnce(&mut Mesh)) -> Facts {
    let mut mesh = mesh();
    change(&mut mesh);
    Facts {
        mesh: Some(mesh),
        ..cluster()
    }
}

#[test]
fn a_mesh_that_is_well_has_nothing_to_be_done() {
    let report = Report::of(&with(|_| {}));
    assert!(report.well, "{report:#?}");
    assert!(
        report.findings.iter().all(|one| one.advice.is_empty()),
        "{report:#?}"
    );
    for code in [
        Code::ReplicasGood,
        Code::CertificateGood,
        Code::CaBundleGood,
        Code::CatalogGood,
    ] {
        assert!(
            report.findings.iter().any(|one| one.code == code),
            "{code}: {report:#?}"
        );
    }
}

#[test]
fn nothing_at_all_is_one_finding_and_a_half_is_what_is_missing() {
    let facts = with(|mesh| {
        mesh.configurations = Ok(Vec::new());
        mesh.deployments = Ok(Vec::new());
    });
    assert!(
        only(&facts, Code::NotInstalled)
            .advice
            .contains("netting install")
    );
    assert!(found(&facts, Code::PartMissing).is_empty());

    let facts = with(|mesh| mesh.configurations = Ok(Vec::new()));
    let missing = only(&facts, Code::PartMissing);
    assert_eq!(missing.subject, "mutatingwebhookconfiguration/netting");
    let facts = with(|mesh| mesh.deployments.as_mut().expect("it has two").truncate(1));
    assert_eq!(
        only(&facts, Code::PartMissing).subject,
        "deployment/netting-webhook"
    );
}

#[test]
fn a_webhook_that_the_api_server_does_not_get_to_is_a_failure() {
    let facts = with(|mesh| mesh.trial = Ok(Trial::Unasked));
    assert!(only(&facts, Code::TrialBad).advice.contains("8443"));
    let facts = with(|mesh| mesh.trial = Err(Unknown::new("try a pod", "no way")));
    only(&facts, Code::ControlPlaneUnknown);
}

#[test]
fn a_trial_that_something_else_decides_is_no_failure_of_the_mesh() {
    for (trial, code) in [
        (Trial::Left("Pod Security".to_owned()), Code::TrialGood),
        (Trial::Untried("quota".to_owned()), Code::TrialUntried),
        (Trial::Refused("NET_ADMIN".to_owned()), Code::TrialRefused),
    ] {
        let facts = with(|mesh| mesh.trial = Ok(trial));
        only(&facts, code);
        assert_eq!(Report::of(&facts).exit(), Exit::Fine, "{code}");
    }
}

#[test]
fn a_namespace_that_asks_for_sidecars_and_refuses_them_is_a_failure() {
    let facts = |trial: Trial| {
        with(|mesh| {
            mesh.trials.insert("shop".to_owned(), Ok(trial));
        })
    };
    let refusal = "violates PodSecurity \"baseline:latest\": netting-init".to_owned();
    let refused = facts(Trial::Refused(refusal));
    let found = only(&refused, Code::SidecarsRefused);
    assert_eq!(found.subject, "namespace/shop");
    assert!(found.advice.contains("enforce=privileged"), "{found:?}");
    assert_eq!(Report::of(&refused).exit(), Exit::NotWell);

    let untried = facts(Trial::Untried("exceeded quota".to_owned()));
    only(&untried, Code::SidecarsUntried);
    assert_eq!(Report::of(&untried).exit(), Exit::Fine);
}

#[test]
fn a_kubelet_that_does_not_know_native_sidecars_is_named_where_pods_get_them() {
    let facts = |minor: &str, kubelet: &str, flag: &str| {
        let mut facts = with(|mesh| {
            let mut webhook = deployment("netting-webhook", 1);
            webhook["spec"]["template"]["spec"]["containers"][0]["args"] = json!([flag]);
            mesh.deployments = Ok(vec![
                parse(deployment("netting-catalog", 1)),
                parse(webhook),
            ]);
        });
        facts.version = version(minor);
        let mut node = serde_json::to_value(&facts.nodes.expect("it has one")[0]).expect("JSON");
        node["status"]["nodeInfo"]["kubeletVersion"] = kubelet.into();
        facts.nodes = Ok(vec![parse(node)]);
        facts
    };
    for (minor, flag) in [
        ("32", "--sidecar-mode=auto"),
        ("30", "--sidecar-mode=native"),
    ] {
        let facts = facts(minor, "v1.28.9-eks-036c24b", flag);
        let found = only(&facts, Code::KubeletOld);
        assert_eq!(found.subject, "node/node-1");
        assert!(found.message.contains("v1.28.9"), "{found:?}");
        assert!(found.advice.contains("sidecar-mode=classic"), "{found:?}");
    }
    // Until the last kubelet is new, they are classic by themselves.
    let classic = facts("31", "v1.28.9", "--sidecar-mode=auto");
    only(&classic, Code::VersionOld);
    assert!(found(&classic, Code::KubeletOld).is_empty());
    for (minor, kubelet, flag) in [
        ("32", "v1.28.9", "--sidecar-mode=classic"),
        ("32", "v1.29.0", "--sidecar-mode=auto"),
        ("28", "v1.27.0", "--sidecar-mode=auto"),
    ] {
        let facts = facts(minor, kubelet, flag);
        assert!(
            found(&facts, Code::KubeletOld).is_empty(),
            "{minor} {kubelet} {flag}"
        );
    }
}

#[test]
fn another_installation_is_named() {
    let facts = with(|mesh| {
        let all = mesh.configurations.as_mut().expect("it has one");
        all.push(parse(configuration("netting-old", b"")));
        all.push(parse(
            json!({"metadata": {"name": "others"}, "webhooks": []}),
        ));
    });
    let found = only(&facts, Code::TwoInstallations);
    assert_eq!(found.subject, "mutatingwebhookconfiguration/netting-old");
}

#[test]
fn an_installation_elsewhere_is_named_rather_than_all_that_is_missing_here() {
    let led_to = |mesh: &mut Mesh, namespace: &str| {
        let all = mesh.configurations.as_mut().expect("it has one");
        for webhook in all[0].webhooks.iter_mut().flatten() {
            let service = json!({"name": "netting-webhook", "namespace": namespace});
            webhook.client_config.service = Some(parse(service));
        }
    };
    let facts = with(|mesh| {
        led_to(mesh, "mesh");
        mesh.deployments = Ok(Vec::new());
    });
    let found = only(&facts, Code::InstalledElsewhere);
    assert!(
        found.advice.contains("--system-namespace mesh"),
        "{found:?}"
    );
    assert!(self::found(&facts, Code::PartMissing).is_empty());

    let found = only(&with(|mesh| led_to(mesh, "mesh")), Code::TwoInstallations);
    assert_eq!(found.subject, "namespace/mesh");
    assert!(
        found.advice.contains("--system-namespace netting"),
        "{found:?}"
    );
    assert!(Report::of(&with(|mesh| led_to(mesh, "netting"))).well);
}

#[test]
fn a_system_namespace_that_does_not_terminate_is_told_with_what_holds_it() {
    let mut facts = with(|mesh| {
        mesh.namespace = Ok(Some(parse(json!({"metadata": {"name": "netting",
            "deletionTimestamp": NOW, "finalizers": ["example.com/hold"]}}))));
        mesh.deployments = Ok(Vec::new());
        mesh.configurations = Ok(Vec::new());
    });
    // Those in question are of pods, as with `check -n shop`.
    facts.namespaces = Ok(vec![parse(json!({"metadata": {"name": "shop"}}))]);
    assert!(found(&facts, Code::NotInstalled).is_empty());
    let found = only(&facts, Code::NamespaceEnds);
    assert!(found.message.contains("example.com/hold"), "{found:?}");
    assert!(found.advice.contains("netting uninstall"), "{found:?}");
}

#[test]
fn what_the_webhook_was_told_of_pod_security_counts_for_namespaces() {
    let facts = |labels: Value, flag: &str| {
        let mut facts = with(|mesh| {
            let mut webhook = deployment("netting-webhook", 1);
            webhook["spec"]["template"]["spec"]["containers"][0]["args"] = json!([flag]);
            mesh.deployments = Ok(vec![
                parse(deployment("netting-catalog", 1)),
                parse(webhook),
            ]);
        });
        facts.namespaces = Ok(vec![parse(
            json!({"metadata": {"name": "shop", "labels": labels}}),
        )]);
        facts
    };
    let asks = json!({"netting.dev/inject": "enabled"});
    let enforces = json!({"netting.dev/inject": "enabled",
        "pod-security.kubernetes.io/enforce": "baseline"});
    let default = facts(asks, "--pod-security-default=restricted");
    only(&default, Code::PodSecurityRefuses);
    let exempt = facts(enforces, "--pod-security-exempt-namespaces=shop");
    assert!(Report::of(&exempt).well);
}

#[test]
fn replicas_that_are_not_ready_are_told_with_what_the_kubelet_says() {
    let facts = with(|mesh| {
        mesh.deployments = Ok(vec![
            parse(deployment("netting-catalog", 1)),
            parse(deployment("netting-webhook", 0)),
        ]);
        mesh.pods = Ok(vec![parse(
            json!({"metadata": {"name": "netting-webhook-1"}, "status": {
            "containerStatuses": [{"name": "webhook", "image": "", "imageID": "", "ready": false, "restartCount": 3,
                "state": {"waiting": {"reason": "ImagePullBackOff"}}}]}}),
        )]);
    });
    let found = only(&facts, Code::ReplicasMissing);
    assert_eq!(found.message, "0 of 1 replicas ready: ImagePullBackOff");
}

#[test]
fn a_certificate_is_told_of_before_and_after_it_ends() {
    let day = Duration::from_secs(24 * 60 * 60);
    for (days, code) in [
        (50, Code::CertificateGood),
        (70, Code::CertificateEnds),
        (100, Code::CertificateBad),
    ] {
        let facts = with(|mesh| mesh.secret = Ok(Some(secret(now() - days * day))));
        only(&facts, code);
    }
    for broken in [Ok(None), Ok(Some(Secret::default()))] {
        let facts = with(|mesh| mesh.secret = broken);
        only(&facts, Code::CertificateBad);
    }
    let refused = Err(Unknown::new("get Secret", "no way"));
    let facts = with(|mesh| mesh.secret = refused);
    only(&facts, Code::ControlPlaneUnknown);
    assert_eq!(Report::of(&facts).exit(), Exit::CannotAsk);
}

#[test]
fn a_given_certificate_that_the_api_server_would_refuse_is_a_failure() {
    let given = |host: &str| {
        let made = self_made::make(host, now()).expect("it is a name");
        let data =
            json!({"tls.crt": made.pair.chain, "tls.key": made.pair.key, "ca.crt": made.ca.0});
        let mut secret: Secret = parse(json!({"stringData": data}));
        let texts = secret.string_data.take().into_iter().flatten();
        secret.data = Some(
            texts
                .map(|(key, text)| (key, ByteString(text.into_bytes())))
                .collect(),
        );
        secret
    };
    let facts = with(|mesh| mesh.secret = Ok(Some(given("netting-webhook.netting"))));
    let found = only(&facts, Code::CertificateBad);
    let says = "is not for netting-webhook.netting.svc";
    assert!(found.message.contains(says), "{found:?}");

    let mut of_another = given("netting-webhook.netting.svc");
    let entries = of_another.data.as_mut().expect("it has entries");
    let other = given("netting-webhook.netting.svc")
        .data
        .expect("it has entries");
    entries.insert("ca.crt".to_owned(), other["ca.crt"].clone());
    let facts = with(|mesh| mesh.secret = Ok(Some(of_another.clone())));
    let found = only(&facts, Code::CertificateBad);
    assert!(
        found.message.contains("whoever trusts its CAs"),
        "{found:?}"
    );

    // Without a CA beside it, it is the bundle that must have it.
    entries_without_ca(&mut of_another);
    let facts = with(|mesh| {
        mesh.secret = Ok(Some(of_another));
        let bundle = &other["ca.crt"].0;
        mesh.configurations = Ok(vec![parse(configuration("netting", bundle))]);
    });
    only(&facts, Code::CertificateGood);
    only(&facts, Code::CaBundleBad);
}

fn entries_without_ca(secret: &mut Secret) {
    let entries = secret.data.as_mut().expect("it has entries");
    entries.remove("ca.crt").expect("it had a CA");
}

#[test]
fn a_ca_bundle_without_the_secrets_ca_is_a_failure() {
    for bundle in [
        &b""[..],
        &secret(now()).data.expect("it has entries")["ca.crt"].0,
    ] {
        let facts = with(|mesh| {
            mesh.configurations = Ok(vec![parse(configuration("netting", bundle))]);
        });
        let found = only(&facts, Code::CaBundleBad);
        assert!(
            found.message.contains("pod.inject.netting.dev"),
            "{found:?}"
        );
    }
}

#[test]
fn other_versions_and_silence_are_told() {
    let facts = with(|mesh| {
        let build = "netting_build_info{version=\"0.0.9\"} 1\n".to_owned();
        mesh.metrics
            .insert("netting-webhook-1".to_owned(), Ok(build));
        mesh.metrics.insert(
            "netting-catalog-1".to_owned(),
            Err(Unknown::new("ask", "no answer within 10s")),
        );
    });
    let found = only(&facts, Code::ControlPlaneVersionDiffers);
    assert!(
        found.message.contains("0.0.9") && found.message.contains("0.1.0"),
        "{found:?}"
    );
    assert!(
        only(&facts, Code::ControlPlaneUnknown)
            .message
            .contains("no answer")
    );
    assert_eq!(Report::of(&facts).may_pass(), 1);
}

#[test]
fn a_silent_pod_may_answer_later_unless_nobody_is_let_through() {
    for (refused, may_pass) in [(false, 1), (true, 0)] {
        let facts = with(|mesh| {
            let silent = Err(Unknown {
                refused,
                ..Unknown::new("ask", "no way")
            });
            mesh.metrics.insert("netting-catalog-1".to_owned(), silent);
        });
        let report = Report::of(&facts);
        assert_eq!(report.exit(), Exit::CannotAsk);
        assert_eq!(report.may_pass(), may_pass);
    }
}
