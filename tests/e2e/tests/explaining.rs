//! What `netting explain` says, held to what happens.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kube::{Api, ResourceExt as _, api::PostParams};
use netting_e2e::{
    App, Meshed, Namespace,
    apps::PORT,
    cli::netting,
    mesh::Part,
    observe::{eventually, is_injected, pod_get, pod_put},
};
use serde_json::{Value, json};

/// Where the first of the client's load generators tells its counts; the others follow.
const STATS_PORTS: u16 = 9100;

async fn explain(meshed: &Meshed, args: &[&str]) -> anyhow::Result<Value> {
    let args: Vec<&str> = [&["explain"], args, &["-o", "json"]].concat();
    let said = netting(&meshed.cluster, &args).await?.well()?;
    serde_json::from_str(&said.stdout).with_context(|| format!("{said:#?}"))
}

/// What `explain` says of a pod: the reason.
async fn why(meshed: &Meshed, namespace: &Namespace, pod: &str) -> anyhow::Result<String> {
    let explained = explain(meshed, &["pod", "-n", namespace.name(), pod]).await?;
    let reason = explained["reason"].as_str();
    Ok(reason.with_context(|| format!("{explained:#}"))?.to_owned())
}

#[tokio::test]
async fn explain_knows_why_each_pod_has_a_sidecar_or_none() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let plain = Namespace::create(&meshed.cluster, false).await?;
    let sleep = |name: &str| App::new(name, "sleep");
    let other_mesh = json!({"initContainers": [{
        "name": "linkerd-init",
        "image": meshed.cluster.test_image(),
        "command": ["/netting/netting-test-app", "once"],
    }]});
    for (namespace, app, reason) in [
        (&meshed.namespace, sleep("injected"), "requested"),
        (
            &meshed.namespace,
            sleep("opted-out").annotation("netting.dev/inject", "disabled"),
            "opted_out_by_annotation",
        ),
        (
            &plain,
            sleep("by-label").label("netting.dev/inject", "enabled"),
            "requested",
        ),
        (&plain, sleep("not-asked"), "not_asked_for"),
        (
            &meshed.namespace,
            sleep("host").pod_spec(json!({"hostNetwork": true})),
            "host_network",
        ),
        (
            &meshed.namespace,
            sleep("other").pod_spec(other_mesh),
            "other_mesh",
        ),
    ] {
        let pod = namespace.pod(&app).await?;
        let said = why(&meshed, namespace, &pod.name_any()).await?;
        ensure!(said == reason, "{}: {said}, not {reason}", pod.name_any());
        ensure!(is_injected(&pod) == (reason == "requested"), "{pod:#?}");
    }
    plain.delete().await?;
    meshed.end().await
}

/// A connection that `explain` is asked about, and that the client makes over and over.
struct Connection {
    /// As the command is asked.
    target: String,
    /// As the client asks.
    url: String,
    /// The reason that is told.
    reason: &'static str,
    /// What the verdict has in it.
    says: &'static str,
    /// The pods that answer; `None` if that is the cluster's to say.
    answer: Option<BTreeSet<String>>,
}

impl Connection {
    fn to_service(
        name: &str,
        port: u16,
        namespace: &Namespace,
        told: (&'static str, &'static str),
    ) -> Self {
        let url = format!("http://{}:{port}/", namespace.host(name));
        Self {
            target: format!("{name}:{port}"),
            url,
            reason: told.0,
            says: told.1,
            answer: None,
        }
    }

    fn to_address(address: &str, told: (&'static str, &'static str)) -> Self {
        Self {
            target: address.to_owned(),
            url: format!("http://{address}/"),
            reason: told.0,
            says: told.1,
            answer: None,
        }
    }

    fn answered_by(self, pods: &[&str]) -> Self {
        let pods = pods.iter().map(|pod| (*pod).to_owned());
        Self {
            answer: Some(pods.collect()),
            ..self
        }
    }
}

/// The pods that the connections are made to.
struct Servers {
    /// With sidecars, behind several services.
    echo: [Pod; 2],
    /// Without.
    plain: Pod,
    /// Without, in an address range that the client's rules leave alone.
    skipped: Pod,
}

