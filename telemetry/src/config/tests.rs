use std::{collections::BTreeMap, fs};

use super::*;
use crate::trace::Sampler;

/// What a pod has.
struct Pod(BTreeMap<&'static str, &'static str>);

impl Values for Pod {
    fn reference(&self, reference: &Reference) -> Option<String> {
        self.variable(&reference.variable())
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).map(|value| (*value).to_owned())
    }

    fn variables(&self) -> Vec<String> {
        let names = self.0.keys().filter(|name| name.starts_with("OTEL_"));
        names.map(|name| (*name).to_owned()).collect()
    }
}

fn parse(list: &str, variables: &[(&'static str, &'static str)]) -> Telemetry {
    Telemetry::parse(list, &Pod(variables.iter().copied().collect()))
}

fn wrong(list: &str) -> Vec<String> {
    let telemetry = parse(list, &[]);
    telemetry
        .wrong
        .iter()
        .map(|wrong| wrong.why.clone())
        .collect()
}

fn names(telemetry: &Telemetry) -> Vec<&str> {
    let names = telemetry
        .exporters
        .iter()
        .map(|exporter| exporter.name.as_str());
    names.collect()
}

fn otlp(telemetry: &Telemetry) -> &Otlp {
    match &telemetry.exporters[0].kind {
        Kind::Otlp(otlp) => otlp,
        other => panic!("expected OTLP, got {other:?}"),
    }
}

#[test]
fn what_is_wrong_is_said_in_words_that_help() {
    for (list, why) in [
        ("jaeger", "is not an exporter (prometheus, otlp,"),
        ("otlp=collector:4317", "is no URL"),
        (
            "otlp=http://c;intervall=5s",
            "has the option intervall; otlp takes interval, timeout,",
        ),
        (
            "otlp=http://c;interval=5s;interval=6s",
            "has the option interval twice",
        ),
        (
            "otlp=http://c;interval",
            "has the option interval without a value",
        ),
        (
            "otlp=http://c;interval=soon",
            "has interval=soon, which is no duration",
        ),
        ("otlp=http://c;interval=1ms", "is below 100ms"),
        ("otlp=http://c;signals=profiles", "which has profiles"),
        (
            "otlp=http://c;protocol=json",
            "is not grpc or http/protobuf",
        ),
        ("otlp-http=http://c;protocol=grpc", "write otlp for gRPC"),
        (
            "otlp=https://c;client-certificate=$(secret:a/b)",
            "$(secret:a/b) has no value",
        ),
        (
            "otlp=https://c;client-certificate=PEM",
            "one of client-certificate and client-key",
        ),
        (
            "otlp=https://c;client-key=PEM;client-certificate=PEM",
            "refer to a Secret: client-key=$(secret:NAME/KEY)",
        ),
        (
            "otlp=http://c;temporality=monotonic",
            "is not cumulative or delta or lowmemory",
        ),
        (
            "remote-write=https://a/w;temporality=delta",
            "has the option temporality",
        ),
        (
            "otlp=http://c;token=abc",
            "refer to a Secret: token=$(secret:NAME/KEY)",
        ),
        ("otlp=http://c;header.dd-api-key=abc", "refer to a Secret"),
        ("otlp=http://c;header.a b=c", "no header's name"),
        ("otlp=http://c;header.x=\"", "quotation mark"),
        ("otlp=http://$(HOST)", "$(HOST) is not HOST_IP"),
        ("otlp=http://$(HOST_IP):4317", "NETTING_HOST_IP is not set"),
        ("prometheus=http://a", "does not send"),
        (
            "prometheus;interval=1s",
            "has the option interval; prometheus takes none",
        ),
        ("statsd", "has no target; write statsd=udp://"),
        (
            "statsd=tcp://a:8125",
            "does not begin with udp:// or unix://",
        ),
        ("graphite=tcp://a;tags=dogstatsd", "is not path or graphite"),
        ("graphite=tcp://a;prefix=a/b", "letters, digits"),
        ("influxdb=http://a/write", "does not name a database"),
        (
            "influxdb=http://a/api/v2/write?org=x",
            "does not name a bucket",
        ),
        ("influxdb=http://a", "has no path"),
        (
            "remote-write=https://a/w;compression=gzip",
            "has the option compression",
        ),
        ("none=x", "takes no target"),
    ] {
        let whys = wrong(list);
        assert_eq!(whys.len(), 1, "{list}: {whys:?}");
        assert!(whys[0].contains(why), "{list}: {}", whys[0]);
    }
}

