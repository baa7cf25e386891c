//! `netting log-level`: what a sidecar, the catalog or the webhook logs, until it ends.

use bytes::Bytes;
use http::Method;
use kube::ResourceExt as _;
use netting_webhook::names::ADMIN_PORT;

use crate::{
    cluster,
    commands::named::Named,
    exit::Exit,
    forward::{ANSWER_TIMEOUT, NoAnswer, Session},
    output,
};

const EXAMPLES: &str = "\
Examples:
  netting log-level shop/web-7d4b-x2x            print it
  netting log-level shop/web-7d4b-x2x debug      change it
  netting log-level -n netting netting-catalog-5f-abc info,netting_catalog=trace";

/// Whose, and which.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The pod: NAME or NAMESPACE/NAME
    pod: String,

    /// The new one: error, warn, info, debug, trace, or directives such as
    /// info,netting_sidecar=debug
    level: Option<String>,

    /// The pod's namespace; by default the context's
    #[arg(short = 'n', long, value_name = "NAME")]
    namespace: Option<String>,
}

impl Args {
    /// Prints or changes it.
    ///
    /// # Errors
    /// If the pod doesn't answer, or the level is none.
    pub async fn run(self, cluster: &cluster::Flags) -> anyhow::Result<Exit> {
        let cluster = cluster.connect().await?;
        let named = Named::read(&self.pod, self.namespace.as_deref(), &cluster)?;
        let pod = named.pod(&cluster).await?;
        let client = cluster.client();
        let session = Session::open(&client, &named.namespace, &pod.name_any(), ADMIN_PORT).await;
        let mut session = session.map_err(NoAnswer::into_error)?;
        if let Some(level) = self.level {
            let body = Bytes::from(level);
            let changed = session
                .send(Method::PUT, "/log", body, ANSWER_TIMEOUT)
                .await;
            changed.map_err(NoAnswer::into_error)?;
        }
        let now = session.get("/log").await.map_err(NoAnswer::into_error)?;
        output::write(&String::from_utf8_lossy(&now.body))?;
        Ok(Exit::Fine)
    }
}
