//! What is rendered, held to the files of `k8s/` and to Kubernetes' own types.

use std::{
    any::TypeId,
    fs,
    path::{Path, PathBuf},
};

use clap::{Arg, Parser};
use k8s_openapi::{
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        apps::v1::Deployment,
        core::v1::{Namespace, ResourceQuota, Service, ServiceAccount},
        networking::v1::NetworkPolicy,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
    serde::{Serialize, de::DeserializeOwned},
};
use netting_webhook::{documents, names, options::Exporters};

use super::*;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    settings: Settings,
}

fn settings(flags: &[&str]) -> Settings {
    Flags::try_parse_from(std::iter::once(&"render").chain(flags))
        .unwrap_or_else(|error| panic!("{error}"))
        .settings
}

fn rendered(flags: &[&str]) -> Vec<Value> {
    render(&settings(flags), "netting", None).unwrap_or_else(|error| panic!("{error}"))
}

fn find<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    let found = objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("there is a {kind} {name}"))
}

fn container<'a>(objects: &'a [Value], part: &str) -> &'a Value {
    &find(objects, "Deployment", part)["spec"]["template"]["spec"]["containers"][0]
}

fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let variables = container["env"].as_array().into_iter().flatten();
    let mut found = variables.filter(|variable| variable["name"] == name);
    found.next().and_then(|variable| variable["value"].as_str())
}

const PARTS: [&str; 2] = ["netting-catalog", "netting-webhook"];

#[test]
fn settings_that_cannot_be_are_refused_before_a_pod_fails_of_them() {
    for (flags, says) in [
        (["--image="].as_slice(), "names no image"),
        (&["--image=a b"], "names no image"),
        (
            &["--webhook-set=proxy-lgo=warn"],
            "netting-webhook has no flag proxy-lgo; it has telemetry, trace-ratio",
        ),
        (&["--webhook-set=proxy-log=loud"], "is not a log level"),
        (
            &["--webhook-set=proxy-memory-limit=8Mi"],
            "below --proxy-memory-request",
        ),
        (
            &["--catalog-set=stream-max=1"],
            "netting-catalog has no flag stream-max; it has heartbeat-interval, streams-max",
        ),
        (
            &["--catalog-set=streams-max"],
            "--catalog-set: a value is required for '--streams-max",
        ),
        (&["--catalog-set=streams-max=lots"], "expected 1 to 1000000"),
        (
            &["--catalog-set=heartbeat-interval=1ms"],
            "expected 100ms to 1h",
        ),
        (
            &["--catalog-set=streams-max=7", "--catalog-set=streams-max=7"],
            "'--streams-max <STREAMS_MAX>' cannot be used multiple times",
        ),
        (
            &[
                "--webhook-set=proxy-log=info",
                "--webhook-set=proxy-log=warn",
            ],
            "'--proxy-log <FILTER>' cannot be used multiple times",
        ),
        (&["--catalog-set=help"], "no flag help"),
    ] {
        let refused = render(&settings(flags), "netting", None);
        let refused = refused.expect_err("it is refused").to_string();
        assert!(refused.contains(says), "{refused}");
    }
    for flags in [
        ["--webhook-set==x"],
        ["--catalog-set=Streams=1"],
        ["--failure-policy=ignore"],
        ["--log=loud"],
        ["--log-format=xml"],
        ["--image-pull-policy=Sometimes"],
    ] {
        let flags = ["render"].iter().chain(&flags);
        assert!(Flags::try_parse_from(flags).is_err());
    }
}

/// Whether the manifests hold what a flag says in another place too, which then would say
/// something else: as a variable from the pod itself, as a file that nobody mounts, or as a
/// number or a name somewhere.
fn is_held(arg: &Arg, container: &Value, objects: &[Value]) -> bool {
    let variables = container["env"].as_array().into_iter().flatten();
    let variable = arg.get_env().and_then(|name| {
        let mut named = variables.filter(|variable| variable["name"].as_str() == name.to_str());
        named.next()
    });
    if let Some(variable) = variable {
        return variable.get("valueFrom").is_some();
    }
    if arg.get_value_parser().type_id() == TypeId::of::<PathBuf>() {
        return container.get("volumeMounts").is_none();
    }
    let default = arg.get_default_values().first();
    default.is_some_and(|default| {
        let default = default.to_str().expect("it is text");
        objects.iter().any(|object| says(object, default))
    })
}