#[test]
fn everything_wrong_is_told_at_once_and_the_others_run() {
    let telemetry = parse(
        "prometheus, otlp=ftp://c;interval=x;y=z, statsd=udp://127.0.0.1:8125, nonsense",
        &[],
    );
    assert_eq!(names(&telemetry), ["prometheus", "statsd"]);
    assert_eq!(telemetry.wrong.len(), 4, "{:?}", telemetry.wrong);
}

#[test]
fn no_secret_is_in_what_is_said_to_be_wrong() {
    let telemetry = parse(
        "otlp=http://c;token=$(secret:a/b)\n",
        &[
            ("NETTING_SECRET_a_b", "se\ncret"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "secret"),
        ],
    );
    assert_eq!(telemetry.wrong.len(), 2, "{:?}", telemetry.wrong);
    for wrong in &telemetry.wrong {
        assert!(
            !wrong.why.contains("secret") && !wrong.why.contains("cret"),
            "{wrong}"
        );
    }
}

#[test]
fn a_list_with_one_of_each_is_understood() {
    let telemetry = parse(
        "prometheus, otlp=http://$(HOST_IP):4317;interval=5s, otlp-http=https://c/otlp, \
         statsd=udp://$(HOST_IP), dogstatsd=unix:///var/run/datadog/dsd.socket;tag.env=prod, \
         graphite=tcp://g;prefix=mesh., influxdb=udp://i, \
         influxdb=http://i/api/v2/write?org=o&bucket=b;token=$(secret:influx/token), \
         remote-write=https://p/api/v1/write;user=u;password=$(secret:p/w), zipkin=http://z/api/v2/spans",
        &[
            ("NETTING_HOST_IP", "fd00::1"),
            ("NETTING_SECRET_influx_token", "a,b;c=\"\n"),
            ("NETTING_SECRET_p_w", "w"),
        ],
    );
    assert_eq!(telemetry.wrong, []);
    assert_eq!(
        names(&telemetry),
        [
            "prometheus",
            "otlp",
            "otlp-2",
            "statsd",
            "dogstatsd",
            "graphite",
            "influxdb",
            "influxdb-2",
            "remote-write",
            "zipkin"
        ]
    );
    assert_eq!(telemetry.exporters[1].interval, Duration::from_secs(5));
    let metrics = otlp(&Telemetry {
        exporters: telemetry.exporters[1..].to_vec(),
        ..Telemetry::default()
    })
    .metrics
    .clone()
    .expect("it sends metrics");
    assert_eq!(metrics.http.url.authority.to_string(), "[fd00::1]:4317");
    assert_eq!(
        telemetry.exporters[4].tags,
        [("env".to_owned(), "prod".to_owned())]
    );
    let Kind::InfluxdbHttp(influxdb) = &telemetry.exporters[7].kind else {
        panic!("expected InfluxDB");
    };
    assert_eq!(influxdb.headers["authorization"], "Token a,b;c=\"");
    let Kind::RemoteWrite(remote_write) = &telemetry.exporters[8].kind else {
        panic!("expected remote write");
    };
    assert_eq!(remote_write.headers["authorization"], "Basic dTp3");
    assert_eq!(telemetry.references.len(), 3);
    assert!(!format!("{telemetry:?}").contains("a,b;c"), "{telemetry:?}");
}

#[test]
fn otlp_over_http_has_a_path_for_each_signal() {
    let telemetry = parse("otlp-http=https://c/otlp;signals=metrics+logs", &[]);
    let otlp = otlp(&telemetry);
    let url = |target: &Option<OtlpTarget>| target.as_ref().map(|to| to.http.url.to_string());
    assert_eq!(
        url(&otlp.metrics).as_deref(),
        Some("https://c:4318/otlp/v1/metrics")
    );
    assert_eq!(url(&otlp.traces), None);
    assert_eq!(
        url(&otlp.logs).as_deref(),
        Some("https://c:4318/otlp/v1/logs")
    );
}

