//! Questions to the API server about namespaces that the watches have not told of yet.

use std::{collections::HashMap, sync::Arc};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, WeakShared},
};
use k8s_openapi::api::core::v1::LimitRange;
use kube::{Api, Client, api::ListParams};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{ASK_TIMEOUT, Known, Meta, limits};

/// What is being asked, by the namespace's name. It goes on for as long as somebody
/// waits for it.
type Pending = HashMap<String, WeakShared<BoxFuture<'static, Known>>>;

/// Asks about each namespace once at a time, however many pods wait for the answer.
#[derive(Clone)]
pub(super) struct Asking {
    client: Client,
    pending: Arc<Mutex<Pending>>,
}

impl Asking {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            pending: Arc::default(),
        }
    }

    /// What the API server says of it, or that it doesn't say in time.
    pub(super) async fn about(&self, name: &str) -> Known {
        let asked = {
            let mut pending = self.pending.lock();
            let asked = pending.get(name).and_then(WeakShared::upgrade);
            asked.unwrap_or_else(|| {
                pending.retain(|_, asked| asked.upgrade().is_some());
                let asked = ask(self.client.clone(), name.to_owned()).boxed().shared();
                let waited_for = asked.downgrade().expect("it has not been polled");
                pending.insert(name.to_owned(), waited_for);
                asked
            })
        };
        asked.await
    }
}

/// A namespace that is new to the watches may have new LimitRanges as well.
async fn ask(client: Client, name: String) -> Known {
    let namespaces: Api<Meta> = Api::all(client.clone());
    let ranges: Api<LimitRange> = Api::namespaced(client, &name);
    let every = ListParams::default();
    let asked = async { tokio::try_join!(namespaces.get_opt(&name), ranges.list(&every)) };
    let why = match timeout(ASK_TIMEOUT, asked).await {
        Ok(Ok((Some(namespace), ranges))) => {
            return Known {
                bounds: limits::bounds(&ranges.items),
                ..namespace.into()
            };
        }
        Ok(Ok((None, _))) => "there is no such namespace".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("no answer within {ASK_TIMEOUT:?}"),
    };
    tracing::warn!(
        namespace = name,
        why,
        "going on without the namespace's annotations"
    );
    Known {
        // A pod that asks by no word of Netting's is better left as it is.
        asks: Some(false),
        unanswered: true,
        ..Known::default()
    }
}
