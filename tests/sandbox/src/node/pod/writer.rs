//! Writes a pod's status to the API: always the newest one, never two at once.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// After an answer that may be another one later.
const RETRY: Duration = Duration::from_millis(500);

/// For the last status to be written before the pod is removed all the same.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// A pod's status, on its way to the API.
pub(super) struct StatusWriter {
    wanted: Option<watch::Sender<Option<PodStatus>>>,
    task: JoinHandle<()>,
}

impl StatusWriter {
    pub(super) fn start(client: Client, pod: &Pod) -> Self {
        let (wanted, receiver) = watch::channel(None);
        let task = tokio::spawn(write(
            api(&client, pod),
            pod.name_any(),
            pod.uid(),
            receiver,
        ));
        Self {
            wanted: Some(wanted),
            task,
        }
    }

    pub(super) fn last(&self) -> Option<PodStatus> {
        self.wanted
            .as_ref()
            .and_then(|wanted| wanted.borrow().clone())
    }

    pub(super) fn write(&self, status: PodStatus) {
        if let Some(wanted) = &self.wanted {
            wanted.send_if_modified(|last| {
                let differs = last.as_ref() != Some(&status);
                *last = Some(status);
                differs
            });
        }
    }

    /// Waits until the last status is written, or can't be.
    pub(super) async fn flush(&mut self) {
        self.wanted = None;
        if tokio::time::timeout(FLUSH_TIMEOUT, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}

impl Drop for StatusWriter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn write(
    api: Api<Pod>,
    name: String,
    uid: Option<String>,
    mut wanted: watch::Receiver<Option<PodStatus>>,
) {
    while wanted.changed().await.is_ok() {
        let Some(status) = wanted.borrow_and_update().clone() else {
            continue;
        };
        // The uid keeps the status off a later pod of the same name.
        let patch = Patch::Merge(json!({"metadata": {"uid": uid}, "status": status}));
        loop {
            match api
                .patch_status(&name, &PatchParams::default(), &patch)
                .await
            {
                Ok(_) => break,
                Err(kube::Error::Api(status)) if [404, 409, 422].contains(&status.code) => {
                    tracing::debug!(pod = name, %status, "a status was refused");
                    break;
                }
                Err(error) => {
                    tracing::warn!(pod = name, %error, "could not write a pod's status");
                    tokio::time::sleep(RETRY).await;
                    if wanted.has_changed().is_ok_and(|newer| newer) {
                        wanted.mark_changed();
                        break;
                    }
                }
            }
        }
    }
}

/// Tells the API that the pod has ended, so that its object can go.
pub(super) async fn remove(client: &Client, pod: &Pod) {
    let params = DeleteParams {
        grace_period_seconds: Some(0),
        preconditions: Some(Preconditions {
            uid: pod.uid(),
            resource_version: None,
        }),
        ..DeleteParams::default()
    };
    let (api, name) = (api(client, pod), pod.name_any());
    let removed = async {
        while let Err(error) = api.delete(&name, &params).await {
            if matches!(&error, kube::Error::Api(status) if [404, 409].contains(&status.code)) {
                return;
            }
            tracing::warn!(pod = name, %error, "could not remove a pod that has ended");
            tokio::time::sleep(RETRY).await;
        }
    };
    if tokio::time::timeout(FLUSH_TIMEOUT, removed).await.is_err() {
        tracing::warn!(pod = name, "gave up removing a pod that has ended");
    }
}

fn api(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}
