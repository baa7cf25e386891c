//! What is injected, parsed by those who will get it: the init container's and the
//! sidecar's own parsers, so that they and the webhook cannot drift apart.

use clap::{CommandFactory as _, Parser as _};
use json_patch::Patch;
use netting_iptables_init::{Family, render};
use netting_sidecar::probe::Probes;
use netting_telemetry::config::{Rehearsal, Telemetry};
use netting_webhook::{Args, Decision, Namespace, decide, names};
use serde_json::{Value, json};

#[path = "parsers/random.rs"]
mod random;

/// The container of that name, of a pod with these annotations once it is injected, and
/// nothing is wrong with them.
fn injected(annotations: Value, container: &str) -> Value {
    let (found, warnings) = injected_anyhow(annotations, container);
    assert!(warnings.is_empty(), "{warnings:?}");
    found
}

/// The same, whatever is wrong with them, which comes along.
fn injected_anyhow(annotations: Value, container: &str) -> (Value, Vec<String>) {
    let mut pod = json!({
        "metadata": {"annotations": annotations},
        "spec": {"containers": [{"name": "app"}], "terminationGracePeriodSeconds": 90},
    });
    let args = Args::parse_from([
        "netting-webhook",
        "--catalog=netting-catalog.netting.svc:15010",
    ]);
    let options = args.options().expect("the defaults agree with each other");
    let verdict = decide(&pod, &Namespace::named("shop"), &options);
    let Decision::Inject(Patch(operations)) = verdict.decision else {
        panic!("nothing keeps this pod from being injected");
    };
    json_patch::patch(&mut pod, &operations).expect("the patch fits");
    let lists = ["initContainers", "containers"].map(|list| pod["spec"][list].as_array());
    let mut containers = lists.into_iter().flatten().flatten();
    let found = containers.find(|c| c["name"] == container);
    (found.expect("it is injected").clone(), verdict.warnings)
}

/// The container's command line.
fn command(container: &Value) -> Vec<String> {
    ["command", "args"]
        .iter()
        .filter_map(|part| container[part].as_array())
        .flatten()
        .map(|word| word.as_str().expect("words are strings").to_owned())
        .collect()
}

/// The container's variables as flags: a parser takes both alike, and the test's
/// own environment stays out of it.
fn environment_as_flags(container: &Value) -> Vec<String> {
    let variables = container["env"].as_array().expect("there are variables");
    let flag = |variable: &Value| {
        let name = variable["name"].as_str().expect("a variable has a name");
        if is_referred_to(name) {
            return None;
        }
        let flag = name
            .strip_prefix("NETTING_")?
            .to_lowercase()
            .replace('_', "-");
        let value = variable["value"].as_str().unwrap_or("from-a-field");
        Some(format!("--{flag}={value}"))
    };
    variables.iter().filter_map(flag).collect()
}

/// Whether it is no flag, but what the list of exporters refers to.
fn is_referred_to(variable: &str) -> bool {
    ["NETTING_HOST_IP", "NETTING_POD_IP"].contains(&variable)
        || variable.starts_with("NETTING_SECRET_")
}

#[test]
fn the_sidecar_has_the_sockets_that_its_application_has() {
    let list = "dogstatsd=unix:///var/run/datadog/dsd.socket, statsd=unix:///var/run/datadog/other";
    let mount = json!({"name": "datadog", "mountPath": "/var/run/datadog", "readOnly": true});
    let mut pod = json!({
        "metadata": {"annotations": {"netting.dev/telemetry": list}},
        "spec": {
            "containers": [{"name": "app", "volumeMounts": [
                {"name": "run", "mountPath": "/var/run"},
                mount,
                {"name": "own", "mountPath": "/var/run/datadog/dsd.socket", "subPathExpr": "$(X)"},
            ]}],
            "volumes": [{"name": "datadog", "hostPath": {"path": "/var/run/datadog"}}],
        },
    });
    let args = Args::parse_from(["netting-webhook"]);
    let options = args.options().expect("the defaults agree with each other");
    let verdict = decide(&pod, &Namespace::named("shop"), &options);
    assert!(verdict.warnings.is_empty(), "{:?}", verdict.warnings);
    let Decision::Inject(Patch(operations)) = verdict.decision else {
        panic!("nothing keeps this pod from being injected");
    };
    json_patch::patch(&mut pod, &operations).expect("the patch fits");
    let containers = pod["spec"]["initContainers"]
        .as_array()
        .expect("there are some now");
    let sidecar = containers
        .iter()
        .find(|c| c["name"] == names::SIDECAR_CONTAINER);
    let mounts = sidecar.expect("it is injected")["volumeMounts"]
        .as_array()
        .cloned();
    let mounts = mounts.expect("there are some");
    assert_eq!(
        mounts.iter().filter(|other| **other == mount).count(),
        1,
        "{mounts:?}"
    );
    assert_eq!(mounts.len(), 2, "{mounts:?}");

    pod = json!({
        "metadata": {"annotations": {"netting.dev/telemetry": list}},
        "spec": {"containers": [{"name": "app"}]},
    });
    let warnings = decide(&pod, &Namespace::named("shop"), &options).warnings;
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert_eq!(
        warnings[0],
        "netting: no container mounts /var/run/datadog/dsd.socket, so no telemetry is sent there"
    );
}

