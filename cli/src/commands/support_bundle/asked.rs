//! What is asked of a pod: answers of its admin port, and logs of its containers.

use std::{fmt::Display, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client, ResourceExt as _, api::LogParams};
use tokio::time::timeout;

use super::redact;
use crate::{forward::NoAnswer, mesh};

/// How long one answer may take: of a node that is gone, API servers go on asking.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// One answer that is wanted.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    pod: &'a Pod,
    what: What<'a>,
    /// Where it goes in the bundle.
    pub(super) path: String,
}

#[derive(Debug)]
enum What<'a> {
    /// A path of its admin port.
    Admin(&'static str),
    /// The last lines that a container has logged.
    Log(&'a str),
}

/// All that is asked of a pod; the answers' paths begin with `path`.
pub(super) fn of<'a>(
    pod: &'a Pod,
    path: &str,
    containers: impl IntoIterator<Item = &'a str>,
) -> Vec<Asked<'a>> {
    let asked = |what, name: &str| Asked {
        pod,
        what,
        path: format!("{path}.{name}"),
    };
    let mut all = vec![
        asked(What::Admin("/config"), "config.json"),
        asked(What::Admin(mesh::INSTRUMENTS), "metrics.txt"),
    ];
    let logs = containers.into_iter();
    all.extend(logs.map(|name| asked(What::Log(name), &format!("{name}.log"))));
    all
}

impl Asked<'_> {
    /// The answer, redacted; none if the pod has ended meanwhile.
    ///
    /// # Errors
    /// Why there is none, on one line.
    pub(super) async fn answer(
        &self,
        client: &Client,
        log_lines: i64,
    ) -> Result<Option<String>, String> {
        let text = match self.what {
            What::Admin(from) => in_time(ANSWER_TIMEOUT, self.admin(client, from)).await?,
            What::Log(container) => {
                in_time(ANSWER_TIMEOUT, self.log(client, container, log_lines)).await?
            }
        };
        Ok(text.map(|text| redact::text(&text)))
    }

    async fn admin(&self, client: &Client, from: &str) -> Result<Option<String>, String> {
        match mesh::ask(client, self.pod, from).await {
            Ok(text) => Ok(Some(text)),
            Err(NoAnswer::Gone(_)) => Ok(None),
            Err(error) => Err(error.line()),
        }
    }

    async fn log(
        &self,
        client: &Client,
        container: &str,
        lines: i64,
    ) -> Result<Option<String>, kube::Error> {
        let namespace = self.pod.namespace().unwrap_or_default();
        let api: Api<Pod> = Api::namespaced(client.clone(), &namespace);
        let params = LogParams {
            container: Some(container.to_owned()),
            tail_lines: Some(lines),
            ..LogParams::default()
        };
        api.logs(&self.pod.name_any(), &params).await.map(Some)
    }
}

/// What isn't answered in time is missed, rather than all the rest.
///
/// # Errors
/// What went wrong, on one line.
pub(super) async fn in_time<T, E: Display>(
    within: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    match timeout(within, answer).await {
        Ok(answered) => answered.map_err(|error| format!("{error:#}")),
        Err(_) => Err(NoAnswer::Timeout(within).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use super::*;

    #[tokio::test]
    async fn what_is_never_answered_is_given_up() {
        let never = future::pending::<Result<(), String>>();
        let given_up = in_time(Duration::from_millis(1), never).await;
        assert_eq!(given_up, Err("no answer within 1ms".to_owned()));
        let refused = future::ready(Err::<(), _>("not you"));
        let refused = in_time(ANSWER_TIMEOUT, refused).await;
        assert_eq!(refused, Err("not you".to_owned()));
    }
}
