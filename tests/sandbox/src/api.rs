//! The embedded Kubernetes API: a store of JSON objects behind HTTPS, held to what a real 1.36
//! server sends and answers.
//!
//! In reading order: `resources` is the table of what is served, `store` holds the objects with
//! their versions and history; `server` takes a request, `call` says what it is about, and `read`,
//! `watch`, `write` and `delete` do it. A write goes through `defaults`, `admission`, `webhooks`,
//! `networks` and `validate`. `access` knows who may. The `controllers` write from within, as
//! an `insider`.

mod access;
mod admission;
mod bootstrap;
mod call;
mod command;
pub mod controllers;
mod defaults;
mod delete;
mod discovery;
mod format;
mod insider;
mod networks;
mod object;
mod patch;
mod pki;
mod pods;
mod portforward;
mod read;
mod reply;
mod resources;
mod reviews;
mod schedule;
mod schema;
mod selector;
mod server;
mod status;
mod store;
mod strict;
mod target;
mod validate;
mod watch;
mod webhooks;
mod write;

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::command::write_kubeconfig;
pub use self::command::{Args, run};
use self::{
    access::{MASTERS, User, tokens::Tokens},
    object::Object as _,
    pki::Authority,
    resources::Resource,
    status::Status,
    store::{Key, Store},
};
use crate::https;

/// What is the server's to decide about its cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether Services may have IPv6 addresses.
    pub dual_stack: bool,
    /// How many changes a watch may lag behind.
    pub history_capacity: usize,
    /// Where pods reach the server behind the Service `kubernetes`; without it there is none.
    pub advertised: Option<SocketAddr>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dual_stack: true,
            history_capacity: 4096,
            advertised: None,
        }
    }
}

/// A cluster's state, and who may get at it. It lives in memory, as long as the process.
pub struct Cluster {
    store: Store,
    options: Options,
    authority: Authority,
    tokens: Tokens,
    /// Static bearer tokens.
    credentials: Mutex<HashMap<String, User>>,
    stopping: CancellationToken,
}

impl Cluster {
    /// An empty cluster with a CA of its own.
    ///
    /// # Errors
    /// If keys can't be made.
    pub fn new(options: Options) -> anyhow::Result<Arc<Self>> {
        let cluster = Self {
            store: Store::new(options.history_capacity),
            authority: Authority::generate()?,
            tokens: Tokens::generate()?,
            credentials: Mutex::default(),
            stopping: CancellationToken::new(),
            options,
        };
        bootstrap::fill(&cluster, cluster.options.advertised);
        Ok(Arc::new(cluster))
    }

    /// Ends every watch and every connection.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// A kubeconfig, in YAML, for a user who may do everything at `server` (a URL).
    pub fn admin_kubeconfig(&self, server: &str) -> String {
        self.kubeconfig(
            server,
            "admin",
            &self.credential(User::new("admin", &[MASTERS])),
        )
    }

    /// A kubeconfig, in YAML, for the agent of the node `name`.
    pub fn node_kubeconfig(&self, server: &str, name: &str) -> String {
        let user = format!("system:node:{name}");
        let token = self.credential(User::new(&user, &["system:nodes"]));
        self.kubeconfig(server, &user, &token)
    }

    fn credential(&self, user: User) -> String {
        let token: String = object::random::<16>()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        self.credentials.lock().insert(token.clone(), user);
        token
    }

    fn kubeconfig(&self, server: &str, user: &str, token: &str) -> String {
        let ca = STANDARD.encode(&self.authority.pem);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: sandbox\n\
             clusters:\n- name: sandbox\n  cluster: {{server: \"{server}\", certificate-authority-data: {ca}}}\n\
             users:\n- name: \"{user}\"\n  user: {{token: {token}}}\n\
             contexts:\n- name: sandbox\n  context: {{cluster: sandbox, user: \"{user}\"}}\n"
        )
    }

    /// What is put in a namespace must find it there, and not on its way out.
    fn check_namespace(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
    ) -> Result<(), Status> {
        if !resource.namespaced {
            return Ok(());
        }
        let namespaces = resources::core("namespaces");
        let found = self.store.get(&Key::new(namespaces, "", namespace));
        let found = found.ok_or_else(|| Status::not_found(namespaces, namespace))?;
        if found.is_terminating() {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            return Err(Status::forbidden(resource, name, &why));
        }
        Ok(())
    }

    /// To be called for every new object.
    fn created(&self, key: &Key) {
        if key.resource.id() == ("", "namespaces") {
            bootstrap::fill_namespace(self, &key.name);
        }
    }
}

/// Serves `cluster` on `listeners` until it is stopped.
///
/// # Errors
/// If no certificate can be made for the listeners' addresses.
pub async fn serve(cluster: Arc<Cluster>, listeners: Vec<TcpListener>) -> anyhow::Result<()> {
    let mut names: Vec<String> = ["localhost", "127.0.0.1", "10.96.0.1", "kubernetes"]
        .map(str::to_owned)
        .into();
    let domains = ["default", "default.svc", "default.svc.cluster.local"];
    names.extend(domains.map(|domain| format!("kubernetes.{domain}")));
    for listener in &listeners {
        let addr = listener.local_addr().context("read a listener's address")?;
        names.push(addr.ip().to_string());
    }
    names.extend(cluster.options.advertised.map(|addr| addr.ip().to_string()));
    names.sort_unstable();
    names.dedup();
    let acceptor = cluster.authority.acceptor(names)?;
    let servers = TaskTracker::new();
    for listener in listeners {
        let router = server::router(Arc::clone(&cluster));
        let stopping = cluster.stopping.clone();
        servers.spawn(https::serve(listener, acceptor.clone(), router, stopping));
    }
    servers.close();
    servers.wait().await;
    Ok(())
}

/// `bytes` as the values of a Secret are written.
fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}