#[test]
fn the_sidecar_has_all_that_its_exporters_refer_to_once() {
    let list = "otlp=http://$(HOST_IP):4317;token=$(secret:otel-creds/api.key), \
                statsd=udp://$(HOST_IP);prefix=$(POD_NAME), \
                OTEL_EXPORTER_OTLP_HEADERS=api-key=$(secret:otel-creds/header), \
                OTEL_RESOURCE_ATTRIBUTES=\"a=b,c=$(NODE_NAME)\"";
    let sidecar = injected(
        json!({"netting.dev/telemetry": list}),
        names::SIDECAR_CONTAINER,
    );
    let variables = sidecar["env"].as_array().expect("there are variables");
    let named = |name: &str| {
        let found: Vec<_> = variables.iter().filter(|v| v["name"] == name).collect();
        assert_eq!(found.len(), 1, "{name}");
        found[0]["valueFrom"].clone()
    };
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    assert_eq!(named("NETTING_HOST_IP"), field("status.hostIP"));
    assert_eq!(named("NETTING_POD_NAME"), field("metadata.name"));
    assert_eq!(
        named("NETTING_SECRET_otel-creds_api.key"),
        json!({"secretKeyRef": {"name": "otel-creds", "key": "api.key", "optional": true}})
    );
    assert_eq!(
        named("NETTING_SECRET_otel-creds_header"),
        json!({"secretKeyRef": {"name": "otel-creds", "key": "header", "optional": true}})
    );
    assert_eq!(named("NETTING_NODE_NAME"), field("spec.nodeName"));
    let told = variables.iter().find(|v| v["name"] == "NETTING_TELEMETRY");
    assert_eq!(told.map(|it| &it["value"]), Some(&json!(list)));
}

#[test]
fn the_sidecar_is_told_of_a_list_of_which_nothing_is_right() {
    let sidecar = |list: &str| {
        let asked = json!({"netting.dev/telemetry": list});
        let (sidecar, _) = injected_anyhow(asked, names::SIDECAR_CONTAINER);
        sidecar["env"]
            .as_array()
            .cloned()
            .expect("there are variables")
    };
    let value = |variables: &[Value], name: &str| {
        let found = variables.iter().find(|variable| variable["name"] == name);
        found.map(|variable| variable["value"].clone())
    };
    let list = "otlp=http://$(HOST_IP);x=y, jaeger";
    let variables = sidecar(list);
    assert_eq!(
        value(&variables, "NETTING_TELEMETRY"),
        None,
        "the default is in force"
    );
    let told = value(&variables, "NETTING_TELEMETRY_LEFT_OUT");
    assert_eq!(told, Some(json!(list)));
    let mut telemetry = Telemetry::parse("prometheus", &Rehearsal);
    telemetry.instead_of(list);
    let whys: Vec<_> = telemetry.wrong.iter().map(ToString::to_string).collect();
    assert_eq!(whys.len(), 2, "{whys:?}");
    assert!(whys[0].contains("has the option x") && whys[1].contains("is not an exporter"));
    // Of which something is right says the rest itself.
    assert_eq!(
        value(&sidecar("prometheus, jaeger"), "NETTING_TELEMETRY_LEFT_OUT"),
        None
    );
}

fn iptables_options(annotations: Value) -> netting_iptables_init::Options {
    options_of(&injected(annotations, names::INIT_CONTAINER))
}

fn options_of(container: &Value) -> netting_iptables_init::Options {
    let args = netting_iptables_init::Args::try_parse_from(command(container))
        .expect("the init container takes its arguments");
    (&args)
        .try_into()
        .expect("the init container takes their values")
}