impl Servers {
    async fn start(meshed: &Meshed) -> anyhow::Result<Self> {
        let namespace = &meshed.namespace;
        let echo = meshed.echo(2).await?;
        let behind = |port: u16| {
            let ports = json!([{"name": "other", "port": port, "targetPort": PORT}]);
            json!({"selector": {"app": "echo"}, "ports": ports})
        };
        namespace.service("opaque", behind(5432)).await?;
        namespace.service("database", behind(3306)).await?;
        namespace.service("nobody", json!({})).await?;
        let local = json!({"selector": null, "internalTrafficPolicy": "Local"});
        namespace.service("here", local.clone()).await?;
        namespace.service("elsewhere", local).await?;
        let without = |name: &str| App::echo(name).annotation("netting.dev/inject", "disabled");
        for name in ["plain", "skipped"] {
            namespace.pod(&without(name)).await?;
        }
        let echo: [Pod; 2] = echo.try_into().ok().context("there are two")?;
        let (here, [one, other]) = (node(&echo[0])?, &echo);
        endpoints(namespace, "here", &[(one, here), (other, "elsewhere")]).await?;
        endpoints(namespace, "elsewhere", &[(other, "elsewhere")]).await?;
        Ok(Self {
            echo,
            plain: namespace.until_ready("plain").await?,
            skipped: namespace.until_ready("skipped").await?,
        })
    }
}

fn ip(pod: &Pod) -> anyhow::Result<IpAddr> {
    let ip = pod
        .status
        .as_ref()
        .and_then(|status| status.pod_ip.as_ref());
    Ok(ip.context("the pod has an address")?.parse()?)
}

fn node(pod: &Pod) -> anyhow::Result<&str> {
    let spec = pod.spec.as_ref();
    let node = spec.and_then(|spec| spec.node_name.as_deref());
    node.context("the pod is on a node")
}

fn at(pod: &Pod, port: u16) -> anyhow::Result<String> {
    Ok(SocketAddr::new(ip(pod)?, port).to_string())
}

/// Says that these pods are a service's endpoints, each on that node.
async fn endpoints(
    namespace: &Namespace,
    service: &str,
    all: &[(&Pod, &str)],
) -> anyhow::Result<()> {
    let mut endpoints = Vec::new();
    for (pod, node) in all {
        endpoints.push(
            json!({"addresses": [ip(pod)?], "conditions": {"ready": true}, "nodeName": node}),
        );
    }
    let family = if ip(all[0].0)?.is_ipv4() {
        "IPv4"
    } else {
        "IPv6"
    };
    let slice: EndpointSlice = serde_json::from_value(json!({
        "metadata": {"name": service, "labels": {"kubernetes.io/service-name": service}},
        "addressType": family,
        "ports": [{"name": "http", "port": PORT}],
        "endpoints": endpoints,
    }))?;
    namespace
        .api()
        .create(&PostParams::default(), &slice)
        .await?;
    Ok(())
}

/// A pod that is a server, and makes each of these connections in a container of its own.
async fn client(meshed: &Meshed, servers: &Servers, urls: &[String]) -> anyhow::Result<Pod> {
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    let container = |name: &str, args: &str| {
        let command: Vec<&str> = ["/netting/netting-test-app"]
            .into_iter()
            .chain(args.split(' '))
            .collect();
        json!({
            "name": name,
            "image": meshed.cluster.test_image(),
            "command": command,
            "env": [field("POD_NAME", "metadata.name"), field("POD_IP", "status.podIP")],
        })
    };
    let mut containers = vec![container("app", &format!("http --port {PORT}"))];
    for (port, url) in (STATS_PORTS..).zip(urls) {
        let load = format!(
            "load --url {url} --rate 5 --duration 0 --new-connection-per-request --stats-port {port}"
        );
        containers.push(container(&format!("load-{port}"), &load));
    }
    let app = App::new("client", "")
        .annotation("netting.dev/skip-outbound-ports", "3306")
        .annotation(
            "netting.dev/skip-outbound-cidrs",
            &ip(&servers.skipped)?.to_string(),
        )
        .annotation("netting.dev/opaque-ports", "5432")
        .pod_spec(json!({"containers": containers, "nodeName": node(&servers.echo[0])?}));
    meshed.namespace.pod(&app).await?;
    meshed.namespace.until_ready("client").await
}