#[test]
fn the_standard_variables_say_where_otlp_goes() {
    let telemetry = parse(
        "otlp",
        &[
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://general:4318/"),
            (
                "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
                "http://traces:1/as-it-is",
            ),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "grpc"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "x-a=b%20c, x-d = e"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "deployment.environment.name=prod,service.name=x",
            ),
            ("OTEL_SERVICE_NAME", "shop"),
        ],
    );
    assert_eq!(telemetry.wrong, []);
    assert_eq!(telemetry.exporters[0].interval, Duration::from_secs(5));
    let otlp = otlp(&telemetry);
    let metrics = otlp.metrics.as_ref().expect("metrics");
    assert_eq!(
        metrics.http.url.to_string(),
        "http://general:4318/v1/metrics"
    );
    assert_eq!(metrics.protocol, OtlpProtocol::HttpProtobuf);
    assert_eq!(metrics.http.headers["x-a"], "b c");
    assert_eq!(metrics.timeout, Duration::from_millis(2500));
    let traces = otlp.traces.as_ref().expect("traces");
    assert_eq!(traces.http.url.to_string(), "http://traces:1/as-it-is");
    let logs = otlp.logs.as_ref().expect("logs");
    assert_eq!(
        (logs.protocol, logs.http.url.authority.port),
        (OtlpProtocol::Grpc, 4318)
    );
    let resource: Vec<_> = telemetry
        .resource
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        resource,
        [
            ("deployment.environment.name", "prod"),
            ("service.name", "shop")
        ]
    );
}

#[test]
fn an_endpoint_among_the_variables_is_enough_unless_the_list_says_none() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    assert_eq!(
        names(&parse("prometheus", &[endpoint])),
        ["prometheus", "otlp"]
    );
    assert!(names(&parse("none", &[endpoint])).is_empty());
    assert_eq!(names(&parse("otlp=http://d", &[endpoint])), ["otlp"]);
    let disabled = ("OTEL_SDK_DISABLED", "true");
    assert_eq!(
        names(&parse("prometheus, otlp", &[endpoint, disabled])),
        ["prometheus"]
    );
}

#[test]
fn wrong_variables_leave_out_what_depends_on_them() {
    let bad = ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317");
    let telemetry = parse("prometheus, otlp=http://d:4317", &[bad]);
    assert_eq!(names(&telemetry), ["prometheus", "otlp"]);
    assert_eq!(telemetry.wrong.len(), 1);
    assert_eq!(names(&parse("prometheus, otlp", &[bad])), ["prometheus"]);
    let protocol = ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
    assert_eq!(names(&parse("otlp", &[protocol])), Vec::<&str>::new());
}

#[test]
fn a_variable_that_names_an_exporter_of_others_is_told_and_turns_its_signal_off() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    for (value, wrong, sent) in [
        ("otlp", false, true),
        ("none", false, false),
        ("zipkin", true, false),
        ("console, otlp", true, true),
    ] {
        let telemetry = parse("prometheus", &[endpoint, ("OTEL_TRACES_EXPORTER", value)]);
        assert_eq!(names(&telemetry), ["prometheus", "otlp"], "{value}");
        let Kind::Otlp(otlp) = &telemetry.exporters[1].kind else {
            panic!("expected OTLP");
        };
        assert_eq!(
            (otlp.metrics.is_some(), otlp.traces.is_some()),
            (true, sent)
        );
        let told = telemetry
            .wrong
            .iter()
            .any(|it| it.item == "OTEL_TRACES_EXPORTER");
        assert_eq!(told, wrong, "{value}: {:?}", telemetry.wrong);
    }
}