#[test]
fn the_init_container_takes_every_list() {
    let options = iptables_options(json!({
        "netting.dev/skip-inbound-ports": "22, 8000-8010",
        "netting.dev/skip-outbound-ports": "3306",
        "netting.dev/skip-inbound-cidrs": "10.9.8.7/16,fd00::1",
        "netting.dev/skip-outbound-cidrs": "169.254.169.254",
    }));
    let rules = render(&options, Family::V4);
    for part in [
        "22",
        "8000:8010",
        "3306",
        "10.9.0.0/16",
        "169.254.169.254/32",
    ] {
        assert!(rules.contains(part), "{part} is not in\n{rules}");
    }
    let rules = render(&options, Family::V6);
    assert!(rules.contains("fd00::1/128"), "{rules}");
}

#[test]
fn the_init_container_has_our_ports_and_uid() {
    let rules = render(&iptables_options(json!({})), Family::V4);
    for number in [
        names::OUTBOUND_PORT.to_string(),
        names::INBOUND_PORT.to_string(),
        names::ADMIN_PORT.to_string(),
        names::SIDECAR_UID.to_string(),
    ] {
        assert!(rules.contains(&number), "{number} is not in\n{rules}");
    }
}

#[test]
fn the_longest_lists_are_taken_too() {
    let ports: Vec<_> = (1..=64).map(|port| (port * 7).to_string()).collect();
    let cidrs: Vec<_> = (1..=64).map(|net| format!("10.{net}.0.0/16")).collect();
    let options = iptables_options(json!({
        "netting.dev/skip-inbound-ports": ports.join(","),
        "netting.dev/skip-outbound-cidrs": cidrs.join(","),
    }));
    let rules = render(&options, Family::V4);
    assert!(rules.contains("448"), "{rules}");
    assert!(rules.contains("10.64.0.0/16"), "{rules}");
}

fn sidecar_args(annotations: Value) -> netting_sidecar::Args {
    args_of(&injected(annotations, names::SIDECAR_CONTAINER))
}

fn args_of(container: &Value) -> netting_sidecar::Args {
    let words = command(container);
    netting_sidecar::Args::try_parse_from([words, environment_as_flags(container)].concat())
        .expect("the sidecar takes its environment")
}

#[test]
fn the_sidecar_takes_its_environment() {
    let args = sidecar_args(json!({}));
    assert_eq!(
        args.catalog.to_string(),
        "netting-catalog.netting.svc:15010"
    );
    assert_eq!(args.log, "info");
    assert_eq!(args.drain_timeout.as_secs(), 88);
    assert_eq!(args.pod_name, "from-a-field");
    assert_eq!(args.pod_namespace, "from-a-field");
    assert_eq!(args.node_name, "from-a-field");
    let ports = [args.outbound_port, args.inbound_port, args.admin_port];
    assert_eq!(
        ports,
        [names::OUTBOUND_PORT, names::INBOUND_PORT, names::ADMIN_PORT]
    );
}

#[test]
fn the_sidecar_knows_how_it_runs() {
    use netting_sidecar::args::SidecarMode;
    for (name, mode) in [
        ("native", SidecarMode::Native),
        ("classic", SidecarMode::Classic),
    ] {
        let args = sidecar_args(json!({"netting.dev/sidecar-mode": name}));
        assert_eq!(args.sidecar_mode, mode);
    }
}

#[test]
fn the_sidecar_takes_what_annotations_ask_for() {
    for timeout in ["0s", "1500ms", "1m5s", "89s"] {
        let args = sidecar_args(json!({
            "netting.dev/drain-timeout": timeout,
            "netting.dev/log-level": "warn,netting_sidecar::relay=trace",
        }));
        let expected = humantime::parse_duration(timeout).expect("it is a duration");
        assert_eq!(args.drain_timeout, expected);
        assert_eq!(args.log, "warn,netting_sidecar::relay=trace");
    }
}

