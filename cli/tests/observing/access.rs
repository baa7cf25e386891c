//! The way to a cluster: contexts, credentials, proxies, as kubectl has them.

mod api;
mod proxies;

use std::{
    path::{Path, PathBuf},
    slice,
};

use api::{Api, HOST, Knows};
use proxies::{Kind, Proxy};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::command::{self, Said};

/// A directory with what a person has there.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).expect("it can be written");
        path
    }

    /// A kubeconfig of one cluster, which `me` reaches by the context `shop`.
    fn kubeconfig(&self, cluster: &Value, me: &Value) -> PathBuf {
        let shop = json!({"name": "shop", "context":
            {"cluster": cluster["name"], "user": "me", "namespace": "bakery"}});
        let text = config(slice::from_ref(cluster), &[shop], me).to_string();
        self.write("config", &text)
    }

    /// The same for an API server that knows the token `t1`, under the URL `server`.
    fn with_token(&self, api: &Api, server: &str) -> PathBuf {
        self.kubeconfig(&api.cluster("shop", server), &json!({"token": "t1"}))
    }
}

fn config(clusters: &[Value], contexts: &[Value], me: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Config", "current-context": contexts[0]["name"],
        "clusters": clusters, "contexts": contexts, "users": [{"name": "me", "user": me}]})
}

/// Asks for a pod of the context's namespace, in an environment of its own.
fn ask(variables: &[(&str, &str)]) -> Command {
    let mut command = command::command();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env_remove("KUBERNETES_SERVICE_HOST");
    command.envs(variables.iter().copied());
    command.args(["config", "web-1"]);
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path is text")
}

/// The API server, which refuses, was reached as `who` and asked for the namespace's pod.
fn reached(said: &Said, who: &str, namespace: &str) {
    let refusal = format!("{who} at /api/v1/namespaces/{namespace}/pods/web-1");
    ended_with_2(said, &refusal);
}

fn ended_with_2(said: &Said, says: &str) {
    assert_eq!(said.code, Some(2), "{said:#?}");
    assert!(said.stderr.contains(says), "{says}: {said:#?}");
    assert!(!said.stderr.contains("secret"), "{said:#?}");
}

#[tokio::test]
async fn another_context_has_its_own_cluster_and_namespace() {
    let api = Api::serve(Knows::Token("t1")).await;
    let dead = json!({"name": "dead", "cluster": {"server": "https://127.0.0.1:1"}});
    let contexts = [
        json!({"name": "dead", "context": {"cluster": "dead", "user": "me", "namespace": "grave"}}),
        json!({"name": "shop", "context": {"cluster": "shop", "user": "me", "namespace": "bakery"}}),
        json!({"name": "plain", "context": {"cluster": "shop", "user": "me"}}),
    ];
    let clusters = [dead, api.cluster("shop", &api.url())];
    let home = Home::new();
    let text_of = config(&clusters, &contexts, &json!({"token": "t1"})).to_string();
    let kubeconfig = home.write("config", &text_of);
    let given = [("KUBECONFIG", text(&kubeconfig))];

    let current = command::run(&mut ask(&given)).await;
    ended_with_2(
        &current,
        "https://127.0.0.1:1/ does not answer; is the cluster up",
    );
    let shop = command::run(ask(&given).args(["--context", "shop"])).await;
    reached(&shop, "t1", "bakery");
    let plain = command::run(ask(&given).args(["--context", "plain"])).await;
    reached(&plain, "t1", "default");
    let flag = command::run(ask(&given).args(["--context", "shop", "-n", "front"])).await;
    reached(&flag, "t1", "front");
}

#[tokio::test]
async fn kubeconfig_is_a_list_of_files_of_which_some_may_be_missing() {
    let api = Api::serve(Knows::Token("t1")).await;
    let home = Home::new();
    // The context in one file, what it names in another.
    let shop = json!({"name": "shop", "context":
        {"cluster": "shop", "user": "me", "namespace": "bakery"}});
    let contexts = json!({"apiVersion": "v1", "kind": "Config", "current-context": "shop",
        "contexts": [shop]});
    let contexts = home.write("contexts", &contexts.to_string());
    let rest = json!({"apiVersion": "v1", "kind": "Config", "current-context": "",
        "clusters": [api.cluster("shop", &api.url())],
        "users": [{"name": "me", "user": {"token": "t1"}}]});
    let rest = home.write("rest", &rest.to_string());
    let missing = home.0.path().join("not-there");

    for files in [[&missing, &rest, &contexts], [&contexts, &rest, &missing]] {
        let files = files.map(|file| text(file)).join(":");
        let said = command::run(&mut ask(&[("KUBECONFIG", &files)])).await;
        reached(&said, "t1", "bakery");
    }
    let none = format!("{}:{0}", text(&missing));
    let said = command::run(&mut ask(&[("KUBECONFIG", &none)])).await;
    ended_with_2(
        &said,
        &format!(
            "no kubeconfig at {0}, {0}, and this is no pod",
            text(&missing)
        ),
    );
}