#[test]
fn compression_is_for_either_protocol() {
    let gzip = ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip");
    let grpc = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    for (list, variables) in [
        ("otlp", &[gzip, grpc][..]),
        ("otlp", &[gzip]),
        ("otlp=http://c;compression=gzip", &[]),
        ("otlp-http=http://c;compression=gzip", &[]),
    ] {
        let telemetry = parse(list, variables);
        assert_eq!(telemetry.wrong, []);
        let logs = otlp(&telemetry).logs.as_ref().expect("logs");
        assert!(logs.http.gzip, "{list} {variables:?}");
    }
}

#[test]
fn what_a_variable_says_of_metrics_is_for_the_listed_target_too() {
    let variables = [
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Delta"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "30000"),
    ];
    for (list, temporality) in [
        ("otlp", Temporality::Delta),
        ("otlp=http://c", Temporality::Delta),
        (
            "otlp=http://c;temporality=lowmemory",
            Temporality::LowMemory,
        ),
    ] {
        let telemetry = parse(list, &variables);
        assert_eq!(telemetry.wrong, []);
        let exporter = &telemetry.exporters[0];
        assert_eq!(exporter.temporality, temporality, "{list}");
        assert_eq!(exporter.retry_for, Some(Duration::from_secs(30)), "{list}");
    }
    let telemetry = parse("statsd=udp://a", &variables);
    assert_eq!(telemetry.exporters[0].retry_for, None);
}

#[test]
fn who_connects_is_said_by_a_pair() {
    let files = tempfile::tempdir().expect("there is room");
    let file = |name: &str| {
        let path = files.path().join(name);
        fs::write(&path, format!("{name} in PEM")).expect("it can be written");
        path.display().to_string().leak()
    };
    let chain = ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", &*file("chain"));
    let key = ("OTEL_EXPORTER_OTLP_METRICS_CLIENT_KEY", &*file("key"));
    let telemetry = parse("otlp", &[chain, key]);
    let client =
        |target: &Option<OtlpTarget>| target.as_ref().and_then(|to| to.http.client.clone());
    // The key of metrics alone is none of the other signals'.
    assert_eq!(names(&telemetry), Vec::<&str>::new());
    let whys: Vec<_> = telemetry.wrong.iter().map(ToString::to_string).collect();
    assert!(
        whys[0].contains("is of no use without OTEL_EXPORTER_OTLP_CLIENT_KEY"),
        "{whys:?}"
    );
    let key = ("OTEL_EXPORTER_OTLP_CLIENT_KEY", key.1);
    let telemetry = parse("otlp", &[chain, key]);
    assert_eq!(telemetry.wrong, []);
    let expected = ClientCertificate {
        chain: "chain in PEM".to_owned(),
        key: Secret::new("key in PEM".to_owned()),
    };
    assert_eq!(client(&otlp(&telemetry).traces), Some(expected));
    let listed =
        "otlp=https://c;client-certificate=$(secret:a/tls.crt);client-key=$(secret:a/tls.key)";
    let secrets = [
        ("NETTING_SECRET_a_tls.crt", "chain"),
        ("NETTING_SECRET_a_tls.key", "s3cret"),
    ];
    let telemetry = parse(listed, &secrets);
    assert_eq!(telemetry.wrong, []);
    assert!(client(&otlp(&telemetry).metrics).is_some());
    assert!(
        !format!("{telemetry:?}").contains("s3cret"),
        "{telemetry:?}"
    );
}

#[test]
fn a_variable_that_is_not_honoured_is_told_once() {
    let set = [
        ("OTEL_BSP_MAX_QUEUE_SIZE", "1"),
        ("OTEL_EXPORTER_OTLP_INSECURE", "true"),
        ("OTEL_PROPAGATORS", "jaeger,b3"),
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_SERVICE_NAME", "web"),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "raw"),
        ("NETTING_TELEMETRY", "prometheus"),
    ];
    let telemetry = parse("prometheus, otlp=http://c", &set);
    let told = telemetry.wrong.iter().map(|wrong| wrong.item.as_str());
    let expected = [
        "OTEL_BSP_MAX_QUEUE_SIZE",
        "OTEL_EXPORTER_OTLP_INSECURE",
        "OTEL_SDK_DISABLED",
        "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE",
        "OTEL_PROPAGATORS",
    ];
    assert_eq!(told.collect::<Vec<_>>(), expected);
    assert_eq!(
        names(&telemetry),
        ["prometheus", "otlp"],
        "none of it is needed"
    );
    assert_eq!(telemetry.propagators, Propagators::parse("b3").0);
}