/// Kubernetes sets `<NAME>_PORT` and more for each Service of the namespace, in
/// every container that doesn't say otherwise.
#[test]
fn no_service_of_the_namespace_changes_a_flag() {
    let of_services = |name: &str| {
        name.ends_with("_PORT") || name.ends_with("_SERVICE_HOST") || name.contains("_PORT_")
    };
    for (container, command) in [
        (
            names::INIT_CONTAINER,
            netting_iptables_init::Args::command(),
        ),
        (names::SIDECAR_CONTAINER, netting_sidecar::Args::command()),
    ] {
        let words = self::command(&injected(json!({}), container));
        let flags = command.get_arguments().filter(|arg| {
            let name = arg.get_env().and_then(|name| name.to_str());
            name.is_some_and(of_services)
        });
        let flags: Vec<_> = flags.filter_map(|arg| arg.get_long()).collect();
        assert_eq!(flags.len(), 3, "{flags:?}");
        for flag in flags {
            let flag = format!("--{flag}=");
            assert!(
                words.iter().any(|word| word.starts_with(&flag)),
                "{container} is not told {flag}"
            );
        }
    }
}

#[test]
fn the_sidecar_takes_what_it_is_to_tell_and_what_to_leave_alone() {
    let args = sidecar_args(json!({}));
    assert_eq!(
        args.access_log.access_log,
        netting_sidecar::args::AccessLog::Off
    );
    assert_eq!(args.telemetry, "prometheus");
    assert_eq!(args.opaque_ports.to_string(), "");

    let args = sidecar_args(json!({
        "netting.dev/opaque-ports": "3306, 8000-8010",
        "netting.dev/access-log": "errors; slow=500ms; format=%{path} %{status}; to=stderr",
        "netting.dev/telemetry": "prometheus, otlp=http://$(HOST_IP):4317",
    }));
    assert_eq!(
        args.access_log.access_log,
        netting_sidecar::args::AccessLog::Errors
    );
    assert_eq!(args.telemetry, "prometheus, otlp=http://$(HOST_IP):4317");
    assert_eq!(
        args.access_log.access_log_slow,
        Some(std::time::Duration::from_millis(500))
    );
    let format = args.access_log.access_log_format;
    assert_eq!(
        format.map(|format| format.to_string()).as_deref(),
        Some("%{path} %{status}")
    );
    assert_eq!(args.access_log.access_log_to.to_string(), "stderr");
    assert_eq!(args.opaque_ports.to_string(), "3306,8000-8010");
    let args = sidecar_args(json!({"netting.dev/access-log": "all"}));
    assert_eq!(
        args.access_log.access_log,
        netting_sidecar::args::AccessLog::All
    );

    assert_eq!(args.application_metrics, None);
    let args = sidecar_args(json!({
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9080",
        "prometheus.io/path": "stats?format=prometheus",
    }));
    let application = "9080/stats?format=prometheus".parse();
    assert_eq!(args.application_metrics, application.ok());
    assert_eq!(args.metrics_path, None);
    let args = sidecar_args(json!({
        "prometheus.io/scrape": "true",
        "prometheus.io/path": "/actuator/prometheus",
    }));
    assert_eq!(args.application_metrics, None);
    assert_eq!(args.metrics_path.as_deref(), Some("/actuator/prometheus"));
}

#[test]
fn the_sidecar_takes_every_kind_of_probe() {
    let mut pod = json!({"spec": {"containers": [{
        "name": "app",
        "ports": [{"name": "http", "containerPort": 8080}],
        "livenessProbe": {"tcpSocket": {"port": "http"}, "timeoutSeconds": 3},
        "readinessProbe": {"grpc": {"port": 50051, "service": "shop.v1"}},
        "startupProbe": {"httpGet": {
            "path": "/a?b=$(c)", "port": "http", "scheme": "HTTPS",
            "httpHeaders": [{"name": "Host", "value": "app.example"}],
        }},
        "lifecycle": {"preStop": {"httpGet": {"port": 8080}}},
    }]}});
    let args = Args::parse_from(["netting-webhook", "--rewrite-http-probes"]);
    let options = args.options().expect("the defaults agree with each other");
    let verdict = decide(&pod, &Namespace::named("shop"), &options);
    assert!(verdict.warnings.is_empty(), "{:?}", verdict.warnings);
    let Decision::Inject(Patch(operations)) = verdict.decision else {
        panic!("nothing keeps this pod from being injected");
    };
    json_patch::patch(&mut pod, &operations).expect("the patch fits");
    let container = &pod["spec"]["initContainers"][1];
    let words = [command(container), environment_as_flags(container)].concat();
    let args = netting_sidecar::Args::try_parse_from(words);
    let args = args.expect("the sidecar takes its environment");
    assert!(
        args.probes.contains("/probe/app/prestop"),
        "{}",
        args.probes
    );
    args.probes
        .parse::<Probes>()
        .expect("the sidecar takes its probes");
}