fn says(value: &Value, text: &str) -> bool {
    match value {
        Value::Object(fields) => fields.values().any(|field| says(field, text)),
        Value::Array(items) => items.iter().any(|item| says(item, text)),
        Value::String(own) => own == text,
        Value::Number(own) => own.to_string() == text,
        Value::Bool(_) | Value::Null => false,
    }
}

#[test]
fn flags_that_the_manifests_do_not_follow_are_refused_with_what_to_do_instead() {
    let objects = rendered(&[]);
    for program in flags::PROGRAMS {
        let container = container(&objects, program.name);
        let command = (program.command)();
        let mut held = Vec::new();
        for arg in command.get_arguments() {
            let Some(name) = arg
                .get_long()
                .filter(|name| !flags::ONLY_PRINT.contains(name))
            else {
                continue;
            };
            if is_held(arg, container, &objects) {
                held.push(name);
                let flag = format!("{}={name}=other", program.setting);
                let refused = render(&settings(&[&flag]), "netting", None);
                let refused = refused.expect_err("it is refused").to_string();
                let begin = format!("{}: {name} is fixed: ", program.setting);
                assert!(refused.starts_with(&begin), "{refused}");
            }
        }
        let refused: Vec<&str> = program.fixed.iter().map(|(name, _)| *name).collect();
        assert_eq!(refused, held, "{}", program.name);
    }
}

#[test]
fn a_flag_that_is_given_twice_on_an_upgrade_is_refused_too() {
    let given = settings(&["--catalog-set=streams-max=7", "--catalog-set=streams-max=8"]);
    let before = settings(&["--catalog-set=streams-max=9"]);
    let refused = render(&given.over(before), "netting", None);
    let refused = refused.expect_err("it is refused").to_string();
    assert!(refused.contains("multiple times"), "{refused}");
}

/// Where people try their first pods, and `netting check` its own.
#[test]
fn the_default_namespace_is_refused_as_the_systems_own() {
    let refused = render(&Settings::default(), "default", None);
    let refused = refused.expect_err("it is refused").to_string();
    assert!(
        refused.contains("--system-namespace default: "),
        "{refused}"
    );
}

#[test]
fn a_part_finds_all_that_its_telemetry_refers_to() {
    let list = "prometheus, otlp=http://$(HOST_IP):4317;tag.node=$(NODE_NAME);tag.ip=$(POD_IP), \
                otlp-http=https://a;token=$(secret:otel-creds/api.key);tag.pod=$(POD_NAME), \
                zipkin=http://b;ca=$(secret:otel-creds/ca.crt);tag.ns=$(POD_NAMESPACE), \
                remote-write=http://c;token=$(secret:otel-creds/api.key)";
    let (exporters, wrong) = Exporters::read(list);
    assert_eq!(wrong, []);
    let referred = exporters.expect("it is right").variables();
    assert_eq!(referred.len(), 7);
    for part in PARTS {
        let flag = part.trim_start_matches("netting-");
        let objects = rendered(&[&format!("--{flag}-set=telemetry={list}")]);
        let variables = container(&objects, part)["env"]
            .as_array()
            .expect("variables");
        for wanted in &referred {
            let named = variables.iter().filter(|it| it["name"] == wanted["name"]);
            assert_eq!(named.collect::<Vec<_>>(), [wanted], "{part}");
        }
        // The other part has a list of its own.
        let others = PARTS.iter().filter(|other| **other != part);
        for other in others {
            assert!(
                !container(&objects, other)
                    .to_string()
                    .contains("secretKeyRef")
            );
        }
    }
}

#[test]
fn fields_of_the_pod_are_there_for_any_list() {
    let fields = "statsd=udp://$(HOST_IP);tag.node=$(NODE_NAME);tag.ip=$(POD_IP)";
    let (exporters, _) = Exporters::read(fields);
    for (part, variable) in PARTS.iter().flat_map(|part| {
        let variables = exporters.iter().flat_map(Exporters::variables);
        variables.map(move |variable| (part, variable))
    }) {
        let objects = rendered(&[]);
        let variables = container(&objects, part)["env"]
            .as_array()
            .expect("variables");
        assert!(variables.contains(&variable), "{part}: {variable}");
    }
}