#[tokio::test]
async fn a_program_makes_the_credentials() {
    let api = Api::serve(Knows::Token("t2")).await;
    let home = Home::new();
    let credential = json!({"kind": "ExecCredential", "status": {"token": "t2"},
        "apiVersion": "client.authentication.k8s.io/v1"});
    let credential = home.write("credential.json", &credential.to_string());
    let exec = |command: &str, argument: &str| {
        json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": command,
            "args": [argument], "interactiveMode": "Never",
            "env": [{"name": "PLUGIN_KEY", "value": "secret"}]}})
    };
    let cluster = api.cluster("shop", &api.url());
    let run = async |user: Value| {
        let kubeconfig = home.kubeconfig(&cluster, &user);
        command::run(&mut ask(&[("KUBECONFIG", text(&kubeconfig))])).await
    };

    reached(&run(exec("cat", text(&credential))).await, "t2", "bakery");
    let failing = run(exec("cat", "/nowhere/credential")).await;
    ended_with_2(
        &failing,
        "the credentials of the kubeconfig can't be used: the program that makes them ended with exit status: 1",
    );
    let missing = run(exec("/nowhere/plugin", "")).await;
    ended_with_2(&missing, "can't be used: No such file or directory");
    let nonsense = run(exec("echo", "hello")).await;
    ended_with_2(&nonsense, "the credentials of the kubeconfig can't be used");
    let another = home.write("other.json", r#"{"status": {"token": "t3"}}"#);
    ended_with_2(
        &run(exec("cat", text(&another))).await,
        "does not accept these credentials (who are you?)",
    );
}

#[tokio::test]
async fn a_token_that_kubectl_would_renew_is_told_to_be_renewed_by_it() {
    let api = Api::serve(Knows::Token("t1")).await;
    let home = Home::new();
    let cluster = api.cluster("shop", &api.url());
    let run = async |name: &str, tokens: Value| {
        let user = json!({"auth-provider": {"name": name, "config": tokens}});
        let kubeconfig = home.kubeconfig(&cluster, &user);
        command::run(&mut ask(&[("KUBECONFIG", text(&kubeconfig))])).await
    };

    let fresh = json!({"id-token": "t1", "refresh-token": "secret"});
    reached(&run("oidc", fresh).await, "t1", "bakery");
    let stale = json!({"id-token": "t0", "refresh-token": "secret"});
    let stale = run("oidc", stale).await;
    ended_with_2(&stale, "can't be used (who are you?)");
    let none = run("oidc", json!({"refresh-token": "secret"})).await;
    ended_with_2(&none, "No id-token");
    for said in [stale, none] {
        ended_with_2(&said, "any kubectl command renews it");
    }
    // Nor does kubectl itself know others any more.
    let gone = run("azure", json!({"access-token": "secret"})).await;
    ended_with_2(&gone, "use https://github.com/Azure/kubelogin instead");
}

#[tokio::test]
async fn a_client_certificate_says_who_asks() {
    let api = Api::serve(Knows::Certificate).await;
    let home = Home::new();
    let cluster = api.cluster("shop", &api.url());
    let certificate = api.client.cert.pem();
    home.write("me.crt", &certificate);
    home.write("me.key", &api.client.signing_key.serialize_pem());
    // Beside the kubeconfig, as minikube has them.
    let files = json!({"client-certificate": "me.crt", "client-key": "me.key"});
    let kubeconfig = home.kubeconfig(&cluster, &files);
    let said = command::run(&mut ask(&[("KUBECONFIG", text(&kubeconfig))])).await;
    reached(&said, "certificate", "bakery");

    let none = home.kubeconfig(&cluster, &json!({"token": "t1"}));
    let said = command::run(&mut ask(&[("KUBECONFIG", text(&none))])).await;
    ended_with_2(&said, "does not answer");
    let half = home.kubeconfig(&cluster, &json!({"client-certificate": "me.crt"}));
    let said = command::run(&mut ask(&[("KUBECONFIG", text(&half))])).await;
    ended_with_2(&said, "the credentials of the kubeconfig can't be used");
}