#[test]
fn variables_in_the_list_go_over_those_of_the_environment() {
    let telemetry = parse(
        "prometheus, OTEL_EXPORTER_OTLP_ENDPOINT=http://$(HOST_IP):4318, OTEL_SERVICE_NAME=web, \
         OTEL_EXPORTER_OTLP_HEADERS=\"x-team=a%20b,api-key=$(secret:otlp/key)\", \
         OTEL_EXPORTER_OTLP_CERTIFICATE=$(secret:otlp/ca.crt), OTEL_METRICS_EXPORTER=, \
         OTEL_RESOURCE_ATTRIBUTES=\"a=b,c=$(POD_NAME)\"",
        &[
            ("NETTING_HOST_IP", "10.0.0.1"),
            ("NETTING_POD_NAME", "web-1"),
            ("NETTING_SECRET_otlp_key", "a,b=%2Fc\n"),
            ("NETTING_SECRET_otlp_ca.crt", "-----BEGIN"),
            ("OTEL_SERVICE_NAME", "other"),
            ("OTEL_METRICS_EXPORTER", "none"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500"),
        ],
    );
    assert_eq!(telemetry.wrong, []);
    assert_eq!(names(&telemetry), ["prometheus", "otlp"]);
    let Kind::Otlp(otlp) = &telemetry.exporters[1].kind else {
        panic!("expected OTLP");
    };
    // An empty one is none, as the specification has it.
    let metrics = otlp.metrics.as_ref().expect("metrics are sent");
    assert_eq!(metrics.http.url.authority.to_string(), "10.0.0.1:4318");
    assert_eq!(metrics.timeout, Duration::from_millis(2500));
    assert_eq!(metrics.http.headers["x-team"], "a b");
    assert_eq!(metrics.http.headers["api-key"], "a,b=%2Fc");
    assert_eq!(metrics.http.ca.as_deref(), Some("-----BEGIN"));
    let resource = [("a", "b"), ("c", "web-1"), ("service.name", "web")];
    let resource = resource.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(telemetry.resource, resource);
    let variables: Vec<_> = telemetry
        .references
        .iter()
        .map(Reference::variable)
        .collect();
    assert_eq!(
        variables,
        [
            "NETTING_POD_NAME",
            "NETTING_HOST_IP",
            "NETTING_SECRET_otlp_key",
            "NETTING_SECRET_otlp_ca.crt"
        ]
    );
    assert!(!format!("{telemetry:?}").contains("%2Fc"), "{telemetry:?}");
}

#[test]
fn variables_in_the_list_are_refused_by_their_names() {
    for (item, why) in [
        (
            "OTEL_LOG_LEVEL=debug",
            "is none of the variables that are read",
        ),
        ("OTEL_EXPORTER_OTLP_SPANS_ENDPOINT=http://c", "is none of"),
        ("OTEL_SERVICE_NAME", "has no value"),
        ("OTEL_SERVICE_NAME=a;b=c", "takes no options"),
        ("OTEL_SERVICE_NAME=\"a", "quotation mark"),
        ("OTEL_SERVICE_NAME=$(HOST)", "is not complete"),
        ("OTEL_SERVICE_NAME=a, OTEL_SERVICE_NAME=b", "is there twice"),
        (
            "OTEL_EXPORTER_OTLP_HEADERS=api-key=s3cret",
            "refer to a Secret: api-key=$(secret:NAME/KEY)",
        ),
        ("OTEL_EXPORTER_OTLP_HEADERS=a b=c", "has no header in a b"),
        (
            "OTEL_EXPORTER_OTLP_CERTIFICATE=/etc/ca.crt",
            "refer to a Secret: $(secret:NAME/KEY)",
        ),
        ("OTEL_EXPORTER_OTLP_ENDPOINT=collector:4317", "is no URL"),
        ("metrics;series-max=1, metrics", "is there twice"),
    ] {
        let telemetry = parse(&format!("prometheus, {item}"), &[]);
        assert_eq!(telemetry.wrong.len(), 1, "{item}: {:?}", telemetry.wrong);
        let wrong = telemetry.wrong[0].to_string();
        assert!(wrong.contains(why) && !wrong.contains("s3cret"), "{wrong}");
        assert_eq!(names(&telemetry), ["prometheus"], "{item}");
    }
}

#[test]
fn the_lists_sampler_goes_over_the_environments() {
    let environment = Pod([("OTEL_TRACES_SAMPLER", "parentbased_always_off")].into());
    let sampled = |list: &str| {
        let mut telemetry = Telemetry::parse(list, &environment);
        let sampler = Sampler::configured(None, &mut telemetry, &environment);
        assert_eq!(telemetry.wrong, []);
        sampler
    };
    let ratio = |ratio: &str| Sampler::ratio(ratio.parse().expect("it is a ratio"));
    assert_eq!(sampled("otlp"), ratio("0"));
    assert_eq!(
        sampled("otlp, OTEL_TRACES_SAMPLER=parentbased_traceidratio, OTEL_TRACES_SAMPLER_ARG=0.5"),
        ratio("0.5")
    );
}

#[test]
fn otlp_alone_goes_to_the_node_of_the_specification() {
    let telemetry = parse("otlp", &[]);
    let metrics = otlp(&telemetry).metrics.as_ref().expect("metrics");
    assert_eq!(
        metrics.http.url.to_string(),
        "http://localhost:4318/v1/metrics"
    );
}

#[test]
fn a_rehearsal_needs_no_pod() {
    let list = "otlp=http://$(HOST_IP):4317;token=$(secret:a/b), \
                OTEL_EXPORTER_OTLP_CERTIFICATE=$(secret:a/ca.crt), \
                OTEL_EXPORTER_OTLP_HEADERS=api-key=$(secret:a/key)";
    let telemetry = Telemetry::parse(list, &Rehearsal);
    assert_eq!(telemetry.wrong, []);
    assert_eq!(telemetry.references.len(), 4);
}

#[test]
fn what_the_documentation_shows_is_understood() {
    let documentation = include_str!("../../../docs/telemetry.md");
    let mut lines = documentation.lines();
    let mut lists = Vec::new();
    while let Some(line) = lines.next() {
        match line.split_once("netting.dev/telemetry: ") {
            Some((_, ">-")) => {
                let block = lines.by_ref().take_while(|line| *line != "```");
                lists.push(block.map(str::trim).collect::<Vec<_>>().join(" "));
            }
            Some((_, list)) if !list.starts_with('`') => lists.push(list.to_owned()),
            _ => {}
        }
    }
    assert!(lists.len() > 15, "{}", lists.len());
    for list in lists {
        let telemetry = Telemetry::parse(&list, &Rehearsal);
        assert_eq!(telemetry.wrong, [], "{list}");
        assert!(!telemetry.exporters.is_empty(), "{list}");
    }
}

#[test]
fn no_series_is_idle_before_the_slowest_exporter_has_looked_twice() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (list, expected) in [
        ("prometheus", 15),
        ("prometheus, metrics;idle=1m", 1),
        (
            "prometheus, zipkin=http://a:9411/api/v2/spans, metrics;idle=1m",
            1,
        ),
        (
            "otlp=http://a:4317;signals=traces;interval=1h, metrics;idle=1m",
            1,
        ),
        ("prometheus, otlp=http://a:4317;interval=30m", 60),
        (
            "otlp=http://a:4317;interval=7m, statsd=udp://a:8125;interval=10m",
            20,
        ),
        ("otlp=http://a:4317;interval=30m, metrics;idle=2h", 120),
    ] {
        let telemetry = parse(list, &[]);
        assert_eq!(telemetry.wrong, [], "{list}");
        let settings = telemetry.settings(Settings::default());
        assert_eq!(settings.idle_after, minutes(expected), "{list}");
    }
}