#[test]
fn every_manifest_of_the_repository_is_in_the_binary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s");
    let mut found = Vec::new();
    let mut directories = vec![root.join("base"), root.join("overlays")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("the directory is there") {
            let path = entry.expect("it can be listed").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let path = path.strip_prefix(&root).expect("it is below");
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    let within: Vec<&str> = source::FILES.iter().map(|(path, _)| *path).collect();
    assert_eq!(within, found);
}

/// Fields that the type doesn't know would be gone from what it serialises to.
fn known_as<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let typed: T = serde_json::from_value(object.clone())
        .map_err(|error| format!("{}: {error}", title(object)))?;
    let again = serde_json::to_value(typed).expect("an object is JSON");
    if *object == again {
        Ok(())
    } else {
        Err(format!("a field is unknown: {object:#} is not {again:#}"))
    }
}

fn known(object: &Value) -> Result<(), String> {
    let check = match object["kind"].as_str().unwrap_or_default() {
        "Namespace" => known_as::<Namespace>,
        "NetworkPolicy" => known_as::<NetworkPolicy>,
        "ResourceQuota" => known_as::<ResourceQuota>,
        "ServiceAccount" => known_as::<ServiceAccount>,
        "ClusterRole" => known_as::<ClusterRole>,
        "ClusterRoleBinding" => known_as::<ClusterRoleBinding>,
        "Role" => known_as::<Role>,
        "RoleBinding" => known_as::<RoleBinding>,
        "Service" => known_as::<Service>,
        "PodDisruptionBudget" => known_as::<PodDisruptionBudget>,
        "Deployment" => known_as::<Deployment>,
        "MutatingWebhookConfiguration" => known_as::<MutatingWebhookConfiguration>,
        other => panic!("no test knows the kind {other:?}"),
    };
    check(object)
}

#[test]
fn every_object_is_of_its_kind_and_has_no_unknown_field() {
    let old = Version::parse("1.24").expect("it is a version");
    let all = [
        &["--ha", "--log=debug", "--image-pull-policy=Always"][..],
        &[],
    ];
    for (flags, version) in all.into_iter().zip([Some(&old), None]) {
        for object in render(&settings(flags), "mesh", version).expect("the flags are right") {
            known(&object).unwrap_or_else(|why| panic!("{why}"));
        }
    }
}