/// Who has answered the load generator at that port.
async fn answered(meshed: &Meshed, client: &Pod, port: u16) -> anyhow::Result<BTreeSet<String>> {
    let stats = pod_get(meshed.namespace.client(), client, port, "stats").await?;
    let stats: Value = serde_json::from_str(&stats)?;
    ensure!(stats["sent"].as_u64() > Some(5), "it has begun: {stats}");
    let by_pod = stats["by_pod"].as_object().context("it counts pods")?;
    Ok(by_pod.keys().cloned().collect())
}

/// Whether the client's sidecar treats connections to an address as the reason says.
async fn is_so(meshed: &Meshed, client: &Pod, to: &str, reason: &str) -> anyhow::Result<bool> {
    let config = meshed.config(client).await?;
    let held = config["destinations"].as_array().context("it lists them")?;
    let held = held.iter().find(|held| held["address"] == to);
    let metrics = meshed.sidecar_metrics(client).await?;
    let counted = |what: &str| {
        let series = format!(
            "netting_tcp_connections_{what}_total{{direction=\"outbound\",reason=\"{reason}\"}} "
        );
        let mut counts = metrics
            .lines()
            .filter_map(|line| line.strip_prefix(&series));
        counts.any(|count| count != "0")
    };
    Ok(match reason {
        "loopback" | "skipped_port" | "skipped_cidr" => held.is_none(),
        "own_port" => counted("refused"),
        "balanced" => held.is_some_and(|held| {
            let endpoints = held["endpoints"].as_array().into_iter().flatten();
            // A request may go over a connection that was made for another service.
            let mut sent = endpoints.flat_map(|one| {
                ["connections_total", "requests_total"].map(|count| one[count].as_u64())
            });
            sent.any(|sent| sent > Some(0))
        }),
        _ => counted("passed_through"),
    })
}

/// The address that a connection is to, as the sidecar would hold it.
async fn address(meshed: &Meshed, connection: &Connection) -> anyhow::Result<String> {
    if connection.target.parse::<SocketAddr>().is_ok() {
        return Ok(connection.target.clone());
    }
    let (name, port) = connection.target.split_once(':').context("it has a port")?;
    let services: Api<Service> = meshed.namespace.api();
    let service = services.get(name).await?;
    let ip = service.spec.and_then(|spec| spec.cluster_ip);
    let ip: IpAddr = ip.context("it has an address")?.parse()?;
    Ok(SocketAddr::new(ip, port.parse()?).to_string())
}

/// The connections, but for those to the client itself, whose address nobody knows yet.
fn to_others(servers: &Servers, namespace: &Namespace) -> anyhow::Result<Vec<Connection>> {
    let to = |name, port, told| Connection::to_service(name, port, namespace, told);
    let [one, other] = servers.echo.each_ref().map(|pod| pod.name_any());
    let both: [&str; 2] = [&one, &other];
    let (through, directly) = ("passes it through", "directly");
    Ok(vec![
        to(
            "echo",
            80,
            ("balanced", "of 2 endpoints one is chosen for each request"),
        )
        .answered_by(&both),
        to("opaque", 5432, ("balanced", "for each connection:")).answered_by(&both),
        to("here", 80, ("balanced", "the one endpoint")).answered_by(&[&one]),
        to("elsewhere", 80, ("no_endpoints", through)),
        to("nobody", 80, ("no_endpoints", through)).answered_by(&[]),
        to("database", 3306, ("skipped_port", directly)).answered_by(&both),
        Connection::to_address(
            &at(&servers.echo[1], PORT)?,
            ("balanced", "the one endpoint"),
        )
        .answered_by(&[&other]),
        Connection::to_address(&at(&servers.plain, PORT)?, ("unknown_address", through))
            .answered_by(&["plain"]),
        Connection::to_address(&at(&servers.skipped, PORT)?, ("skipped_cidr", directly))
            .answered_by(&["skipped"]),
        Connection::to_address(&format!("127.0.0.1:{PORT}"), ("loopback", directly))
            .answered_by(&["client"]),
    ])
}