#[tokio::test]
async fn the_api_server_is_asked_by_the_environments_proxy() {
    let api = Api::serve(Knows::Token("t1")).await;
    let proxy = Proxy::serve(Kind::Http("200 OK"), api.address).await;
    let home = Home::new();
    let server = format!("https://{HOST}:6443");
    let kubeconfig = home.with_token(&api, &server);
    let url = format!("http://me:secret@{}", proxy.address);
    let mut variables = vec![("KUBECONFIG", text(&kubeconfig)), ("HTTPS_PROXY", &url)];
    // What Go's programs pass over in this list is no fault.
    variables.push(("NO_PROXY", "localhost,,10.0.0.0/8,"));

    reached(&command::run(&mut ask(&variables)).await, "t1", "bakery");
    let asked = format!("CONNECT {HOST}:6443 HTTP/1.1 Proxy-Authorization: Basic bWU6c2VjcmV0");
    assert_eq!(proxy.asked(), [asked]);

    // Nobody can resolve the name without the proxy.
    variables.push(("NO_PROXY", ".shop.test"));
    let direct = command::run(&mut ask(&variables)).await;
    ended_with_2(
        &direct,
        &format!("{server}/ does not answer; is the cluster up"),
    );
    assert_eq!(proxy.asked().len(), 1);
}

#[tokio::test]
async fn a_server_of_this_machine_is_asked_without_the_environments_proxy() {
    let api = Api::serve(Knows::Token("t1")).await;
    let home = Home::new();
    let kubeconfig = home.with_token(&api, &api.url());
    for proxy in ["http://me:secret@127.0.0.1:1", "no proxy at all"] {
        let variables = [("KUBECONFIG", text(&kubeconfig)), ("https_proxy", proxy)];
        reached(&command::run(&mut ask(&variables)).await, "t1", "bakery");
    }
}

#[tokio::test]
async fn the_kubeconfigs_own_proxy_is_used() {
    let api = Api::serve(Knows::Token("t1")).await;
    let socks = Proxy::serve(Kind::Socks, api.address).await;
    let home = Home::new();
    let mut cluster = api.cluster("shop", &format!("https://{HOST}:6443"));
    cluster["cluster"]["proxy-url"] = format!("socks5://me:secret@{}", socks.address).into();
    let kubeconfig = home.kubeconfig(&cluster, &json!({"token": "t1"}));
    let variables = [
        ("KUBECONFIG", text(&kubeconfig)),
        ("HTTPS_PROXY", "http://127.0.0.1:1"),
        ("NO_PROXY", "*"),
    ];
    reached(&command::run(&mut ask(&variables)).await, "t1", "bakery");
    assert_eq!(socks.asked(), [format!("me:secret {HOST}:6443")]);
}

#[tokio::test]
async fn a_proxy_that_leads_nowhere_is_named_without_its_password() {
    let api = Api::serve(Knows::Token("t1")).await;
    let refusing = Kind::Http("407 Proxy Authentication Required");
    let refusing = Proxy::serve(refusing, api.address).await;
    let home = Home::new();
    let server = format!("https://{HOST}:6443");
    let kubeconfig = home.with_token(&api, &server);
    for (proxy, says) in [
        (
            format!("http://me:secret@{}", refusing.address),
            "proxy authorization required",
        ),
        (
            "http://me:secret@127.0.0.1:1".to_owned(),
            "Connection refused",
        ),
        ("socks5://me:secret@127.0.0.1:1".to_owned(), "SOCKS error"),
    ] {
        let variables = [("KUBECONFIG", text(&kubeconfig)), ("HTTPS_PROXY", &proxy)];
        let said = command::run(&mut ask(&variables)).await;
        let told = proxy.replace("me:secret@", "");
        ended_with_2(
            &said,
            &format!("{server}/ does not answer by the proxy {told}/ of HTTPS_PROXY"),
        );
        ended_with_2(&said, says);
    }
    let variables = [
        ("KUBECONFIG", text(&kubeconfig)),
        ("HTTPS_PROXY", "ftp://me:secret@proxy"),
    ];
    ended_with_2(
        &command::run(&mut ask(&variables)).await,
        "HTTPS_PROXY is no URL of a proxy",
    );
}