/// Pointers to all objects within one whose keys Kubernetes knows.
fn structures(value: &Value, kind: &str, at: &str, found: &mut Vec<String>) {
    // Whose keys anybody may choose.
    const FREE: [&str; 7] = [
        "hard",
        "labels",
        "annotations",
        "matchLabels",
        "nodeSelector",
        "requests",
        "limits",
    ];
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            for (key, field) in fields {
                let is_free =
                    FREE.contains(&key.as_str()) || (key == "selector" && kind == "Service");
                if !is_free {
                    structures(field, kind, &format!("{at}/{key}"), found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                structures(item, kind, &format!("{at}/{index}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn a_field_that_kubernetes_does_not_have_is_found_wherever_it_is() {
    let mut planted = 0;
    for object in rendered(&["--ha"]) {
        let mut places = Vec::new();
        let kind = object["kind"].as_str().expect("it has a kind");
        structures(&object, kind, "", &mut places);
        for place in places {
            let mut wrong = object.clone();
            let at = wrong.pointer_mut(&place).expect("it was just there");
            at["imagePulPolicy"] = "Always".into();
            known(&wrong).expect_err(&format!("{} at {place}", title(&object)));
            planted += 1;
        }
    }
    assert!(planted > 100, "there are only {planted} places");
}

/// `"webhookFlags": {"enum": […]}` as it stands in the chart's schema.
fn flags_in_schema(part: &str, flags: &[String]) -> String {
    let flags: Vec<String> = flags
        .iter()
        .map(|name| format!("        \"{name}\""))
        .collect();
    format!(
        "    \"{part}\": {{\n      \"enum\": [\n{}\n      ]",
        flags.join(",\n")
    )
}

#[test]
fn the_chart_refuses_flags_that_its_programs_do_not_have() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../k8s/chart/netting/values.schema.json");
    let mut schema = fs::read_to_string(&path).expect("the chart has a schema");
    for (part, program) in ["webhookFlags", "catalogFlags"].iter().zip(flags::PROGRAMS) {
        let flags = program.settable();
        let expected = flags_in_schema(part, &flags);
        if std::env::var_os("NETTING_UPDATE_GOLDEN").is_some() {
            let begin = schema
                .find(&format!("    \"{part}\": {{"))
                .expect("it is there");
            let end = begin + schema[begin..].find(']').expect("it has an end") + 1;
            schema.replace_range(begin..end, &expected);
            fs::write(&path, &schema).expect("the schema can be written");
        }
        assert!(
            schema.contains(&expected),
            "{part} of values.schema.json are other than the program's; renew it with NETTING_UPDATE_GOLDEN=1"
        );
    }
}

/// What `kubectl kustomize` makes of the same files is compared by
/// `hack/test-manifests.sh`.
#[test]
fn what_is_rendered_is_as_recorded() {
    let old = Version::parse("1.27").expect("it is a version");
    for (name, flags, namespace, version) in [
        ("default", [].as_slice(), "netting", None),
        ("ha", &["--ha"], "netting", None),
        ("before-1.28", &[], "netting", Some(&old)),
        (
            "custom",
            &[
                "--ha",
                "--image=registry.example.com/mesh:7",
                "--image-pull-policy=IfNotPresent",
                "--failure-policy=Fail",
                "--log=info,netting_webhook=debug",
                "--log-format=json",
                "--webhook-set=proxy-log=warn",
                "--webhook-set=rewrite-http-probes",
                "--catalog-set=--streams-max=20000",
            ],
            "mesh",
            None,
        ),
    ] {
        let objects = render(&settings(flags), namespace, version).expect("the flags are right");
        let documents: Vec<String> = objects.iter().map(documents::yaml).collect();
        let text = documents.join("---\n");
        let golden = format!(
            "{}/tests/golden/render/{name}.yaml",
            env!("CARGO_MANIFEST_DIR")
        );
        netting_golden::assert_golden(golden, &text);
    }
}

#[test]
fn another_namespace_is_the_namespace_everywhere() {
    let objects = render(&settings(&["--ha"]), "mesh", None).expect("the name is right");
    find(&objects, "Namespace", "mesh");
    let text: String = objects.iter().map(documents::yaml).collect();
    for left in ["namespace: netting", ".netting.svc"] {
        assert!(!text.contains(left), "{left:?} is left in\n{text}");
    }
    let webhook = container(&objects, "netting-webhook");
    let catalog = variable(webhook, "NETTING_CATALOG");
    assert_eq!(catalog, Some("netting-catalog.mesh.svc:15010"));
    let configuration = find(&objects, "MutatingWebhookConfiguration", "netting");
    for hook in configuration["webhooks"]
        .as_array()
        .expect("it has webhooks")
    {
        let names = &hook["namespaceSelector"]["matchExpressions"][1]["values"];
        assert_eq!(names, &serde_json::json!(["kube-system", "mesh"]));
    }
}

/// By these names the webhook knows what is its own, and the command what to look for.
#[test]
fn objects_are_called_as_the_programs_take_them_to_be() {
    let objects = rendered(&[]);
    for part in [names::CATALOG, names::WEBHOOK] {
        find(&objects, "Service", part);
        let pod = &find(&objects, "Deployment", part)["spec"]["template"];
        assert_eq!(pod["metadata"]["labels"]["app.kubernetes.io/name"], part);
    }
    let ports = &find(&objects, "Service", names::CATALOG)["spec"]["ports"];
    let host = names::catalog_in("mesh");
    let port = host
        .strip_prefix("netting-catalog.mesh.svc:")
        .expect("the Service's name");
    assert_eq!(ports[0]["port"].to_string(), port);
    let webhook = netting_webhook::Args::parse_from([names::WEBHOOK]);
    assert_eq!(webhook.catalog, names::catalog_in("netting"));
    let configuration = find(
        &objects,
        "MutatingWebhookConfiguration",
        names::WEBHOOK_CONFIGURATION,
    );
    for hook in configuration["webhooks"]
        .as_array()
        .expect("it has webhooks")
    {
        let name = hook["name"].as_str().expect("it has a name");
        assert!(name.ends_with(names::WEBHOOKS_DOMAIN), "{name}");
    }
    let role = find(&objects, "Role", names::WEBHOOK);
    let secrets = &role["rules"][0]["resourceNames"];
    assert_eq!(secrets, &serde_json::json!([names::WEBHOOK_SECRET]));
}

#[test]
fn another_image_is_the_control_planes_and_the_sidecars() {
    let objects = rendered(&[
        "--image=example.com/mesh@sha256:0",
        "--image-pull-policy=Never",
    ]);
    let text: String = objects.iter().map(documents::yaml).collect();
    assert!(!text.contains("ghcr.io"), "{text}");
    for part in PARTS {
        let container = container(&objects, part);
        assert_eq!(container["image"], "example.com/mesh@sha256:0");
        assert_eq!(container["imagePullPolicy"], "Never");
    }
    let webhook = container(&objects, "netting-webhook");
    let policy = variable(webhook, "NETTING_IMAGE_PULL_POLICY");
    assert_eq!(policy, Some("Never"));
}

#[test]
fn two_replicas_are_never_evicted_together() {
    let objects = rendered(&["--ha"]);
    for part in PARTS {
        assert_eq!(find(&objects, "Deployment", part)["spec"]["replicas"], 2);
        let budget = &find(&objects, "PodDisruptionBudget", part)["spec"];
        assert_eq!(budget["maxUnavailable"], 1);
        let pods = &find(&objects, "Deployment", part)["spec"]["selector"];
        assert_eq!(&budget["selector"], pods);
    }
}

#[test]
fn what_an_object_refers_to_is_applied_before_it() {
    let objects = rendered(&["--ha"]);
    let kinds: Vec<&str> = objects
        .iter()
        .map(|object| object["kind"].as_str().expect("it has a kind"))
        .collect();
    assert_eq!(kinds.first(), Some(&"Namespace"));
    assert_eq!(kinds.last(), Some(&"MutatingWebhookConfiguration"));
    for kind in &kinds {
        assert!(ORDER.contains(kind), "{kind} has a place");
    }
}

#[test]
fn labels_and_images_say_the_version_of_this_build() {
    let objects = rendered(&[]);
    for part in PARTS {
        let labels = &find(&objects, "Deployment", part)["metadata"]["labels"];
        assert_eq!(
            labels["app.kubernetes.io/version"],
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(container(&objects, part)["image"], settings::IMAGE);
    }
    for object in &objects {
        let part_of = &object["metadata"]["labels"]["app.kubernetes.io/part-of"];
        assert_eq!(part_of, "netting", "{}", title(object));
    }
}

#[test]
fn an_upgrade_keeps_what_it_is_not_told_to_change() {
    let before = settings(&[
        "--ha",
        "--image=example.com/a:1",
        "--webhook-set=proxy-log=warn",
        "--webhook-set=proxy-cpu-request=20m",
    ]);
    let given = settings(&["--ha=false", "--webhook-set=proxy-log=debug"]);
    let after = given.over(before.clone());
    assert_eq!(after.ha, Some(false));
    assert_eq!(after.image, before.image);
    assert_eq!(after.webhook, ["proxy-cpu-request=20m", "proxy-log=debug"]);
    assert_eq!(Settings::default().over(after.clone()), after);
}

#[test]
fn the_namespace_remembers_the_settings_unless_there_are_none() {
    let given = settings(&["--ha", "--catalog-set=streams-max=7"]);
    let mut objects = rendered(&["--ha"]);
    record(&given, &mut objects);
    let annotations = &find(&objects, "Namespace", "netting")["metadata"]["annotations"];
    let text = annotations[SETTINGS].as_str().expect("they are noted");
    let read: Settings = serde_json::from_str(text).expect("they can be read");
    assert_eq!(read, given);

    let mut objects = rendered(&[]);
    record(&Settings::default(), &mut objects);
    assert_eq!(objects, rendered(&[]));
}