#[tokio::test]
async fn each_connection_goes_where_explain_says() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    let servers = Box::pin(Servers::start(&meshed)).await?;
    let mut all = to_others(&servers, namespace)?;
    let mut urls: Vec<String> = all.iter().map(|one| one.url.clone()).collect();
    urls.extend([PORT, 15020].map(|port| format!("http://$(POD_IP):{port}/")));
    urls.push(format!("http://{}/", namespace.host("late")));
    let client = client(&meshed, &servers, &urls).await?;
    let own = |port, told| anyhow::Ok(Connection::to_address(&at(&client, port)?, told));
    all.push(own(PORT, ("own_address", "passes it through"))?.answered_by(&["client"]));
    all.push(own(15020, ("own_port", "refuses"))?.answered_by(&[]));

    let from = format!("{}/client", namespace.name());
    for (port, connection) in (STATS_PORTS..).zip(&all) {
        let Connection {
            target,
            reason,
            says,
            answer,
            ..
        } = connection;
        let to = address(&meshed, connection).await?;
        eventually(&format!("{target} is treated so: {reason}"), async || {
            is_so(&meshed, &client, &to, reason).await
        })
        .await?;
        if let Some(answer) = answer {
            // Connections before the catalog's first answer were passed through.
            pod_put(namespace.client(), &client, port, "reset").await?;
            eventually(&format!("{target} is answered by {answer:?}"), async || {
                let answered = answered(&meshed, &client, port).await?;
                ensure!(answered == *answer, "{answered:?}");
                Ok(true)
            })
            .await?;
        }
        let explained = explain(&meshed, &["connection", &from, target]).await?;
        ensure!(explained["reason"] == *reason, "{target}: {explained:#}");
        let verdict = explained["verdict"].as_str().unwrap_or_default();
        ensure!(verdict.contains(says), "{target}: {explained:#}");
    }

    meshed.mesh.stop(Part::Catalog).await?;
    let behind = json!({"selector": {"app": "echo"}});
    namespace.service("late", behind).await?;
    let late = Connection::to_service("late", 80, namespace, ("catalog_unavailable", ""));
    let to = address(&meshed, &late).await?;
    eventually(
        "what nobody can say any more is passed through",
        async || is_so(&meshed, &client, &to, late.reason).await,
    )
    .await?;
    let explained = explain(&meshed, &["connection", &from, &late.target]).await?;
    ensure!(explained["reason"] == late.reason, "{explained:#}");
    meshed.mesh.start(Part::Catalog).await?;
    meshed.end().await
}

#[tokio::test]
async fn what_no_sidecar_holds_is_told_as_one_would_hold_it() -> anyhow::Result<()> {
    let meshed = Meshed::start().await?;
    let namespace = &meshed.namespace;
    let servers = Box::pin(Servers::start(&meshed)).await?;
    let asks = &servers.echo[0];
    let from = format!("{}/{}", namespace.name(), asks.name_any());
    for (from, target, reason, says) in [
        (
            from.as_str(),
            "echo:80",
            "not_used_lately",
            "over 2 endpoints",
        ),
        (&from, "here:80", "not_used_lately", "over 1 endpoint"),
        (&from, "elsewhere:80", "no_endpoints", "passes it through"),
        (
            &from,
            "192.0.2.1:80",
            "unknown_address",
            "passes it through",
        ),
        (
            "plain",
            "echo:80",
            "no_sidecar",
            "as it would without Netting",
        ),
    ] {
        let args = ["connection", "-n", namespace.name(), from, target];
        // The catalog hears of endpoints as soon as it does.
        eventually(&format!("{target} is explained so: {reason}"), async || {
            let explained = explain(&meshed, &args).await?;
            ensure!(explained["reason"] == reason, "{target}: {explained:#}");
            let verdict = explained["verdict"].as_str().unwrap_or_default();
            ensure!(verdict.contains(says), "{target}: {explained:#}");
            Ok(true)
        })
        .await?;
    }
    let alias = json!({"selector": null, "type": "ExternalName", "externalName": "example.org"});
    namespace.service("alias", alias).await?;
    for (service, reason) in [
        ("echo", "balanced"),
        ("nobody", "no_endpoints"),
        ("alias", "external_name"),
    ] {
        let name = format!("{service}.{}", namespace.name());
        let explained = explain(&meshed, &["service", &name]).await?;
        ensure!(explained["reason"] == reason, "{explained:#}");
    }
    let unknown = netting(&meshed.cluster, &["explain", "pod", "nobody"]).await?;
    unknown.refused(1, "\"nobody\" not found")?;
    meshed.end().await
}
